"""Filters to programs for the C core, which evaluates them on packed events (csrc/predicate.c).

Layout: docs/format.md "Filter programs". `Regex` has no program: Python evaluates it on what is left."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from typing import Any, Final

from ledger.encoding import event as events
from ledger.errors import UsageError
from ledger.query.ast import (
    AXES,
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
    Prefix,
    Range,
    Regex,
    Span,
    Term,
    Wildcard,
    Words,
)

__all__ = ["packed_value", "program_of"]

_HEAD: Final = struct.Struct("<BBHI")
_BOUNDS: Final = struct.Struct("<qq")
_I64: Final = (-(1 << 63), (1 << 63) - 1)
_TEXTS: Final[dict[type[Node], int]] = {Prefix: 19, Contains: 20, Wildcard: 21}
_EVERYTHING, _NOTHING, _AND, _OR, _NOT, _SPAN, _KIND = 1, 2, 3, 4, 5, 6, 7
_EXISTS, _TERM, _RANGE, _WORDS, _CIDR = 16, 17, 18, 22, 23
_COSTS: Final[dict[type[Node], int]] = {Kind: 0, Span: 1, Term: 2, Exists: 2, Prefix: 3, Range: 3, Cidr: 5, Words: 8}


def packed_value(value: Any) -> bytes:
    """The msgpack of one value, as it stands in an event. Raises `EventError` for what no event can hold."""
    return events.encode({"": value})[2:]


def program_of(node: Node) -> bytes:
    """The program of a filter without `Regex`. Raises `UsageError` for one with, or larger than a program can be."""
    if isinstance(node, And | Or):
        if not node.children:
            return program_of(Everything() if isinstance(node, And) else Nothing())
        children = [program_of(child) for child in sorted(node.children, key=_cost)]
        return _node(_AND if isinstance(node, And) else _OR, 0, len(children), children)
    if isinstance(node, Not):
        return _node(_NOT, 0, 0, [program_of(node.child)])
    if isinstance(node, Everything | Nothing):
        return _node(_EVERYTHING if isinstance(node, Everything) else _NOTHING, 0, 0, [])
    if isinstance(node, Span):
        return _span(node)
    if isinstance(node, Kind):
        return _node(_KIND, int(node.note), 0, [])
    return _leaf(node)


def _cost(node: Node) -> int:
    """The cheap ones first: AND and OR stop at the first that decides."""
    if isinstance(node, And | Or):
        return 1 + sum(map(_cost, node.children))
    if isinstance(node, Not):
        return _cost(node.child)
    if isinstance(node, Words) and node.path is None:
        return 40
    return _COSTS.get(type(node), 6)


def _node(operation: int, a: int, b: int, parts: Iterable[bytes]) -> bytes:
    body = b"".join(parts)
    try:
        return _HEAD.pack(operation, a, b, _HEAD.size + len(body)) + body
    except struct.error:
        raise UsageError(
            "the filter is too large: at most 65,535 parts side by side, and keys of 65,535 bytes"
        ) from None


def _span(node: Span) -> bytes:
    low, high = _I64
    if (node.begin is not None and node.begin > high) or (node.end is not None and node.end <= low):
        return program_of(Nothing())
    begin = None if node.begin is None or node.begin <= low else node.begin
    end = None if node.end is None or node.end > high else node.end
    flags = (begin is not None) + 2 * (end is not None)
    return _node(_SPAN, AXES.index(node.axis), flags, [_BOUNDS.pack(begin or 0, end or 0)])


def _leaf(node: Node) -> bytes:
    if isinstance(node, Exists):
        return _on_path(_EXISTS, 0, node.path, b"")
    if isinstance(node, Term):
        return _on_path(_TERM, 0, node.path, packed_value(node.value))
    if isinstance(node, Range):
        flags = (node.low is not None) + 2 * (node.high is not None) + 4 * node.low_open + 8 * node.high_open
        if node.low is None and node.high is None:
            raise UsageError("a range has at least one bound")
        return _on_path(_RANGE, flags, node.path, _bound(node.low) + _bound(node.high))
    if isinstance(node, Words):
        operand = b"".join(map(_sized, node.words))
        if not operand:
            raise UsageError("a phrase has at least one word")
        return _on_path(_WORDS, int(node.path is None), node.path or (), operand)
    if isinstance(node, Cidr):
        network = ipaddress.ip_network(node.network)
        return _on_path(_CIDR, network.prefixlen, node.path, network.network_address.packed)
    if isinstance(node, Prefix | Contains | Wildcard):
        text = node.pattern if isinstance(node, Wildcard) else node.text
        return _on_path(_TEXTS[type(node)], 0, node.path, text.encode())
    if isinstance(node, Regex):
        raise UsageError("a regular expression has no program")
    raise UsageError(f"{node!r} is no filter")


def _bound(value: Any) -> bytes:
    packed = b"" if value is None else packed_value(value)
    return struct.pack("<I", len(packed)) + packed


def _sized(text: str) -> bytes:
    data = text.encode()
    if not 0 < len(data) < 1 << 16:
        raise UsageError("a key or word of a filter has 1 to 65,535 bytes")
    return struct.pack("<H", len(data)) + data


def _on_path(operation: int, a: int, path: tuple[str, ...], operand: bytes) -> bytes:
    return _node(operation, a, len(path), [*map(_key, path), operand])


def _key(key: str) -> bytes:
    data = key.encode()
    if len(data) >= 1 << 16:
        raise UsageError("a key of a filter has at most 65,535 bytes")
    return struct.pack("<H", len(data)) + data
