"""Search over one open ledger: rows, counts, facets, histograms, pages. docs/query.md."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ledger._native import ffi, lib
from ledger.encoding import event as events
from ledger.encoding.identity import as_map
from ledger.errors import UsageError
from ledger.index.rows import Rows
from ledger.query.ast import And, Node, Path, Span
from ledger.query.cursor import Cursor
from ledger.query.keywords import from_keywords
from ledger.query.pieces import Piece, Pieces
from ledger.query.plan import Plan, event_time
from ledger.query.text import parse
from ledger.query.values import path_of
from ledger.storage.store import Item, Store

__all__ = ["Explanation", "Page", "Search", "decoded"]

_BUCKETS_MAX: Final = 100_000
Filter = str | Node | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some matches and where to go on. `complete` is False when the deadline ended the search: the matches so far,
    and a cursor that goes on from there. `size` is that of the ledger as the first page saw it."""

    items: list[Item]
    next_cursor: str | None
    complete: bool
    size: int

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events, decoded."""
        return [decoded(item) for item in self.items]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a query would do, and did to find out: it counts the matches."""

    filter: str
    matches: int
    pieces: int
    ruled_out: int
    by_index: int
    read: int
    blocks: int
    bytes: int
    degraded: tuple[str, ...]


class Search:
    """Queries of one ledger, seen at the size it has when each begins. Any thread; closed with the ledger.

    Every method takes a filter: text (`ledger.query.text`), a filter value (`F`, `ledger.query.ast`), or none for all,
    and keyword filters (`tenant_id="acme"`, `start_time=…`), which are ANDed to it. `scope` narrows for good."""

    def __init__(self, store: Store, pieces: Pieces, cursor_key: bytes, scope: Node | None = None) -> None:
        self._store = store
        self._pieces = pieces
        self._cursor_key = cursor_key
        self._scope = scope

    @classmethod
    def of(cls, store: Store) -> Search:
        """The search of an open store."""
        pieces = Pieces(store)
        return cls(store, pieces, pieces.cursor_key())

    def close(self) -> None:
        """Close the indexes that were opened; searches still running fail."""
        self._pieces.close()

    def scope(self, **fields: Any) -> Search:
        """A search that cannot leave these fields' values: every filter is ANDed with them, after it was parsed."""
        if not fields:
            raise UsageError("a scope needs at least one field")
        node = from_keywords(fields)
        narrowed = node if self._scope is None else And((self._scope, node))
        return Search(self._store, self._pieces, self._cursor_key, narrowed)

    def _node(self, filter: Filter, fields: Mapping[str, Any], now_ns: int) -> Node:
        parts: list[Node] = [] if self._scope is None else [self._scope]
        if isinstance(filter, str):
            parts.append(parse(filter, now_ns=now_ns))
        elif filter is not None:
            parts.append(filter)
        if fields:
            parts.append(from_keywords(fields, now_ns=now_ns))
        return And(tuple(parts))

    def plan(self, filter: Filter = None, *, notes: bool = False, **fields: Any) -> Plan:
        """The plan of a filter over the ledger as it is now."""
        node = self._node(filter, fields, time.time_ns())
        return Plan(self._pieces, node, self._store.refresh(), notes=notes)

    def items(
        self,
        filter: Filter = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        order: str = "-index",
        notes: bool = False,
        **fields: Any,
    ) -> Iterator[Item]:
        """The matches with index, kind, time and payload. `order`: -index (newest first), index, -time, time.
        `offset`: how many to leave out first; where the index is exact they are not even read."""
        return self.plan(filter, notes=notes, **fields).items(order, limit, offset)

    def events(
        self,
        filter: Filter = None,
        *,
        limit: int | None = None,
        order: str = "-index",
        notes: bool = False,
        **fields: Any,
    ) -> Iterator[dict[str, Any]]:
        """The matching events as dicts; otherwise as `items`."""
        return map(decoded, self.items(filter, limit=limit, order=order, notes=notes, **fields))

    def first(self, filter: Filter = None, *, order: str = "-index", **fields: Any) -> dict[str, Any] | None:
        """The newest match, or the first in another order; None without a match."""
        return next(self.events(filter, limit=1, order=order, **fields), None)

    def exists(self, filter: Filter = None, **fields: Any) -> bool:
        """Whether anything matches."""
        return next(self.items(filter, limit=1, **fields), None) is not None

    def count(self, filter: Filter = None, *, notes: bool = False, **fields: Any) -> int:
        """How many match. Without patterns and phrases no event is read."""
        return self.plan(filter, notes=notes, **fields).count()

    # ---- aggregates ---------------------------------------------------------------------------------

    def facet(self, path: str | Path, filter: Filter = None, *, top: int = 10, **fields: Any) -> list[tuple[Any, int]]:
        """The values at a path and how many matches have each, the most frequent first; ties by the value's text."""
        plan, keys = self.plan(filter, **fields), path_of(path) if isinstance(path, str) else path
        counts: Counter[Any] = Counter()
        for piece in plan.all_pieces():
            counted = _counted(piece, plan.exact_rows(piece), keys)
            if counted is not None:
                counts.update(counted)
                continue
            for item in plan.in_piece(piece, newest=True):
                counts.update({_key(value) for value in _scalars_at(decoded(item), keys)})
        ranked = sorted(((key, count) for key, count in counts.items() if count), key=lambda e: (-e[1], str(e[0][1])))
        return [(key[1], count) for key, count in ranked[:top]]

    def histogram(
        self, filter: Filter = None, *, begin_ns: int, end_ns: int, width_ns: int, **fields: Any
    ) -> list[tuple[int, int]]:
        """(begin of the bucket in ns, matches) by event time over [begin_ns, end_ns); empty buckets too."""
        if width_ns <= 0 or not 0 < (end_ns - begin_ns + width_ns - 1) // width_ns <= _BUCKETS_MAX:
            raise UsageError(f"a histogram has 1 to {_BUCKETS_MAX} buckets of at least one ns")
        count = (end_ns - begin_ns + width_ns - 1) // width_ns
        plan, buckets = self.plan(filter, **fields), ffi.new("uint64_t[]", count)
        for piece in plan.all_pieces():
            rows = plan.exact_rows(piece)
            if rows is not None:
                if len(rows):
                    times = piece.times()
                    native = ffi.from_buffer("int64_t[]", times)
                    lib.ledger_index_histogram(native, len(times), rows.native, begin_ns, width_ns, buckets, count)
                continue
            for item in plan.in_piece(piece, newest=True):
                if begin_ns <= (at := event_time(item)) < end_ns:
                    buckets[(at - begin_ns) // width_ns] += 1
        return [(begin_ns + at * width_ns, int(found)) for at, found in enumerate(buckets[0:count])]

    def explain(self, filter: Filter = None, **fields: Any) -> Explanation:
        """Count the matches and say how: what the index ruled out, answered, and what had to be read."""
        plan = self.plan(filter, **fields)
        matches, c = plan.count(), plan.counters
        return Explanation(
            repr(plan.node),
            matches,
            c.pieces,
            c.ruled_out,
            c.by_index,
            c.read,
            c.blocks,
            c.bytes,
            tuple(self._pieces.degraded),
        )

    # ---- pages --------------------------------------------------------------------------------------

    def page(
        self,
        filter: Filter = None,
        *,
        cursor: str | None = None,
        limit: int = 50,
        order: str = "-index",
        deadline_s: float | None = None,
        **fields: Any,
    ) -> Page:
        """At most `limit` matches, from the start or from where `cursor` of the page before says, over the ledger as
        the first page saw it: what is appended meanwhile neither moves nor repeats a match.

        `deadline_s`: seconds to search, checked after each block; then what was found so far, `complete` False. Raises
        `UsageError` for a cursor that is not of this ledger, filter and order. By index only."""
        if order not in ("-index", "index") or limit < 1:
            raise UsageError("pages go by -index or index, and hold at least one match")
        at = None if cursor is None else Cursor.read(cursor, self._cursor_key)
        now_ns = time.time_ns() if at is None else at.now_ns
        node = self._node(filter, fields, now_ns)
        if at is not None and cursor is not None:
            at.check(cursor, self._cursor_key, node, order)
        newest = order == "-index"
        size = self._store.refresh() if at is None else at.size
        within = node if at is None else And((node, Span("index", *((None, at.bound) if newest else (at.bound, None)))))
        plan = Plan(self._pieces, within, size)
        plan.until = None if deadline_s is None else time.monotonic() + deadline_s
        items = list(plan.items(order, limit + 1))
        bound = plan.stopped_at
        if len(items) > limit:
            del items[limit:]
            bound = items[-1].index + (0 if newest else 1)
        following = None if bound is None else Cursor(order, bound, size, now_ns).text(self._cursor_key, node)
        return Page(items, following, plan.stopped_at is None, size)


def _counted(piece: Piece, rows: Rows | None, path: Path) -> Counter[Any] | None:
    """Values and their rows by the index alone; None when it does not know them all."""
    if rows is None or piece.granule is None:
        return None
    if not len(rows):
        return Counter()
    values, counts = piece.granule.values(path), Counter[Any]()
    if not values.complete:
        return None
    for value, _ in values.listed:
        found = piece.granule.lookup(path, value)
        if not found.exact:
            return None
        counts[_key(value)] += len(found.rows & rows)
    return counts


def decoded(item: Item) -> dict[str, Any]:
    """The event or note of an item."""
    return events.unpack(item.payload) if item.index else as_map(item.payload)


def _key(value: Any) -> tuple[str, Any]:
    return type(value).__name__, value


def _scalars_at(value: Any, path: Path) -> Iterator[Any]:
    """The scalars at a path of a decoded event, through arrays."""
    if isinstance(value, list):
        for element in value:
            yield from _scalars_at(element, path)
    elif path:
        if isinstance(value, Mapping) and path[0] in value:
            yield from _scalars_at(value[path[0]], path[1:])
    elif not isinstance(value, Mapping):
        yield value
