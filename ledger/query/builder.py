"""Filters in Python: `F.action.in_("delete", "export") & ~F.actor_type.eq("service")`.

`F.a.b` is the path a, b; `F["key.with.dots"]` one key. Python's own == and < stay what they are: a filter is made by
a method's name, so that nothing is compared by accident."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime
from typing import Any

from ledger.errors import UsageError
from ledger.query.ast import (
    Cidr,
    Contains,
    Exists,
    Node,
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
from ledger.query.times import interval
from ledger.query.words import tokens

__all__ = ["F", "FieldBuilder", "TimeBuilder"]


class FieldBuilder:
    """A path; its methods make filters on it."""

    __slots__ = ("_path",)

    def __init__(self, path: Path = ()) -> None:
        self._path = path

    def __getattr__(self, key: str) -> FieldBuilder:
        if key.startswith("__"):
            raise AttributeError(key)
        return self[key]

    def __getitem__(self, key: str) -> FieldBuilder:
        return type(self)((*self._path, key))

    def __bool__(self) -> bool:
        raise TypeError("a field has no truth value: end it with .eq(…), .exists() or another method")

    def _leaf(self) -> Path:
        if not self._path:
            raise UsageError("a filter needs a field: F.action.eq(…)")
        return self._path

    def eq(self, value: Any) -> Node:
        """Equals, type included."""
        return Term(self._leaf(), value)

    def ne(self, value: Any) -> Node:
        """Does not equal; also where the field is not there."""
        return ~self.eq(value)

    def in_(self, *values: Any) -> Node:
        """Equals one of them."""
        return Or(tuple(map(self.eq, values)))

    def exists(self) -> Node:
        """Something stands there."""
        return Exists(self._leaf())

    def between(self, low: Any, high: Any) -> Node:
        """low ≤ value < high; numbers or strings."""
        return Range(self._leaf(), low, high, False, True)

    def lt(self, value: Any) -> Node:
        """Below."""
        return Range(self._leaf(), None, value, False, True)

    def le(self, value: Any) -> Node:
        """Below or equal."""
        return Range(self._leaf(), None, value)

    def gt(self, value: Any) -> Node:
        """Above."""
        return Range(self._leaf(), value, None, True)

    def ge(self, value: Any) -> Node:
        """Above or equal."""
        return Range(self._leaf(), value, None)

    def startswith(self, text: str) -> Node:
        """The string begins with it."""
        return Prefix(self._leaf(), text)

    def contains(self, text: str) -> Node:
        """The string contains it."""
        return Contains(self._leaf(), text)

    def like(self, pattern: str) -> Node:
        """The whole string matches a pattern of * and ?."""
        return Wildcard(self._leaf(), pattern)

    def matches(self, pattern: str) -> Node:
        """Python's `re.search` finds the pattern in the string."""
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise UsageError(f"no regular expression: {error}: {pattern!r}") from None
        return Regex(self._leaf(), pattern)

    def words(self, text: str) -> Node:
        """The string holds these words one after the other."""
        found = tokens(text)
        if not found:
            raise UsageError(f"there is no word in {text!r}")
        return Words(self._leaf(), found)

    def in_network(self, network: str) -> Node:
        """The string is an address inside `network`."""
        try:
            return Cidr(self._leaf(), str(ipaddress.ip_network(network)))
        except ValueError as error:
            raise UsageError(f"no network: {error}") from None


class TimeBuilder:
    """The event's own time, or with `recorded` the entry's: `F_time.ge("now-7d")`."""

    __slots__ = ("_axis",)

    def __init__(self, axis: str) -> None:
        self._axis = axis

    def ge(self, moment: datetime | str | int, *, now_ns: int = 0) -> Node:
        """At or after a datetime with an offset, a text as in a query, or ns since the epoch."""
        return Span(self._axis, _ns(moment, now_ns), None)

    def lt(self, moment: datetime | str | int, *, now_ns: int = 0) -> Node:
        """Before."""
        return Span(self._axis, None, _ns(moment, now_ns))

    def between(self, begin: datetime | str | int, end: datetime | str | int, *, now_ns: int = 0) -> Node:
        """begin ≤ time < end."""
        return Span(self._axis, _ns(begin, now_ns), _ns(end, now_ns))


def _ns(moment: datetime | str | int, now_ns: int) -> int:
    if isinstance(moment, int):
        return moment
    if isinstance(moment, datetime):
        if moment.utcoffset() is None:
            raise UsageError("a datetime needs an offset: without one it names no instant")
        moment = moment.isoformat()
    try:
        return interval(moment, now_ns)[0]
    except (ValueError, OverflowError) as error:
        raise UsageError(str(error)) from None


F = FieldBuilder()
