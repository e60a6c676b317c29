"""
The thread that keeps the replica up to date from GET /api/revocations/ (server-sent events).

    disconnected --connect--> catching up --caught-up--> following --end, error, silence--> disconnected
                                   ^                         |
                                   +--------- reset ---------+

A stream continues after the cursor of the last event; without one, and after a `reset`, it begins with a snapshot.
Nothing confirms the replica before `caught-up`; then each heartbeat does. Nothing is taken out of the replica when a
stream breaks or is reset: a revocation is never undone, and the replica becomes stale by itself.
"""

import base64
import http.client
import json
import logging
import math
import random
import threading
from typing import BinaryIO, Iterator, NamedTuple, Optional
from urllib.parse import quote_plus

from .clock import monotonic
from .http import NetworkError, connect
from .revocations import Revocations, Status

logger = logging.getLogger(__name__)

# Seconds. A heartbeat comes every 2, so 10 without a byte is a dead connection.
SILENCE = 10
FIRST_DELAY = 0.1
LONGEST_DELAY = 2
#: After 401 and 403, which do not pass by themselves.
REFUSED_DELAY = 10
#: A stream has to be complete for this long before its end is not one more failure: a server may end each after its snapshot.
STEADY_AFTER = 5

#: Bytes of a line, and of the data of an event.
_LONGEST_LINE = 1 << 20


class Event(NamedTuple):
    """A block of the stream. `id` is None where the block has none, `retry` is in seconds."""

    name: str
    id: Optional[str]
    data: str
    retry: Optional[float]


class Refused(Exception):
    """Keyturn answered with another status than 200."""

    def __init__(self, status: int, retry_after: Optional[float]):
        super().__init__(f"Keyturn answered {status}")
        self.status = status
        self.retry_after = retry_after


class Follower:
    """`start` once; then `wait_for_first` until the first attempt has ended in one way or the other."""

    def __init__(self, base_url: str, client_id: str, client_secret: str, revocations: Revocations, clock=monotonic):
        self._url = f"{base_url}/api/revocations/"
        # RFC 6749 §2.3.1: both parts are form-encoded.
        credentials = f"{quote_plus(client_id)}:{quote_plus(client_secret)}".encode()
        self._authorization = f"Basic {base64.b64encode(credentials).decode()}"
        self._revocations = revocations
        self._cursor: Optional[str] = None
        self._is_caught_up = False
        self._clock = clock
        self._caught_up_at = math.inf
        self._retry = FIRST_DELAY
        #: Connections in a row that did not last.
        self._failures = 0
        self._first = threading.Event()
        self._closed = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="keyturn-revocations", daemon=True).start()

    def wait_for_first(self, seconds: float) -> None:
        self._first.wait(seconds)

    def close(self) -> None:
        """Ends the thread, at the latest with the next heartbeat."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._caught_up_at = math.inf
            error = None
            try:
                self._follow()
            except Exception as caught:  # of any kind: without this thread the process would answer 503 for good
                error = caught
            delay = self._delay_after(error)
            self._first.set()
            self._closed.wait(delay * random.uniform(1, 1.5))

    def _delay_after(self, error: Optional[Exception]) -> float:
        """Seconds until the next attempt. After a stream that lasted and that Keyturn ended, what Keyturn asks for."""
        if self._clock() - self._caught_up_at >= STEADY_AFTER:
            self._failures = 0
        failures = self._failures
        self._failures += 1
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures, 10))
        if error is None:
            return self._retry if failures == 0 else max(delay, self._retry)
        if isinstance(error, Refused) and error.status in (401, 403):
            delay = REFUSED_DELAY
            logger.error(
                "revocation stream refused with %d; check KEYTURN's CLIENT_ID and CLIENT_SECRET,"
                " and that the client has the scope keyturn.revocations",
                error.status,
            )
        else:
            if isinstance(error, Refused) and error.retry_after is not None:
                delay = max(delay, error.retry_after)
            unforeseen = not isinstance(error, (Refused, *NetworkError))
            logger.warning("revocation stream lost, next attempt in %.1f s: %r", delay, error, exc_info=unforeseen)
        return delay

    def _follow(self) -> None:
        """Reads one stream to its end. Raises NetworkError or Refused."""
        connection, path = connect(self._url, SILENCE)
        try:
            headers = {"Accept": "text/event-stream", "Authorization": self._authorization}
            if self._cursor is not None:
                headers["Last-Event-ID"] = self._cursor
            self._is_caught_up = False
            connection.request("GET", path, headers=headers)
            with connection.getresponse() as response:
                _demand_stream(response)
                for event in read_events(response):
                    self._take(event)
                    if self._closed.is_set():
                        return
        finally:
            connection.close()

    def _take(self, event: Event) -> None:
        if event.retry is not None:
            self._retry = event.retry
        if event.name == "revoked":
            self._revocations.add(json.loads(event.data))
        elif event.name == "reset":
            self._is_caught_up = False
        elif event.name == "caught-up" or (event.name == "heartbeat" and self._is_caught_up):
            self._revocations.confirm(_parse_status(event.data))
            if not self._is_caught_up:
                logger.info("revocation stream caught up, %d revocations known", len(self._revocations))
                self._caught_up_at = self._clock()
            self._is_caught_up = True
            self._first.set()
        if event.id is not None:
            self._cursor = event.id or None


def _demand_stream(response: http.client.HTTPResponse) -> None:
    if response.status != 200:
        after = response.headers.get("Retry-After", "")
        raise Refused(response.status, min(float(after), 60.0) if after.isdecimal() else None)
    if response.headers.get_content_type() != "text/event-stream":
        raise ValueError(f"expected an event stream, got {response.headers.get_content_type()}")


def _parse_status(data: str) -> Status:
    status = json.loads(data)
    lost_before, window, age = status["lost_before"], float(status["window"]), float(status["age"])
    # A negative age would count as fresh for as long, whatever STALENESS is.
    lost_before = None if lost_before is None else float(lost_before)
    # No `iat` is less than NaN: it would accept what was issued before the loss.
    if not all(0 <= value < math.inf for value in (age, window, lost_before or 0)):
        raise ValueError(f"expected a status with an age, a window and lost_before, got {data[:200]}")
    return Status(
        epoch=status["epoch"],
        lost_before=lost_before,
        window=window,
        age=age / 1000,
    )


def read_events(lines: BinaryIO) -> Iterator[Event]:
    """The blocks of a stream as they come. A block that the end cuts off is dropped (HTML §9.2.6)."""
    name, id, data, retry, size = "", None, [], None, 0
    while line := lines.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise ValueError("a line of the stream is too long")
        if not line.endswith(b"\n"):
            return
        field, _, value = line.rstrip(b"\r\n").decode().partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "event":
            name = value
        elif field == "id":
            id = value
        elif field == "data":
            data.append(value)
            size += len(line)
            if size > _LONGEST_LINE:
                raise ValueError("an event of the stream is too long")
        elif field == "retry" and value.isdecimal():
            retry = min(int(value), 60_000) / 1000
        elif line in (b"\n", b"\r\n"):
            yield Event(name, id, "\n".join(data), retry)
            name, id, data, retry, size = "", None, [], None, 0
