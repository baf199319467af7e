"""Frozen values that cross the layers, and the limits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from ledger.errors import UsageError

__all__ = ["ENTRY_BYTES", "EVENT_BYTES_HARD_MAX", "Limits", "Receipt", "Receipts", "check_limits", "interval_ns_of"]

ENTRY_BYTES = 104
EVENT_BYTES_HARD_MAX = 64 << 20
_ROW_BYTES = ENTRY_BYTES + 16


@dataclass(frozen=True, slots=True)
class Limits:
    """When a segment is closed, and how large an event may be."""

    segment_bytes_max: int = 64 << 20
    segment_entries_max: int = 1_000_000
    segment_age_max_s: float = 3600
    event_bytes_max: int = 16 << 20


@dataclass(frozen=True, slots=True)
class Receipt:
    """What append returns. `entry` (104 bytes) and `salt` (16 bytes) with the payload rebuild the leaf hash,
    which chains to every earlier entry: kept elsewhere it is memory for `verify(receipt=…)`."""

    index: int
    time_ns: int
    entry: bytes
    salt: bytes
    durable: bool = True

    @property
    def leaf_hash(self) -> bytes:
        """SHA-256(0x00 ‖ entry): the link that the next entry names."""
        return hashlib.sha256(b"\x00" + self.entry).digest()


class Receipts(Sequence[Receipt]):
    """The receipts of one batch, made when looked at. Holds 120 bytes an event: entry ‖ salt."""

    __slots__ = ("_rows", "base", "time_ns")

    def __init__(self, base: int, time_ns: int, rows: bytes | bytearray) -> None:
        self.base = base
        self.time_ns = time_ns
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows) // _ROW_BYTES

    @overload
    def __getitem__(self, position: int) -> Receipt: ...
    @overload
    def __getitem__(self, position: slice) -> list[Receipt]: ...
    def __getitem__(self, position: int | slice) -> Receipt | list[Receipt]:
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        if position < 0:
            position += len(self)
        if not 0 <= position < len(self):
            raise IndexError(f"receipt {position} of {len(self)}")
        start = position * _ROW_BYTES
        row = bytes(self._rows[start : start + _ROW_BYTES])
        return Receipt(self.base + position, self.time_ns, row[:ENTRY_BYTES], row[ENTRY_BYTES:])

    def __iter__(self) -> Iterator[Receipt]:
        return (self[i] for i in range(len(self)))


def check_limits(limits: Limits) -> None:
    """`UsageError` for limits that no ledger can keep."""
    if not 1 << 16 <= limits.segment_bytes_max <= 1 << 30:
        raise UsageError("segment_bytes_max is between 64 KiB and 1 GiB")
    if not 1 <= limits.segment_entries_max <= 100_000_000 or limits.segment_age_max_s <= 0:
        raise UsageError("segment_entries_max is between 1 and 100,000,000, segment_age_max_s above 0")
    if not 1 <= limits.event_bytes_max <= EVENT_BYTES_HARD_MAX:
        raise UsageError("event_bytes_max is between 1 byte and 64 MiB")


def interval_ns_of(sync: str) -> int:
    """0 for "commit", the tick in ns for "interval:<number><us|ms|s>"."""
    if sync == "commit":
        return 0
    kind, _, value = sync.partition(":")
    for unit, scale in (("ms", 1_000_000), ("us", 1_000), ("s", 1_000_000_000)):
        number = value.removesuffix(unit)
        if kind == "interval" and value.endswith(unit) and number.isdecimal() and 0 < int(number) * scale <= 10**10:
            return int(number) * scale
    raise UsageError(f"sync is 'commit' or 'interval:<number><us|ms|s>', at most 10 s; not {sync!r}")
