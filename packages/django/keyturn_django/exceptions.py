"""What a request is refused with. Bodies have Simple JWT's form, since its clients read `code` and `messages`."""

import random

from rest_framework import status
from rest_framework.exceptions import APIException, AuthenticationFailed


class TokenError(Exception):
    """The token is not a valid access token; the text is Simple JWT's, for `messages`."""


class Unauthorized(AuthenticationFailed):
    """401 {"detail", "code"}."""

    def __init__(self, detail: str, code: str):
        super().__init__({"detail": detail, "code": code})


class InvalidToken(AuthenticationFailed):
    """401 {"detail", "code", "messages"}."""

    def __init__(self, message: str):
        super().__init__(
            {
                "detail": "Given token not valid for any token type",
                "code": "token_not_valid",
                "messages": [{"token_class": "AccessToken", "token_type": "access", "message": message}],
            }
        )


class CannotKnow(APIException):
    """
    503 with Retry-After: whether the token is valid cannot be known without Keyturn. A client keeps its tokens and
    tries again. `__cause__` is the reason, if there is one.
    """

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "Service temporarily unavailable."
    default_code = "service_unavailable"

    def __init__(self):
        super().__init__()
        #: REST framework sends it as Retry-After. Random, so that clients do not return in the same second.
        self.wait = random.randint(1, 5)
