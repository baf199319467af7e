"""Sets of rows of one granule: what look-ups give and what a query combines.

A row is a position in its granule, 0 to 65,535. Sets are immutable, 8 KiB each, in C: a sorted list up to 4,096
rows, one bit a row above. See csrc/index_rows.c; docs/format.md "Search index"."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Any

from ledger._native import ffi, lib

__all__ = ["Rows"]


class Rows:
    """An immutable set of rows. `len`, `in`, `&`, `|`, `-`, `==`; iteration is ascending. Any thread."""

    __slots__ = ("_set",)

    def __init__(self, rows: Iterable[int] = ()) -> None:
        """The rows given, in any order. Raises `OverflowError` for one outside [0, 65,536)."""
        listed = array("H", sorted(set(rows)))
        self._set: Any = ffi.new("ledger_rows *")
        lib.ledger_rows_take(ffi.from_buffer("uint16_t[]", listed), len(listed), self._set)

    @classmethod
    def wrap(cls, native: Any) -> Rows:
        """The set in a `ledger_rows *` that C has filled; it belongs to the result from now on."""
        made = cls.__new__(cls)
        made._set = native
        return made

    @classmethod
    def span(cls, begin: int, end: int) -> Rows:
        """The rows [begin, end), which lie in [0, 65,536]."""
        if not 0 <= begin <= end <= 65536:
            raise ValueError(f"[{begin}, {end}) is no range of rows")
        native = ffi.new("ledger_rows *")
        lib.ledger_rows_fill(begin, end, native)
        return cls.wrap(native)

    @property
    def native(self) -> Any:
        """The `ledger_rows *`, to be read by C while this set lives."""
        return self._set

    def __len__(self) -> int:
        return int(self._set.count)

    def __contains__(self, row: object) -> bool:
        return isinstance(row, int) and 0 <= row < 65536 and bool(lib.ledger_rows_has(self._set, row))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rows):
            return NotImplemented
        return len(self) == len(other) and self.slice(0, len(self)) == other.slice(0, len(other))

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Rows) -> Rows:
        """The rows in both."""
        return self._combined(lib.ledger_rows_and, other)

    def __or__(self, other: Rows) -> Rows:
        """The rows in one or both."""
        return self._combined(lib.ledger_rows_or, other)

    def __sub__(self, other: Rows) -> Rows:
        """The rows in this set alone."""
        return self._combined(lib.ledger_rows_and_not, other)

    def _combined(self, function: Any, other: Rows) -> Rows:
        native = ffi.new("ledger_rows *")
        function(self._set, other._set, native)
        return Rows.wrap(native)

    def __iter__(self) -> Iterator[int]:
        return iter(self.slice(0, len(self)))

    def __repr__(self) -> str:
        shown = ", ".join(map(str, self.slice(0, min(8, len(self)))))
        return f"Rows({len(self)}: {shown}{', ...' if len(self) > 8 else ''})"

    def slice(self, begin: int, end: int) -> array[int]:
        """The rows of ranks [begin, end), ascending; ranks above the count are left out."""
        end = min(end, len(self))
        begin = min(max(begin, 0), end)
        out = array("H", bytes(2 * (end - begin)))
        if out:
            lib.ledger_rows_slice(self._set, begin, end, ffi.from_buffer("uint16_t[]", out))
        return out

    def newest(self, begin: int, end: int) -> array[int]:
        """As `slice`, counted and listed from the highest row down: a page of results."""
        count = len(self)
        out = self.slice(count - min(max(end, 0), count), count - min(max(begin, 0), count))
        out.reverse()
        return out

    def newest_first(self) -> Iterator[int]:
        """All rows, the highest first; taken in pieces, so that stopping early costs little."""
        for begin in range(0, len(self), 256):
            yield from self.newest(begin, begin + 256)
