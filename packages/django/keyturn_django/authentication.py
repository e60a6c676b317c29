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
    """The token, None where there is none of ours. Raises Unauthorized for `Bearer` alone, or three parts."""
    # As bytes, since text is split at a non-breaking space too. WSGI's text is Latin-1 (PEP 3333).
    header = request.META.get("HTTP_AUTHORIZATION", "").encode("latin-1", "replace")
    parts = [part.decode("latin-1") for part in header.split()]
    if not parts or parts[0] not in types:
        return None
    if len(parts) != 2:
        raise Unauthorized("Authorization header must contain two space-delimited values", "bad_authorization_header")
    return parts[1]


# A wrong setting stops `manage.py check` and the start of a server that loads the URLs, instead of the first request.
load_settings()
