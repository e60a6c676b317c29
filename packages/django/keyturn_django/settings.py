"""The setting KEYTURN, checked."""

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Optional, Tuple
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver


@dataclass(frozen=True)
class Settings:
    """A field is a key of KEYTURN in lower case. Durations are in seconds."""

    issuer: str
    client_id: Optional[str] = None
    client_secret: Optional[str] = None
    #: "stream", or "none": a logout then takes effect when the access token expires.
    revocations: str = "stream"
    #: How long the stream may be silent before requests are answered 503.
    staleness: float = 30
    #: Accepted `aud` values; none are required by default.
    audience: Tuple[str, ...] = ()
    #: Clock difference allowed for `exp` and `nbf`.
    leeway: float = 0
    #: The field of the user model that holds the token's user id. By default the user is made from the claims.
    user_id_field: Optional[str] = None
    user_id_claim: str = "user_id"
    #: Refuses a token that was issued under another password of the user in this project's table.
    check_revoke_token: bool = False
    auth_header_types: Tuple[str, ...] = ("Bearer",)

    @property
    def base_url(self) -> str:
        return self.issuer.rstrip("/")


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """KEYTURN of the project's settings. Raises ImproperlyConfigured."""
    return parse_settings(getattr(django_settings, "KEYTURN", None))


@receiver(setting_changed)
def _reload(setting, **_):
    if setting == "KEYTURN":
        load_settings.cache_clear()


def parse_settings(given) -> Settings:
    """Raises ImproperlyConfigured with one line that says what to do."""
    if not isinstance(given, dict) or "ISSUER" not in given:
        raise ImproperlyConfigured('KEYTURN: expected a dictionary with ISSUER, as {"ISSUER": "https://auth.example"}')
    names = {field.name.upper() for field in fields(Settings)}
    for name in given:
        if name not in names:
            raise ImproperlyConfigured(f"KEYTURN: unknown key {name!r}, expected one of {', '.join(sorted(names))}")
    values = {name.lower(): value for name, value in given.items()}
    for name in ("audience", "auth_header_types"):
        if isinstance(values.get(name), str):
            values[name] = (values[name],)
        values[name] = tuple(values.get(name) or getattr(Settings, name))
    settings = Settings(**values)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    url = urlsplit(str(settings.issuer))
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ImproperlyConfigured(f"KEYTURN: ISSUER: expected Keyturn's ISSUER, a URL, got {settings.issuer!r}")
    if settings.revocations not in ("stream", "none"):
        raise ImproperlyConfigured(f'KEYTURN: REVOCATIONS: expected "stream" or "none", got {settings.revocations!r}')
    if settings.revocations == "stream" and not (settings.client_id and settings.client_secret):
        raise ImproperlyConfigured(
            "KEYTURN: CLIENT_ID and CLIENT_SECRET are required for the revocation stream: create them with"
            " `keyturn clients create NAME --scopes keyturn.revocations`"
        )
    for name in ("staleness", "leeway"):
        value = getattr(settings, name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 86400:
            raise ImproperlyConfigured(f"KEYTURN: {name.upper()}: expected seconds between 0 and 86400, got {value!r}")
    if settings.staleness < 5:
        raise ImproperlyConfigured("KEYTURN: STALENESS: expected at least 5 seconds, since a heartbeat comes every 2")
