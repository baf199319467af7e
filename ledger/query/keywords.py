"""Filters as keyword arguments, as the APIs of audit systems have them: `tenant_id="acme", action=["read", "export"]`.

name=value            the field equals the value, its type included; two underscores are a dot: actor__id
name=[a, b]           one of them; a list, tuple or set
name=None             is refused: write the filter `-name:*` for a field that is not there
start_time, since     events at or after;  end_time, until: before, by the event's own time
                      a datetime with an offset, or text as in a query: 2026-05-01, now-7d"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from ledger.errors import UsageError
from ledger.query.ast import And, Node, Or, Span, Term
from ledger.query.times import interval

__all__ = ["from_keywords"]

_BEGINS: Final = ("start_time", "since")
_ENDS: Final = ("end_time", "until")


def from_keywords(fields: Mapping[str, Any], *, now_ns: int | None = None) -> Node:
    """All of them together. Raises `UsageError` naming the field."""
    return And(tuple(_one(name, value, time.time_ns() if now_ns is None else now_ns) for name, value in fields.items()))


def _one(name: str, value: Any, now_ns: int) -> Node:
    if name in _BEGINS:
        return Span("time", _instant(name, value, now_ns), None)
    if name in _ENDS:
        return Span("time", None, _instant(name, value, now_ns))
    path = tuple(name.split("__"))
    if not all(path):
        raise UsageError(f"{name}: no field's name; two underscores stand for a dot between keys")
    if isinstance(value, list | tuple | set | frozenset):
        return Or(tuple(_term(name, path, one) for one in value))
    return _term(name, path, value)


def _term(name: str, path: tuple[str, ...], value: Any) -> Node:
    if not isinstance(value, str | int | float | bool | bytes | datetime):
        raise UsageError(
            f"{name}: a value is text, a number, true or false, bytes or a time; not {type(value).__name__}"
        )
    return Term(path, value)


def _instant(name: str, value: Any, now_ns: int) -> int:
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return interval(value.isoformat(), now_ns)[0]
    if isinstance(value, str):
        try:
            return interval(value, now_ns)[0]
        except (ValueError, OverflowError) as error:
            raise UsageError(f"{name}: {error}") from None
    raise UsageError(f"{name}: a datetime with an offset, or text such as 2026-05-01 or now-7d; not {value!r}")
