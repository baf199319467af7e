"""Filters as JSON and back: `{"v": 1, "filter": ["and", ["term", ["a", "b"], "x"], …]}`.

Each node is a list, its name first, then its fields in the order of `ledger.query.ast`. Values of other types than
JSON has are maps of one key: {"bytes": base64}, {"time": [seconds, nanoseconds]}, and {"float": text} where a number
would come back as an integer. Strict: what is not known is refused, with its place."""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgpack

from ledger.errors import UsageError
from ledger.query import ast
from ledger.query.ast import And, Node, Not, Or

__all__ = ["from_json", "to_json"]

VERSION: Final = 1
_DEPTH_MAX: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LEAVES: Final[dict[str, Any]] = {
    kind.__name__.lower(): kind
    for kind in (
        *(ast.Term, ast.Exists, ast.Range, ast.Prefix, ast.Contains, ast.Wildcard, ast.Regex, ast.Words),
        *(ast.Cidr, ast.Span, ast.Kind, ast.Everything, ast.Nothing),
    )
}


def to_json(node: Node) -> str:
    """One line of JSON, the same for the same filter."""
    return json.dumps({"v": VERSION, "filter": _out(node)}, ensure_ascii=False, separators=(",", ":"))


def _out(node: Node) -> list[Any]:
    if isinstance(node, And | Or):
        return [type(node).__name__.lower(), *map(_out, node.children)]
    if isinstance(node, Not):
        return ["not", _out(node.child)]
    values = [getattr(node, field.name) for field in dataclasses.fields(node)]  # type: ignore[arg-type]
    return [type(node).__name__.lower(), *map(_value_out, values)]


def _value_out(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, datetime):
        since = value - _EPOCH
        return {"time": [since.days * 86400 + since.seconds, since.microseconds * 1000]}
    if isinstance(value, msgpack.Timestamp):
        return {"time": [value.seconds, value.nanoseconds]}
    return value


def from_json(text: str) -> Node:
    """The filter of `to_json`. Raises `UsageError` with the place of what is wrong."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"a filter in JSON: {error}") from None
    if not isinstance(whole, dict) or set(whole) != {"v", "filter"} or whole["v"] != VERSION:
        raise UsageError('a filter in JSON is {"v": 1, "filter": [...]} and nothing else')
    return _in(whole["filter"], "filter", 0)


def _in(data: Any, place: str, depth: int) -> Node:
    if not isinstance(data, list) or not data or not isinstance(data[0], str):
        raise UsageError(f"{place}: a filter is a list that begins with its name")
    if depth > _DEPTH_MAX:
        raise UsageError(f"{place}: more than {_DEPTH_MAX} levels")
    name, rest = data[0], data[1:]
    if name in ("and", "or"):
        children = tuple(_in(child, f"{place}[{at}]", depth + 1) for at, child in enumerate(rest, 1))
        return And(children) if name == "and" else Or(children)
    if name == "not":
        if len(rest) != 1:
            raise UsageError(f"{place}: not takes one filter")
        return Not(_in(rest[0], f"{place}[1]", depth + 1))
    kind = _LEAVES.get(name)
    if kind is None:
        raise UsageError(f"{place}: {name!r} is no filter; there are {', '.join(['and', 'or', 'not', *_LEAVES])}")
    fields = dataclasses.fields(kind)
    if len(rest) != len(fields):
        raise UsageError(f"{place}: {name} takes {', '.join(field.name for field in fields) or 'nothing'}")
    values = [
        _value_in(value, str(field.name), f"{place}[{at}]")
        for at, (field, value) in enumerate(zip(fields, rest, strict=True), 1)
    ]
    if kind is not ast.Words and None in values[:1] and fields[0].name == "path":
        raise UsageError(f"{place}[1]: path is a list of strings")
    if kind is ast.Range and (values[1:3] == [None, None] or any(isinstance(bound, bool) for bound in values[1:3])):
        raise UsageError(f"{place}: a range has at least one bound, a number or a string")
    node: Node = kind(*values)
    return node


def _value_in(value: Any, field: str, place: str) -> Any:
    if field in ("path", "words"):
        if value is None and field == "path":
            return None
        if not isinstance(value, list) or not value or not all(isinstance(key, str) and key for key in value):
            raise UsageError(f"{place}: {field} is a list of strings")
        return tuple(value)
    if field in ("text", "pattern", "network", "axis"):
        if not isinstance(value, str) or (field == "axis" and value not in ast.AXES):
            raise UsageError(f"{place}: {field} is a string" + (f" of {ast.AXES}" if field == "axis" else ""))
        return value
    if field in ("low_open", "high_open", "note"):
        if not isinstance(value, bool):
            raise UsageError(f"{place}: {field} is true or false")
        return value
    if field in ("begin", "end"):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise UsageError(f"{place}: {field} is an integer or null")
        return value
    return _scalar_in(value, place)


def _scalar_in(value: Any, place: str) -> Any:
    if isinstance(value, dict) and len(value) == 1:
        try:
            [(name, inner)] = value.items()
            if name == "bytes":
                return base64.b64decode(inner, validate=True)
            if name == "float":
                return float(inner)
            if name == "time":
                seconds, nanoseconds = inner
                if nanoseconds % 1000:
                    return msgpack.Timestamp(seconds, nanoseconds)
                return _EPOCH + timedelta(0, seconds, nanoseconds // 1000)
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"{place}: {error}") from None
    if isinstance(value, str | int) or value is None:
        return value
    raise UsageError(f"{place}: a value is null, true, false, an integer, a string, or a map of one type's name")
