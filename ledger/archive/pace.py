"""When to try again: full jitter without an end for what passes, a long wait for what somebody must mend, never
again after a fork. Pure but for the random numbers and the clock that it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ledger.errors import ArchiveError, ForkDetectedError

__all__ = ["BLOCKED", "READY", "STOPPED", "UNREACHABLE", "WAITING", "Pace"]

READY: Final = "ready"
WAITING: Final = "waiting"  # a try failed; it is tried again
UNREACHABLE: Final = "unreachable"  # many tries in a row failed; one object at a time is tried
BLOCKED: Final = "blocked"  # refused for a reason that does not pass by itself; looked at every five minutes
STOPPED: Final = "stopped"  # a fork: nothing is written to this target any more

_BASE_S, _CAP_S, _BLOCKED_S = 1.0, 300.0, 300.0
_FAILURES_OPEN = 5


class Pace:
    """The state of one target. One thread."""

    def __init__(self, random: Callable[[], float]) -> None:
        """`random` gives floats in [0, 1)."""
        self._random = random
        self._failures = 0
        self.state = READY
        self.reason = ""

    def succeeded(self) -> None:
        """The target did what it was asked: all is well again."""
        if self.state != STOPPED:
            self._failures, self.state, self.reason = 0, READY, ""

    def failed(self, error: ArchiveError) -> float:
        """Take note of a failure; the seconds to wait before the next try: uniform in [0, min(300, 2^n)) for the
        n-th in a row that may pass, 300 for others. After a fork there is none, and `state` says so."""
        self._failures += 1
        self.reason = f"{type(error).__name__}: {error}"
        if isinstance(error, ForkDetectedError):
            self.state = STOPPED
            return 0.0
        if not error.retryable:
            self.state = BLOCKED
            return _BLOCKED_S
        self.state = UNREACHABLE if self._failures >= _FAILURES_OPEN else WAITING
        return self._random() * min(_CAP_S, _BASE_S * 2.0 ** min(self._failures, 16))
