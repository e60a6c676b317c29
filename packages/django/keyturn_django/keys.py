"""The keys that verify access tokens, from the issuer's JWKS."""

import logging
import threading
from typing import Callable, Dict, NamedTuple, Optional

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from .clock import monotonic
from .exceptions import CannotKnow
from .http import NetworkError, get_json

logger = logging.getLogger(__name__)

#: A secret has no place in a public set, so HS256 and its like are not here. RFC 7518 §3.1, RFC 8037 §3.1.
ALGORITHMS = frozenset(["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"])

# Seconds. A key is published for longer than MAX_AGE before it signs, so COOLDOWN delays only keys put in by force.
MAX_AGE = 300
COOLDOWN = 10
COOLDOWN_AFTER_FAILURE = 2


class Key(NamedTuple):
    key: object
    #: The only one that tokens of this key may name: it comes from the key, never from the token (RFC 8725 §3.1).
    algorithm: str


class Keys:
    """
    Keys by `kid`. They are loaded for the first token, again for an unknown `kid` (at most every COOLDOWN seconds,
    however many tokens name one), and in the background once they are MAX_AGE old. While Keyturn cannot be reached,
    those already known are kept.
    """

    def __init__(self, base_url: str, issuer: str, get: Callable[[str], dict] = get_json, clock=monotonic):
        self._metadata_url = f"{base_url}/.well-known/openid-configuration"
        self._issuer = issuer
        self._get = get
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Dict[str, Key] = {}
        self._tried_at: Optional[float] = None
        self._error: Optional[Exception] = None

    def find(self, kid: str) -> Optional[Key]:
        """The key of this name, None if the issuer has none. Raises CannotKnow while that cannot be found out."""
        key = self._keys.get(kid)
        if key is not None:
            if self._is_older_than(MAX_AGE):
                self._reload_in_background()
            return key
        # One request fetches the keys, the others wait for it.
        with self._lock:
            cooldown = COOLDOWN if self._error is None else COOLDOWN_AFTER_FAILURE
            if kid not in self._keys and self._is_older_than(cooldown):
                self._load()
        key = self._keys.get(kid)
        if key is None and self._error is not None:
            raise CannotKnow() from self._error
        return key

    def _is_older_than(self, seconds: float) -> bool:
        return self._tried_at is None or self._clock() - self._tried_at >= seconds

    def _reload_in_background(self) -> None:
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._is_older_than(MAX_AGE):
                self._tried_at = self._clock()
                threading.Thread(target=self._load, name="keyturn-keys", daemon=True).start()
        finally:
            self._lock.release()

    def _load(self) -> None:
        self._tried_at = self._clock()
        try:
            metadata = self._get(self._metadata_url)
            # RFC 8414 §3.3: otherwise anyone who can answer here would choose the keys of another issuer.
            if metadata.get("issuer") != self._issuer:
                raise ValueError(f"{self._metadata_url} names the issuer {metadata.get('issuer')!r}")
            self._keys = parse_jwks(self._get(jwks_url(metadata.get("jwks_uri"), self._issuer)))
            self._error = None
        except NetworkError as error:
            self._error = error
            logger.warning("the keys of %s could not be loaded: %r", self._issuer, error)


def jwks_url(uri, issuer: str) -> str:
    """The URI if it is as safe as the issuer's own: keys are never read without TLS for an issuer that has it."""
    if not isinstance(uri, str) or not uri.startswith(
        ("https://", "http://") if issuer.startswith("http:") else "https://"
    ):
        raise ValueError(f"jwks_uri: expected a URL like that of the issuer, got {uri!r}")
    return uri


def parse_jwks(jwks: dict) -> Dict[str, Key]:
    """The usable keys of a JWKS. Raises ValueError if there are none: Keyturn then signs with a secret."""
    keys = jwks.get("keys")
    parsed = [(jwk, _parse_key(jwk)) for jwk in (keys if isinstance(keys, list) else [])]
    usable = {jwk["kid"]: key for jwk, key in parsed if key is not None}
    if not usable:
        raise ValueError(
            "the JWKS has no public key; Keyturn must sign with managed keys or a key pair, not with a secret"
        )
    return usable


def _parse_key(jwk) -> Optional[Key]:
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str) or jwk.get("use", "sig") != "sig":
        return None
    if jwk.get("alg") not in ALGORITHMS or jwk.get("kty") == "oct":
        return None
    try:
        return Key(PyJWK.from_dict(jwk).key, jwk["alg"])
    except (PyJWTError, ValueError, KeyError, TypeError) as error:
        logger.warning("key %s of the JWKS is ignored: %r", jwk["kid"], error)
        return None
