"""Which rows of a granule may match a filter, from its index alone.

The answer is a superset of the truth, and says whether it is exactly the truth: exact leaves (values, paths, spans of
indexes and event times) combine by set operations, also under NOT; all others give what surely holds every match.
What is not exact is evaluated on the events afterwards. No event is read here."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from ledger._native import ROW, ffi, lib
from ledger.encoding.block import Block
from ledger.errors import UsageError
from ledger.index.granule import Found, Granule
from ledger.index.rows import Rows
from ledger.query.ast import (
    And,
    Cidr,
    Contains,
    Everything,
    Exists,
    Kind,
    Node,
    Not,
    Nothing,
    Or,
    Path,
    Prefix,
    Range,
    Regex,
    Span,
    Term,
    Wildcard,
    Words,
)
from ledger.query.program import packed_value, program_of

__all__ = ["Candidates"]

_UNITED_MAX: Final = 512  # look-ups for the values of one pattern; above, every event with the field is a candidate
_VALUE_KEY: Final = b"\x81\xa1v"  # {"v": the value}
_TIME_MIN, _TIME_MAX = -(1 << 63), (1 << 63) - 1


class Candidates:
    """Evaluates filters over one granule. `with_notes`: the ledger's own entries count too; they are in no index,
    so all of them are candidates of every leaf."""

    def __init__(self, granule: Granule, times: Callable[[], Any], *, with_notes: bool) -> None:
        self._granule = granule
        self._times = times
        self._all = Rows.span(0, granule.table.count) if with_notes else granule.events
        self._notes = self._all - granule.events if with_notes else Rows()

    def of(self, node: Node) -> Found:
        """Raises `IndexUnusableError` when a section that is needed is damaged."""
        if isinstance(node, And):
            return self._and(node.children)
        if isinstance(node, Or):
            rows, exact = Rows(), True
            for child in node.children:
                found = self.of(child)
                rows, exact = rows | found.rows, exact and found.exact
            return Found(rows, exact)
        if isinstance(node, Not):
            found = self.of(node.child)
            return Found(self._all - found.rows, True) if found.exact else Found(self._all, False)
        if isinstance(node, Everything | Nothing):
            return Found(self._all if isinstance(node, Everything) else Rows(), True)
        if isinstance(node, Kind):
            return Found(self._notes if node.note else self._granule.events, True)
        if isinstance(node, Span):
            return self._span(node)
        found = self._leaf(node)
        if len(self._notes):
            return Found(found.rows | self._notes, False)
        return found

    def _and(self, children: tuple[Node, ...]) -> Found:
        rows, exact = self._all, True
        for child in sorted(children, key=_rank):
            found = self.of(child)
            rows, exact = rows & found.rows, exact and found.exact
            if not len(rows):
                return Found(rows, True)
        return Found(rows, exact)

    def _leaf(self, node: Node) -> Found:
        granule = self._granule
        if isinstance(node, Term):
            return granule.lookup(node.path, node.value)
        if isinstance(node, Exists):
            return granule.exists(node.path)
        if isinstance(node, Words):
            return Found(granule.words(" ".join(node.words), node.path), False)
        assert isinstance(node, Range | Prefix | Contains | Wildcard | Regex | Cidr)
        return self._by_values(node, node.path)

    def _by_values(self, node: Node, path: Path) -> Found:
        """Where all values at the path are listed, those that match are looked up; else whoever has the path."""
        values = self._granule.values(path)
        if values.complete:
            matching = _matching(node, [value for value, _ in values.listed])
            if len(matching) <= _UNITED_MAX:
                rows, exact = Rows(), True
                for value in matching:
                    found = self._granule.lookup(path, value)
                    rows, exact = rows | found.rows, exact and found.exact
                return Found(rows, exact)
        return Found(self._granule.exists(path).rows, False)

    def _span(self, node: Span) -> Found:
        table = self._granule.table
        if node.axis == "index":
            begin = max(0, (node.begin or 0) - table.base)
            end = table.count if node.end is None else min(table.count, node.end - table.base)
            return Found(self._all & Rows.span(begin, end) if begin < end else Rows(), True)
        low = _TIME_MIN if node.begin is None else node.begin
        high = _TIME_MAX if node.end is None else node.end - 1
        first, last = table.time if node.axis == "time" else table.recorded
        if not len(self._notes):
            if low <= first and last <= high:
                return Found(self._all, True)
            if last < low or high < first:
                return Found(Rows(), True)
        if node.axis == "recorded" or low > high or not _TIME_MIN <= low <= _TIME_MAX or high > _TIME_MAX:
            return Found(self._all, False)
        native, times = ffi.new("ledger_rows *"), self._times()
        lib.ledger_index_times_between(ffi.from_buffer("int64_t[]", times), table.count, low, high, native)
        return Found(self._all & Rows.wrap(native), True)


def _rank(node: Node) -> int:
    """Cheap and rare ones first, so that an empty intersection is found early."""
    if isinstance(node, Kind | Span):
        return 0
    if isinstance(node, Term | Exists):
        return 1
    return 3 if isinstance(node, Words | And | Or) else 2


def _matching(node: Node, values: list[Any]) -> list[Any]:
    """The values that make a leaf true, each as the only value of an event."""
    if not values:
        return []
    if isinstance(node, Regex):
        return [value for value in values if isinstance(value, str) and re.search(node.pattern, value)]
    program = program_of(_moved(node))
    payloads, table, at = [], b"", 0
    for value in values:
        payload = _VALUE_KEY + packed_value(value)
        payloads.append(payload)
        table += ROW.pack(at, 0, len(payload), 0, 0)
        at += len(payload)
    return [values[i] for i in Block(1, b"".join(payloads), table).matching(program)]


def _moved(node: Node) -> Node:
    """The same leaf on the path v."""
    path = ("v",)
    match node:
        case Range(_, low, high, low_open, high_open):
            return Range(path, low, high, low_open, high_open)
        case Prefix(_, text):
            return Prefix(path, text)
        case Contains(_, text):
            return Contains(path, text)
        case Wildcard(_, pattern):
            return Wildcard(path, pattern)
        case Cidr(_, network):
            return Cidr(path, network)
    raise UsageError(f"{node!r} is no filter on values")
