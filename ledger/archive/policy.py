"""What is asked of a shipper, what it asks of its ledger, and what it says of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ledger.archive.send import Alarm
from ledger.errors import UsageError

__all__ = ["DAY_S", "Owner", "Policy", "ShipReport"]

DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Policy:
    """How long and how firmly the archive keeps: there is no default for either. `mode`: "COMPLIANCE" (nobody can
    shorten it) or "GOVERNANCE" (some roles can). `bytes_per_second` 0: no cap."""

    mode: str
    retention_s: int
    manifest_age_s: float = 3600
    concurrency: int = 4
    bytes_per_second: int = 0

    def __post_init__(self) -> None:
        if self.mode not in ("COMPLIANCE", "GOVERNANCE"):
            raise UsageError(f'mode is "COMPLIANCE" or "GOVERNANCE", and must be said; not {self.mode!r}')
        if self.retention_s < DAY_S:
            raise UsageError(f"retention is at least one day, not {self.retention_s} seconds")


class Owner(Protocol):
    """What the shipper needs of the ledger beside its files. Called from the shipper's thread."""

    def append_note(self, note: dict[str, Any]) -> None:
        """Append a note; durable when it returns."""

    def checkpoint(self) -> None:
        """Sign the size and root now, into checkpoints/; does nothing when there is no key."""

    def root_at(self, size: int) -> bytes | None:
        """The root of the first `size` entries; None when there are fewer."""

    def mark_shipped(self, receipts: dict[int, dict[str, Any]]) -> None:
        """Write to MANIFEST that these segments have these verified, listed copies."""


@dataclass
class ShipReport:
    """What a run did and where it stands. `state`: see `pace`; `ok`: all that is sealed here is there, verified
    and listed."""

    state: str = ""
    reason: str = ""
    shipped: int = 0
    bytes: int = 0
    lag_segments: int = 0
    manifest: int = -1
    alarms: list[Alarm] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.reason or self.problems or self.lag_segments)
