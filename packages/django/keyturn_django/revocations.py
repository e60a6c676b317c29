"""This process's replica of the list of revoked sessions and tokens."""

import time
from collections import deque
from typing import Deque, Dict, List, NamedTuple, Optional

from .clock import monotonic

#: Entries held at most. Beyond it not every revocation can be known, so no token is accepted any more.
MAX_ENTRIES = 1_000_000


class _Batch:
    """Entries that arrived together, and are forgotten together."""

    def __init__(self, ids: List[str], until: float, received_at: float):
        self.ids = ids
        self.until = until
        self.received_at = received_at


class Status(NamedTuple):
    """The state of the worker that sent it."""

    epoch: int
    #: Tokens issued before this second are refused, because revocations from before it were lost. Seconds since 1970.
    lost_before: Optional[float]
    #: How long an entry can matter, in seconds.
    window: float
    #: Seconds since the worker last heard from its store.
    age: float


class Revocations:
    """
    One thread writes and many read, without a lock: each read is one operation on a dictionary.

    What is known stays known until its time has passed by both clocks. Tokens expire by the wall clock, which may be
    set: alone, an hour forward would forget what is needed again an hour back.
    """

    def __init__(self, staleness: float, wall=time.time, clock=monotonic):
        self._staleness = staleness
        self._wall = wall
        self._clock = clock
        self._batch_of: Dict[str, _Batch] = {}
        self._batches: Deque[_Batch] = deque()
        self._window = float("inf")
        self._lost_before = float("-inf")
        self._fresh_at = float("-inf")

    def __len__(self) -> int:
        return len(self._batch_of)

    def is_known(self) -> bool:
        """Whether all that was revoked up to STALENESS ago is here."""
        return self._clock() - self._fresh_at <= self._staleness and len(self._batch_of) <= MAX_ENTRIES

    def has(self, claims: dict) -> bool:
        """Whether the token is revoked, by its session or by itself, or may have been while the list was lost."""
        sid, jti, iat = claims.get("sid"), claims.get("jti"), claims.get("iat")
        if f"sid:{sid}" in self._batch_of or f"jti:{jti}" in self._batch_of:
            return True
        is_ours = sid is not None or claims.get("client_id") is not None
        return is_ours and iat is not None and iat < self._lost_before

    def add(self, entries: List[dict]) -> None:
        """Takes in the data of a `revoked` event. Knowing an entry twice does no harm."""
        ids = [f"sid:{entry['sid']}" if "sid" in entry else f"jti:{entry['jti']}" for entry in entries]
        until = max((_seconds(entry["until"]) for entry in entries), default=0.0)
        batch = _Batch(ids, until, self._clock())
        for id in ids:
            self._batch_of[id] = batch
        self._batches.append(batch)

    def confirm(self, status: Status) -> None:
        """All that the worker knew `status.age` ago has arrived."""
        self._window = status.window
        self._lost_before = float("-inf") if status.lost_before is None else status.lost_before
        self._forget_expired()
        self._fresh_at = self._clock() - status.age

    def _forget_expired(self) -> None:
        while self._batches and self._is_past(self._batches[0]):
            batch = self._batches.popleft()
            for id in batch.ids:
                if self._batch_of.get(id) is batch:
                    del self._batch_of[id]

    def _is_past(self, batch: _Batch) -> bool:
        return self._wall() >= batch.until and self._clock() >= batch.received_at + self._window


def _seconds(value) -> float:
    """Raises ValueError for a time that no clock reaches: its entries would never be forgotten."""
    seconds = float(value)
    if not 0 <= seconds < 2**53:
        raise ValueError(f"expected seconds since 1970, got {seconds}")
    return seconds
