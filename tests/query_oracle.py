"""What a filter means, written as plainly as it can be: on decoded events, without an index, sharing no code."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import msgpack

from ledger.query import ast

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME_KEYS = ("timestamp", "@timestamp", "eventTime", "time", "created_at")


def matches(node: ast.Node, event: Any, *, index: int, recorded_ns: int, note: bool = False) -> bool:
    """Whether the entry at `index` makes the filter true. `event`: the decoded map; None for entry 0."""

    def on(child: ast.Node) -> bool:
        return matches(child, event, index=index, recorded_ns=recorded_ns, note=note)

    match node:
        case ast.And(children):
            return all(map(on, children))
        case ast.Or(children):
            return any(map(on, children))
        case ast.Not(child):
            return not on(child)
        case ast.Everything():
            return True
        case ast.Nothing():
            return False
        case ast.Kind(is_note):
            return note == is_note
        case ast.Span(axis, begin, end):
            place = {"index": index, "recorded": recorded_ns}.get(axis)
            place = event_time(event, recorded_ns) if place is None else place
            return (begin is None or begin <= place) and (end is None or place < end)
        case ast.Words(None, words):
            return event is not None and any(_has_words(text, words) for text in _all_strings(event))
    assert hasattr(node, "path")
    found = list(_at(event, node.path)) if event is not None else []
    if isinstance(node, ast.Exists):
        return bool(found)
    return any(_scalar(node, leaf) for value in found for leaf in _leaves(value))


def _at(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if not path:
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from _at(element, path)
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for element in value:
            yield from _leaves(element)
    elif not isinstance(value, dict):
        yield value


def _all_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from _all_strings(element)
    elif isinstance(value, dict):
        for element in value.values():
            yield from _all_strings(element)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _instant(value: Any) -> int | None:
    if isinstance(value, datetime):
        return int((value - EPOCH) / timedelta(microseconds=1)) * 1000
    if isinstance(value, msgpack.Timestamp):
        return int(value.seconds) * 10**9 + int(value.nanoseconds)
    return None


def _equal(a: Any, b: Any) -> bool:
    if _instant(a) is not None or _instant(b) is not None:
        return _instant(a) == _instant(b)
    if isinstance(a, float) and isinstance(b, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return type(a) is type(b) and a == b


def _between(node: ast.Range, value: Any) -> bool:
    for bound, is_low, is_open in ((node.low, True, node.low_open), (node.high, False, node.high_open)):
        if bound is None:
            continue
        if isinstance(bound, str) != isinstance(value, str) or not (isinstance(value, str) or _is_number(value)):
            return False
        if value == bound:
            if is_open:
                return False
        elif (value > bound) != is_low:
            return False
    return True


def _scalar(node: Any, value: Any) -> bool:
    if isinstance(node, ast.Term):
        return _equal(node.value, value)
    if isinstance(node, ast.Range):
        return _between(node, value)
    if not isinstance(value, str):
        return False
    match node:
        case ast.Prefix(_, text):
            return value.startswith(text)
        case ast.Contains(_, text):
            return text in value
        case ast.Wildcard(_, pattern):
            return re.fullmatch(_regex_of(pattern), value, re.DOTALL) is not None
        case ast.Regex(_, pattern):
            return re.search(pattern, value) is not None
        case ast.Words(_, words):
            return _has_words(value, words)
        case ast.Cidr(_, network):
            return _in_network(value, network)
    raise AssertionError(node)


def _regex_of(pattern: str) -> str:
    out, at = "", 0
    while at < len(pattern):
        if pattern[at] == "\\" and at + 1 < len(pattern):
            at += 1
            out += re.escape(pattern[at])
        else:
            out += {"*": ".*", "?": "."}.get(pattern[at], re.escape(pattern[at]))
        at += 1
    return out


def _tokens(text: str) -> list[str]:
    lowered = "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)
    return "".join(c if ord(c) >= 128 or c == "_" or c.isalnum() else " " for c in lowered).split(" ")


def _has_words(text: str, words: tuple[str, ...]) -> bool:
    found = [token for token in _tokens(text) if token]
    return any(tuple(found[at : at + len(words)]) == words for at in range(len(found)))


def _in_network(text: str, network: str) -> bool:
    if "%" in text:
        return False
    try:
        return ipaddress.ip_address(text) in ipaddress.ip_network(network)
    except ValueError:
        return False


def event_time(event: Any, recorded_ns: int) -> int:
    """ns since the epoch: what the event says, else when it was recorded."""
    for key in TIME_KEYS:
        if isinstance(event, dict) and key in event and (found := _time_of(event[key])) is not None:
            return found
    return recorded_ns


def _time_of(value: Any) -> int | None:
    ns: int | None = _instant(value)
    if isinstance(value, str):
        ns = _rfc3339(value)
    elif _is_number(value):
        scale = 10**9 if value < 10**11 else 10**6 if value < 10**14 else 10**3 if value < 10**17 else 1
        ns = math.floor(Fraction(value) * scale)
    return ns if ns is not None and -(1 << 63) <= ns < 1 << 63 else None


def _rfc3339(text: str) -> int | None:
    found = re.fullmatch(
        r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}):([0-9]{2})(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})",
        text,
    )
    if found is None or int(found[3]) > 60 or not 1678 <= int(text[:4]) <= 2261:
        return None
    try:
        minute = datetime.fromisoformat(f"{found[1]}T{found[2]}:00+00:00")
        zone = found[5] if found[5] not in "Zz" else "+00:00"
        if int(zone[4:]) > 59 or int(zone[1:3]) > 23:
            return None
    except ValueError:
        return None
    away = (int(zone[1:3]) * 60 + int(zone[4:])) * (-60 if zone[0] == "-" else 60)
    seconds = int((minute - EPOCH) / timedelta(seconds=1)) + int(found[3]) - away
    return seconds * 10**9 + (int(found[4][1:].ljust(9, "0")) if found[4] else 0)
