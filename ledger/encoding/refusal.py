"""Why an event cannot be stored: the slow walk, taken only after a codec or the check refused one.

The fast ways say no without a path. This names the first value at fault, in reading order, as
`$.user.tags[3]`, and what to do about it. What may be stored is written in `event`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, NoReturn

import msgpack

from ledger.errors import EventError

__all__ = ["DEPTH_MAX", "explain"]

DEPTH_MAX = 32


class _RefusedError(Exception):
    """Carries the path of the first value at fault, and what is wrong with it."""


def explain(event: object, *, position: int | None = None, cause: BaseException | None = None) -> EventError:
    """The error to raise for an event that was refused: which value, by path, and what to do.

    `position` is that of the event in its batch, from 0; `cause` speaks if the walk finds
    nothing. Cost: O(values)."""
    path, what = "$", f"was refused: {cause}" if cause else "is not in the exact form"
    try:
        if isinstance(event, Mapping):
            _walk(dict(event), "$", 1)
        else:
            _refuse("$", f"is {_kind(event)}, and an event is a mapping")
    except _RefusedError as refused:
        path, what = refused.args
    where = "the event" if position is None else f"event {position} of the batch"
    message = f"{where} cannot be stored: {path} {what}. Nothing was stored."
    return EventError(message, path=path, position=position)


def _walk(value: Any, path: str, depth: int) -> None:
    """Raise `_RefusedError` at the first value, in reading order, that cannot be stored."""
    kind = type(value)
    if kind is dict or kind is list:
        if depth > DEPTH_MAX:
            _refuse(
                path,
                f"lies deeper than {DEPTH_MAX} levels: flatten it, or store that part as a string",
            )
        for key, child in value.items() if kind is dict else enumerate(value):
            _walk(child, _step(path, key) if kind is dict else f"{path}[{key}]", depth + 1)
    elif kind is str:
        if not _is_utf8(value):
            _refuse(
                path,
                "holds a lone surrogate, which UTF-8 cannot: repair the string, or store bytes",
            )
    elif kind is int:
        if not -(1 << 63) <= value < 1 << 64:
            _refuse(path, "is an integer of more than 64 bits: store it as a string")
    elif kind is float:
        if not isfinite(value):
            _refuse(path, f"is {value}, and floats are finite: store None or a string")
    elif kind is memoryview:
        if not value.c_contiguous:
            _refuse(path, "is a memoryview of scattered bytes: store bytes(it)")
    elif kind is msgpack.Timestamp:
        if not (-(1 << 63) <= value.seconds < 1 << 63 and 0 <= value.nanoseconds < 10**9):
            _refuse(path, "is a timestamp out of range")
    elif kind is datetime:
        if _offset(value) is None:
            _refuse(path, "is a datetime without a UTC offset: give it a tzinfo")
    elif value is not None and kind not in (bool, bytes, bytearray):
        _refuse(path, f"is {_kind(value)}{_advice(value)}")


def _step(path: str, key: Any) -> str:
    """The path of what `key` leads to; refuses keys that are not plain strings."""
    if type(key) is not str:
        _refuse(path, f"has a key that is {_kind(key)}: keys are str")
    shown = key if len(key) <= 80 else key[:79] + "\N{HORIZONTAL ELLIPSIS}"
    step = f"{path}.{shown}" if shown.isidentifier() else f"{path}[{json.dumps(shown)}]"
    if not _is_utf8(key):
        _refuse(step, "has a lone surrogate in its key, which UTF-8 cannot hold")
    return step


def _refuse(path: str, what: str) -> NoReturn:
    raise _RefusedError(path, what)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _offset(moment: datetime) -> timedelta | None:
    try:
        return moment.utcoffset()
    except Exception:  # a tzinfo is the caller's code
        return None


def _kind(value: object) -> str:
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return f"of type {name}"


def _advice(value: object) -> str:
    if isinstance(value, tuple | set | frozenset):
        return ": store a list, as that is what would come back"
    if isinstance(value, Mapping):
        return ": store dict(it)"
    for plain in (str, bool, int, float, bytes, bytearray, list, datetime):
        if isinstance(value, plain):
            return f", a subclass of {plain.__name__}: store the plain {plain.__name__}"
    return ": store what it says as a string, number, list or dict"
