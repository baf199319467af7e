"""The way from a filter to the entries that match it: piece by piece, candidates first, then the events themselves.

Orders: by index (the ledger's own order, total) and by event time, exact also where events came late: matches of a
piece are only given once no later piece can hold an earlier one."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from ledger._native import ffi, lib
from ledger.errors import IndexUnusableError, UsageError
from ledger.index.rows import Rows
from ledger.query.ast import And, Kind, Node, Not, Or, Span
from ledger.query.candidates import Candidates
from ledger.query.normal import normalize
from ledger.query.pieces import Piece, Pieces
from ledger.query.regex import Residual
from ledger.storage.store import Item

__all__ = ["ORDERS", "Counters", "Plan"]

ORDERS: Final = ("-index", "index", "-time", "time")


@dataclass
class Counters:
    """What a query did: pieces that the index ruled out, answered, or that were read; blocks; payload bytes."""

    pieces: int = 0
    ruled_out: int = 0
    by_index: int = 0
    read: int = 0
    blocks: int = 0
    bytes: int = 0
    degraded: list[str] = field(default_factory=list)


class Plan:
    """One filter over the entries [0, size) of a ledger. One thread at a time."""

    def __init__(self, pieces: Pieces, node: Node, size: int, *, notes: bool = False) -> None:
        """`notes`: the ledger's own entries too; they are also searched when the filter speaks of kinds."""
        self._pieces = pieces
        self.with_notes = notes or _speaks_of_kind(node)
        wanted: list[Node] = [node, Span("index", None, size)]
        if not self.with_notes:
            wanted.append(Kind(False))
        self.node = normalize(And(tuple(wanted)))
        self.size = size
        self.counters = Counters()
        self.until: float | None = None  # on the monotonic clock, in seconds: then the search ends where it is
        self.stopped_at: int | None = None  # all entries on this side of that index were searched
        self._residual = Residual(self.node)
        self._begin, self._end = _index_range(self.node, size)

    # ---- pieces -------------------------------------------------------------------------------------

    def candidates(self, piece: Piece) -> tuple[Rows, bool] | None:
        """The rows of a piece that may match, and whether they all do; None when it has to be read."""
        self.counters.pieces += 1
        if piece.granule is not None:
            try:
                found = Candidates(piece.granule, piece.times, with_notes=self.with_notes).of(self.node)
            except IndexUnusableError as error:
                self._pieces.refuse(piece, error)
            else:
                if not len(found.rows):
                    self.counters.ruled_out += 1
                else:
                    self.counters.by_index += 1
                return found.rows, found.exact
        self.counters.read += 1
        return None

    def in_piece(self, piece: Piece, *, newest: bool, limit: int | None = None) -> Iterator[Item]:
        """The matches of a piece, by index; read lazily, so that who stops early pays for what was taken."""
        return self._read(piece, self.candidates(piece), newest=newest, limit=limit)

    def _read(
        self, piece: Piece, found: tuple[Rows, bool] | None, *, newest: bool, limit: int | None
    ) -> Iterator[Item]:
        blocks = self._whole(piece, newest) if found is None else self._chosen(piece, found[0], newest)
        left = limit
        for block, positions in blocks:
            self.counters.blocks += 1
            self.counters.bytes += len(block.raw)
            for position in self._residual.matching(block, positions, limit=left, newest=newest):
                yield Item._make(block.item(position))
                left = None if left is None else left - 1
            if left == 0:
                return
            if self.until is not None and time.monotonic() > self.until:
                self.stopped_at = block.base if newest else block.base + block.count
                return

    def _whole(self, piece: Piece, newest: bool) -> Iterator[tuple[Any, list[int] | None]]:
        first, last = max(piece.base, self._begin), min(piece.end, self._end)
        for block in piece.segment.blocks(first, last, newest=newest):
            inside = first <= block.base and block.base + block.count <= last
            begin, end = max(first - block.base, 0), min(last - block.base, block.count)
            yield block, None if inside else list(range(begin, end))

    def _chosen(self, piece: Piece, rows: Rows, newest: bool) -> Iterator[tuple[Any, list[int]]]:
        """Blocks with their candidates, ascending; each block is read once."""
        block: Any = None
        positions: list[int] = []
        for row in rows.newest_first() if newest else _ascending(rows):
            index = piece.base + row
            if block is None or not block.base <= index < block.base + block.count:
                if block is not None:
                    yield block, positions[::-1] if newest else positions
                block, positions = piece.segment.block_at(index), []
            positions.append(index - block.base)
        if block is not None:
            yield block, positions[::-1] if newest else positions

    # ---- answers ------------------------------------------------------------------------------------

    def items(self, order: str, limit: int | None = None, offset: int = 0) -> Iterator[Item]:
        """The matches in one of `ORDERS`, `offset` of them left out first."""
        if order not in ORDERS:
            raise UsageError(f"an order is one of {', '.join(ORDERS)}; not {order!r}")
        if limit == 0:
            return
        if order.endswith("time"):
            most = None if limit is None else limit + offset
            yield from islice(self._by_time(most, latest=order == "-time"), offset, None)
            return
        newest, left = order == "-index", limit
        for piece in self._overlapping(newest=newest):
            found = self.candidates(piece)
            if found is not None and found[1] and offset:
                rows, skipped = found[0], min(offset, len(found[0]))
                offset -= skipped
                kept = rows.newest(skipped, len(rows)) if newest else rows.slice(skipped, len(rows))
                found = Rows(kept), True
            for item in self._read(piece, found, newest=newest, limit=None if left is None else left + offset):
                if offset:
                    offset -= 1
                    continue
                yield item
                left = None if left is None else left - 1
            if left == 0 or self.stopped_at is not None:
                return

    def _by_time(self, limit: int | None, *, latest: bool) -> Iterator[Item]:
        """By event time, then index. Matches wait in a heap until every piece that could hold an earlier one (a later
        one, with `latest`) was searched; pieces without bounds come first."""
        sign = -1 if latest else 1
        queue = sorted(
            ((_bound(piece, latest), number, piece) for number, piece in enumerate(self._overlapping(newest=latest))),
            key=lambda entry: (entry[0] is not None, sign * (entry[0] or 0), entry[1]),
        )
        heap: list[tuple[int, int, Item]] = []
        given = 0
        for at, (_, _, piece) in enumerate(queue):
            for item in self.in_piece(piece, newest=latest):
                heapq.heappush(heap, (sign * event_time(item), sign * item.index, item))
            if limit is not None and len(heap) > 4 * limit + 1000:
                heap = heapq.nsmallest(limit - given, heap)
            following = queue[at + 1][0] if at + 1 < len(queue) else None
            while heap and (at + 1 == len(queue) or (following is not None and heap[0][0] < sign * following)):
                yield heapq.heappop(heap)[2]
                given += 1
                if given == limit:
                    return

    def count(self) -> int:
        """How many match. Pieces whose index is exact are counted without reading an event."""
        total = 0
        for piece in self._overlapping(newest=True):
            found = self.candidates(piece)
            if found is not None and found[1]:
                total += len(found[0])
                continue
            blocks = self._whole(piece, False) if found is None else self._chosen(piece, found[0], False)
            for block, positions in blocks:
                self.counters.blocks += 1
                self.counters.bytes += len(block.raw)
                total += len(self._residual.matching(block, positions))
        return total

    def exact_rows(self, piece: Piece) -> Rows | None:
        """The matching rows of a piece, when its index alone knows them."""
        found = self.candidates(piece)
        return found[0] if found is not None and found[1] else None

    def all_pieces(self) -> Iterator[Piece]:
        """The pieces that the plan searches, newest first."""
        return self._overlapping(newest=True)

    def _overlapping(self, *, newest: bool) -> Iterator[Piece]:
        pieces = self._pieces.all(self.size, newest=newest)
        return (piece for piece in pieces if piece.base < self._end and self._begin < piece.end)


def _index_range(node: Node, size: int) -> tuple[int, int]:
    """[begin, end) of indexes that a filter in normal form allows: what lies outside is not even looked at."""
    begin, end = 0, size
    for child in node.children if isinstance(node, And) else (node,):
        if isinstance(child, Span) and child.axis == "index":
            begin = max(begin, 0 if child.begin is None else child.begin)
            end = min(end, size if child.end is None else child.end)
    return begin, max(begin, end)


def event_time(item: Item) -> int:
    """When the event says that it happened, ns since the epoch; else when it was recorded."""
    time = ffi.new("int64_t *")
    if item.index and item.kind == 0 and lib.ledger_event_time(item.payload, len(item.payload), time):
        return int(time[0])
    return item.time_ns


def _bound(piece: Piece, latest: bool) -> int | None:
    return None if piece.granule is None else piece.granule.table.time[1 if latest else 0]


def _ascending(rows: Rows) -> Iterator[int]:
    for begin in range(0, len(rows), 256):
        yield from rows.slice(begin, begin + 256)


def _speaks_of_kind(node: Node) -> bool:
    if isinstance(node, And | Or):
        return any(map(_speaks_of_kind, node.children))
    return _speaks_of_kind(node.child) if isinstance(node, Not) else isinstance(node, Kind)
