"""What one process knows of Keyturn: its keys and its revocations."""

import os
import threading
import time
from typing import Dict

from .exceptions import CannotKnow, TokenError
from .keys import Keys
from .revocations import Revocations
from .settings import Settings
from .stream import Follower
from .tokens import read_token

#: How long the first requests of a process wait for the list of revocations, in seconds.
FIRST_WAIT = 5


class Verifier:
    """Opens nothing before the first token: after a fork, what was open would belong to the parent."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._keys = Keys(settings.base_url, settings.issuer)
        self._revocations = Revocations(settings.staleness)
        self._follower = None
        self._lock = threading.Lock()

    def verify(self, raw: str) -> dict:
        """The claims of a valid access token. Raises TokenError (401) or CannotKnow (503)."""
        claims = read_token(raw, self._keys, self.settings, time.time())
        if self.settings.revocations == "none":
            return claims
        self._follow()
        # Before staleness: what was revoked stays revoked, and trying again would not help its client.
        if self._revocations.has(claims):
            raise TokenError("Token is blacklisted")
        if not self._revocations.is_known():
            raise CannotKnow()
        return claims

    def close(self) -> None:
        if self._follower is not None:
            self._follower.close()

    def _follow(self) -> None:
        if self._follower is None:
            with self._lock:
                if self._follower is None:
                    follower = Follower(
                        self.settings.base_url, self.settings.client_id, self.settings.client_secret, self._revocations
                    )
                    follower.start()
                    self._follower = follower
        if not self._revocations.is_known():
            self._follower.wait_for_first(FIRST_WAIT)


# By the settings it was made for, so there is one outside tests. setdefault needs no lock, and a lock made here would
# be the operating system's own even where gevent replaces locks later (a worker of Gunicorn with --preload).
_verifiers: Dict[Settings, Verifier] = {}

# The child of a fork has the parent's objects, but not its thread.
os.register_at_fork(after_in_child=_verifiers.clear)


def verifier_for(settings: Settings) -> Verifier:
    """The verifier of this process."""
    return _verifiers.get(settings) or _verifiers.setdefault(settings, Verifier(settings))
