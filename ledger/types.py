"""Frozen values that cross the layers, and the limits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

__all__ = ["ENTRY_BYTES", "EVENT_BYTES_HARD_MAX", "Limits", "Receipt", "Receipts"]

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
    leaf_hash: bytes
    entry: bytes
    salt: bytes
    durable: bool = True


class Receipts(Sequence[Receipt]):
    """The receipts of one batch, made when looked at. Holds 120 bytes an event: entry ‖ salt."""

    __slots__ = ("_rows", "base", "time_ns")

    def __init__(self, base: int, time_ns: int, rows: bytes) -> None:
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
        entry = self._rows[start : start + ENTRY_BYTES]
        salt = self._rows[start + ENTRY_BYTES : start + _ROW_BYTES]
        leaf_hash = hashlib.sha256(b"\x00" + entry).digest()
        return Receipt(self.base + position, self.time_ns, leaf_hash, entry, salt)

    def __iter__(self) -> Iterator[Receipt]:
        return (self[i] for i in range(len(self)))
