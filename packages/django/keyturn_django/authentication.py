"""For DEFAULT_AUTHENTICATION_CLASSES."""

from rest_framework.authentication import BaseAuthentication

from .exceptions import InvalidToken, TokenError, Unauthorized
from .settings import load_settings
from .tokens import user_id_of
from .users import find_user
from .verifier import verifier_for


class KeyturnAuthentication(BaseAuthentication):
    """
    Authenticates by an access token in `Authorization: Bearer …`. request.user is the user, request.auth the claims.
    Refusals: exceptions.py.
    """

    www_authenticate_realm = "api"

    def authenticate(self, request):
        settings = load_settings()
        raw = _read_header(request, settings.auth_header_types)
        if raw is None:
            return None
        try:
            claims = verifier_for(settings).verify(raw)
        except TokenError as error:
            request.keyturn_refused = True
            raise InvalidToken(str(error)) from error
        user_id = user_id_of(claims, settings.user_id_claim)
        if user_id is None:
            raise Unauthorized("Token contained no recognizable user identification", "token_not_valid")
        return find_user(user_id, claims, settings), claims

    def authenticate_header(self, request):
        challenge = f'{load_settings().auth_header_types[0]} realm="{self.www_authenticate_realm}"'
        # RFC 6750 §3.1: only where a token was sent.
        return f'{challenge}, error="invalid_token"' if getattr(request, "keyturn_refused", False) else challenge


def _read_header(request, types):
    """The token, None where there is none of ours. Raises Unauthorized for `Bearer` alone, three parts, or two fields."""
    # As bytes, since text is split at a non-breaking space too. WSGI's text is Latin-1 (PEP 3333).
    header = request.META.get("HTTP_AUTHORIZATION", "").encode("latin-1", "replace")
    # Servers join the fields of a name by a comma, which no token has: a proxy may have checked the other one.
    fields = [[part.decode("latin-1") for part in field.split()] for field in header.split(b",")]
    ours = [parts for parts in fields if parts and parts[0] in types]
    if not ours:
        return None
    if len(fields) != 1 or len(ours[0]) != 2:
        raise Unauthorized("Authorization header must contain two space-delimited values", "bad_authorization_header")
    return ours[0][1]


# A wrong setting stops `manage.py check` and the start of a server that loads the URLs, instead of the first request.
load_settings()
