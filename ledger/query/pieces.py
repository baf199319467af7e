"""A ledger as pieces to search: each granule of a sealed segment's index, and stretches of what has none.

A piece knows its entries, whether it has an index, and how to read blocks of it. An index that is missing, damaged
or refused is no error: the piece is searched by reading it, and `degraded` says so. The unsealed tail is indexed in
memory a stretch at a time, once it is long enough to be worth it."""

from __future__ import annotations

import os
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from ledger.errors import EnvironmentFailure, IndexUnusableError
from ledger.index.granule import Granule, build_memory
from ledger.query.cursor import cursor_key
from ledger.storage.active import ActiveSegment
from ledger.storage.index_file import IndexFile, read_index_key
from ledger.storage.sealed import SealedSegment
from ledger.storage.store import Store

__all__ = ["Piece", "Pieces"]

_TAIL_ROWS: Final = 16384
_TIMES_KEPT: Final = 16  # columns of event times, half a MiB each
Segment = ActiveSegment | SealedSegment


class Piece:
    """Entries [base, end) of one segment. `granule` is None where they must be read."""

    __slots__ = ("_times", "base", "end", "granule", "segment")

    def __init__(
        self, segment: Segment, base: int, end: int, granule: Granule | None, times: Callable[[], array[int]] | None
    ) -> None:
        self.segment = segment
        self.base = base
        self.end = end
        self.granule = granule
        self._times = times

    def times(self) -> array[int]:
        """The event times of its rows; only with a granule."""
        assert self._times is not None, "a piece without an index has no column of times"
        return self._times()


class Pieces:
    """The pieces of one store; keeps open indexes, and those made of the tail. Any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._files: dict[int, IndexFile | None] = {}
        self._tail: dict[tuple[int, int], Granule] = {}
        self._times: OrderedDict[Granule, array[int]] = OrderedDict()
        self._key: bytes | None = None
        self.degraded: list[str] = []

    def all(self, size: int, *, newest: bool) -> Iterator[Piece]:
        """The pieces of entries [0, size), the first or with `newest` the last one first."""
        segments = [segment for segment in self._store.segments() if segment.base < size]
        for segment in reversed(segments) if newest else segments:
            pieces = self._of_segment(segment, size)
            yield from reversed(pieces) if newest else pieces

    def _of_segment(self, segment: Segment, size: int) -> list[Piece]:
        if isinstance(segment, SealedSegment):
            file = self._file(segment)
            if file is None:
                return [Piece(segment, segment.base, min(segment.end, size), None, None)]
            return [self._piece(segment, granule, size) for granule in file.granules if granule.table.base < size]
        end = min(segment.size, size)
        return [self._of_tail(segment, at, min(at + _TAIL_ROWS, end)) for at in range(segment.base, end, _TAIL_ROWS)]

    def _piece(self, segment: Segment, granule: Granule, size: int) -> Piece:
        table = granule.table
        end = min(table.base + table.count, size)
        return Piece(segment, table.base, end, granule, lambda: self._times_of(granule))

    def _of_tail(self, segment: ActiveSegment, begin: int, end: int) -> Piece:
        if end - begin < _TAIL_ROWS:
            return Piece(segment, begin, end, None, None)
        with self._lock:
            granule = self._tail.get((segment.segno, begin))
        if granule is None:
            key = self._index_key()
            if key is None:
                return Piece(segment, begin, end, None, None)
            items = list(segment.items(begin, end))
            kinds = [1 if item[0] == 0 else item[1] for item in items]  # entry 0 is LEDGER, no msgpack
            granule = build_memory(
                [item[3] for item in items], [item[2] for item in items], key, base=begin, kinds=kinds
            )
            with self._lock:
                self._tail = {place: kept for place, kept in self._tail.items() if place[0] == segment.segno}
                self._tail[segment.segno, begin] = granule
        return self._piece(segment, granule, end)

    def _file(self, segment: SealedSegment) -> IndexFile | None:
        with self._lock:
            if segment.segno in self._files:
                return self._files[segment.segno]
        file = None
        key = self._index_key()
        if key is not None:
            try:
                file = IndexFile(self._store.paths, segment, key)
            except IndexUnusableError as error:
                self.note(str(error))
        with self._lock:
            return self._files.setdefault(segment.segno, file)

    def refuse(self, piece: Piece, error: IndexUnusableError) -> None:
        """An index turned out to be damaged: its segment is read from now on."""
        self.note(str(error))
        with self._lock:
            self._files[piece.segment.segno] = None

    def note(self, text: str) -> None:
        """Something is slower than it should be."""
        with self._lock:
            if text not in self.degraded:
                self.degraded.append(text)

    def close(self) -> None:
        """Close the index files."""
        with self._lock:
            for file in self._files.values():
                if file is not None:
                    file.close()
            self._files.clear()

    def cursor_key(self) -> bytes:
        """The key of this ledger's cursors; without an index key, one of this process."""
        key = self._index_key()
        return os.urandom(32) if key is None else cursor_key(key)

    def _index_key(self) -> bytes | None:
        if self._key is None:
            try:
                self._key = read_index_key(self._store.paths, self._store.identity)
            except EnvironmentFailure as error:
                self.note(str(error))
        return self._key

    def _times_of(self, granule: Granule) -> array[int]:
        with self._lock:
            if granule in self._times:
                self._times.move_to_end(granule)
                return self._times[granule]
        times = granule.times()
        with self._lock:
            self._times[granule] = times
            if len(self._times) > _TIMES_KEPT:
                self._times.popitem(last=False)
        return times
