"""Signature and claims of an access token: the rules of Keyturn (its src/tokens/claims.ts) in the same order."""

import base64
import binascii
import json
import math
from typing import Tuple

from jwt import PyJWS
from jwt.exceptions import PyJWTError

from .exceptions import TokenError
from .keys import Keys
from .settings import Settings

MAX_LENGTH = 4096

# Clocks of hosts differ a little, and `iat` is rounded down to the second.
_ISSUE_SKEW = 5

# The last second of the year 9999, and of datetime. Simple JWT fails beyond it.
_END_OF_TIME = 253_402_300_799

_INVALID = "Token is invalid"
_jws = PyJWS()


def read_token(raw: str, keys: Keys, settings: Settings, now: float) -> dict:
    """
    The claims of a valid access token at `now`, in seconds since 1970. Raises TokenError with Simple JWT's text, and
    CannotKnow while the keys cannot be loaded. Revocations are not looked up.
    """
    header, payload = _read_parts(raw)
    kid = header.get("kid")
    # RFC 7515 §4.1.11: what `crit` names would have to be understood, and nothing is.
    key = keys.find(kid) if isinstance(kid, str) and "crit" not in header else None
    if key is None:
        raise TokenError(_INVALID)
    try:
        _jws.decode(raw, key.key, algorithms=[key.algorithm])
    except (PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise TokenError(_INVALID) from error
    check_claims(payload, settings, now)
    return payload


def _read_parts(raw: str) -> Tuple[dict, dict]:
    """Header and payload as JSON objects, before any key is involved."""
    parts = raw.split(".")
    if len(raw) > MAX_LENGTH or len(parts) != 3:
        raise TokenError(_INVALID)
    try:
        header, payload, _ = [_decode_part(part) for part in parts]
        values = json.loads(header), json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise TokenError(_INVALID) from error
    if not all(isinstance(value, dict) for value in values):
        raise TokenError(_INVALID)
    return values


def _decode_part(part: str) -> bytes:
    """Python ignores padding, stray bits and any character outside the alphabet; a token has exactly one spelling."""
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64url") from error
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode():
        raise ValueError("not base64url")
    return decoded


def check_claims(claims: dict, settings: Settings, now: float) -> None:
    """Raises TokenError for the first fault, in Simple JWT's order: types and values, expiry, missing claims, type."""
    times = [claims.get(name) for name in ("exp", "iat", "nbf")]
    texts = [claims.get(name) for name in ("jti", "sub", "iss", "sid")]
    if not all(time is None or _is_time(time) for time in times) or not all(
        text is None or isinstance(text, str) for text in texts
    ):
        raise TokenError(_INVALID)
    exp, iat, nbf = times
    if exp is not None and exp > _END_OF_TIME:
        raise TokenError(_INVALID)
    if (nbf is not None and nbf > now + settings.leeway) or (
        iat is not None and iat > now + settings.leeway + _ISSUE_SKEW
    ):
        raise TokenError(_INVALID)
    if claims.get("iss") != settings.issuer or not _is_for_us(claims.get("aud"), settings.audience):
        raise TokenError(_INVALID)
    # RFC 7519 §4.1.4: rejected on the second of expiry, not after it.
    if exp is not None and exp <= now - settings.leeway:
        raise TokenError("Token is expired")
    if exp is None:
        raise TokenError("Token has no 'exp' claim")
    if claims.get("jti") is None:
        raise TokenError("Token has no id")
    if claims.get("token_type") != "access":
        raise TokenError("Token has no type" if claims.get("token_type") is None else "Token has wrong type")


def _is_time(value) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and (isinstance(value, int) or math.isfinite(value))


def _is_for_us(aud, audience: Tuple[str, ...]) -> bool:
    values = aud if isinstance(aud, list) else [] if aud is None else [aud]
    if not all(isinstance(value, str) for value in values):
        return False
    return not audience or any(value in audience for value in values)


def user_id_of(claims: dict, claim: str):
    """The user id as text, None in a client's own token: a client is not a user, whatever else its token says."""
    client_id, user_id = claims.get("client_id"), claims.get(claim)
    if isinstance(client_id, str) and client_id != "keyturn" and client_id == claims.get("sub"):
        return None
    # Simple JWT before 5.5.1 wrote numeric ids as numbers.
    is_id = isinstance(user_id, (str, int)) and not isinstance(user_id, bool)
    return str(user_id) if is_id else None
