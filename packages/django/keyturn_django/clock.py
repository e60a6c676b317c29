"""The clock that is never set."""

import time

# On Linux time.monotonic() stands still while the machine is suspended; a feed would seem fresh after an hour of sleep.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def monotonic() -> float:
    """Seconds since an arbitrary moment."""
    return time.clock_gettime(_CLOCK)
