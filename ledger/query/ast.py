"""Filters as values: what a query asks, whichever language it was written in.

A leaf is true of an event iff *some* value at its path makes it true; arrays are passed through at every level, so
any element counts. All else is false, also when nothing stands at the path: there is no third value, and `Not` is the
plain complement, true also of events without the field. A path is the tuple of keys from the outermost map. Ranges
of axes are half open. See docs/query.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "AXES",
    "And",
    "Cidr",
    "Contains",
    "Everything",
    "Exists",
    "Kind",
    "Node",
    "Not",
    "Nothing",
    "Or",
    "Path",
    "Prefix",
    "Range",
    "Regex",
    "Span",
    "Term",
    "Wildcard",
    "Words",
]

Path = tuple[str, ...]
AXES: Final = ("index", "time", "recorded")


class Node:
    """One filter. `a & b`, `a | b` and `~a` combine."""

    __slots__ = ()

    def __and__(self, other: Node) -> Node:
        return And((self, other))

    def __or__(self, other: Node) -> Node:
        return Or((self, other))

    def __invert__(self) -> Node:
        return Not(self)

    def __bool__(self) -> bool:
        raise TypeError("a filter has no truth value: combine filters with & | ~, not with and, or, not")


@dataclass(frozen=True, slots=True)
class Term(Node):
    """A scalar equals `value`, type included: 200, 200.0 and "200" are three values. bytes and timestamps count."""

    path: Path
    value: Any

    def __hash__(self) -> int:
        return hash((self.path, type(self.value).__name__, repr(self.value)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Term) or self.path != other.path:
            return NotImplemented if not isinstance(other, Term) else False
        return type(self.value) is type(other.value) and repr(self.value) == repr(other.value)


@dataclass(frozen=True, slots=True)
class Exists(Node):
    """A value stands at the path, be it null or an empty map or array."""

    path: Path


@dataclass(frozen=True, slots=True)
class Range(Node):
    """A value lies between `low` and `high`; None is no bound. Both are numbers (int and float compare exactly,
    booleans are none) or both strings (by code point); values of other types never match."""

    path: Path
    low: int | float | str | None
    high: int | float | str | None
    low_open: bool = False
    high_open: bool = False


@dataclass(frozen=True, slots=True)
class Prefix(Node):
    """A string begins with `text`."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Contains(Node):
    """A string contains `text`."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Wildcard(Node):
    r"""A string matches `pattern` from end to end: * any run, ? any one character, a backslash takes the next as is."""

    path: Path
    pattern: str


@dataclass(frozen=True, slots=True)
class Regex(Node):
    """Python's `re.search` of `pattern` finds something in a string."""

    path: Path
    pattern: str


@dataclass(frozen=True, slots=True)
class Words(Node):
    """A string holds these tokens one after the other (docs/query.md "Words"); path None: any string of the event."""

    path: Path | None
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cidr(Node):
    """A string is an address inside `network`, written as `ipaddress` prints it; IPv4 and IPv6 never mix."""

    path: Path
    network: str


@dataclass(frozen=True, slots=True)
class Span(Node):
    """The entry's place on an axis is in [begin, end); None is no bound. `index`; `time`, of the event itself, and
    `recorded`, of the entry, in ns since the epoch."""

    axis: str
    begin: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class Kind(Node):
    """The entry is a note of the ledger itself, or with `note` False an event."""

    note: bool


@dataclass(frozen=True, slots=True)
class And(Node):
    """All of them."""

    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or(Node):
    """At least one of them."""

    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not(Node):
    """The complement."""

    child: Node


@dataclass(frozen=True, slots=True)
class Everything(Node):
    """True of every entry."""


@dataclass(frozen=True, slots=True)
class Nothing(Node):
    """True of none."""
