"""A second walker over packed events, in plain Python, written from docs/format.md and not from C.

It shares no table and no order of tests with csrc/msgpack.c: it decodes every integer and length
and asks which form the decoded value should have had, keeps keys in a set, and leaves UTF-8 to
Python. For any bytes the two agree on verdict and size, and on reason and offset of the first
fault, with one exception that both state: C finds a repeated key of a map above 64 keys when that
map ends, so a fault between the repetition and that end is the one it reports."""

from __future__ import annotations

import struct
from math import isfinite
from typing import NamedTuple

__all__ = [
    "DEPTH_MAX",
    "EXT",
    "FLOAT32",
    "KEY_NOT_STRING",
    "KEY_REPEATED",
    "NOT_A_MAP",
    "NOT_FINITE",
    "NOT_SHORTEST",
    "NOT_UTF8",
    "TIMESTAMP",
    "TOO_DEEP",
    "TRUNCATED",
    "UNASSIGNED",
    "Verdict",
    "walk",
]

(
    TRUNCATED,
    NOT_A_MAP,
    NOT_SHORTEST,
    KEY_NOT_STRING,
    KEY_REPEATED,
    NOT_UTF8,
    FLOAT32,
    NOT_FINITE,
    EXT,
    TIMESTAMP,
    TOO_DEEP,
) = range(1, 12)
UNASSIGNED = 13  # 12 is what only a check of the whole buffer finds

DEPTH_MAX = 32


class Verdict(NamedTuple):
    """What stands at the start of the bytes: an event of `size` bytes (reason 0), or a fault."""

    size: int
    reason: int
    offset: int


class _FaultError(Exception):
    """Carries reason and offset."""


def walk(data: bytes) -> Verdict:
    """The verdict on the event at the start of `data`; bytes after it are not looked at."""
    try:
        if data and data[0] >> 4 != 8 and data[0] not in (0xDE, 0xDF):
            return Verdict(0, NOT_A_MAP, 0)
        return Verdict(_value(data, 0, 1), 0, 0)
    except _FaultError as fault:
        return Verdict(0, *fault.args)


def _bytes(data: bytes, begin: int, size: int, value: int) -> bytes:
    """`size` bytes from `begin`, which belong to the value at offset `value`."""
    found = data[begin : begin + size]
    if len(found) != size:
        raise _FaultError(TRUNCATED, value)
    return found


def _length(data: bytes, at: int, width: int) -> int:
    return int.from_bytes(_bytes(data, at + 1, width, at), "big")


def _shortest(condition: bool, at: int) -> None:
    if not condition:
        raise _FaultError(NOT_SHORTEST, at)


def _value(data: bytes, at: int, depth: int) -> int:
    """The offset after the value at `at`, which would be a map or array of level `depth`."""
    if at >= len(data):
        raise _FaultError(TRUNCATED, at)
    head = data[at]
    if head <= 0x7F or head >= 0xE0 or head in (0xC0, 0xC2, 0xC3):
        return at + 1
    if head <= 0x8F:
        return _map(data, at, at + 1, head - 0x80, depth)
    if head <= 0x9F:
        return _array(data, at, at + 1, head - 0x90, depth)
    if head <= 0xBF or 0xD9 <= head <= 0xDB:
        return _string(data, at)[1]
    if head in (0xDC, 0xDD, 0xDE, 0xDF):
        width = 4 if head & 1 else 2
        count = _length(data, at, width)
        _shortest(width == (2 if count < 1 << 16 else 4) and count > 15, at)
        container = _map if head >= 0xDE else _array
        return container(data, at, at + 1 + width, count, depth)
    if head == 0xC1:
        raise _FaultError(UNASSIGNED, at)
    if head <= 0xC6:
        width = 1 << head - 0xC4
        size = _length(data, at, width)
        _shortest(width == (1 if size < 1 << 8 else 2 if size < 1 << 16 else 4), at)
        _bytes(data, at + 1 + width, size, at)
        return at + 1 + width + size
    if head in (0xCA, 0xCB):
        return _float(data, at)
    return _integer(data, at) if 0xCC <= head <= 0xD3 else _timestamp(data, at)


def _array(data: bytes, at: int, body: int, count: int, depth: int) -> int:
    if depth > DEPTH_MAX:
        raise _FaultError(TOO_DEEP, at)
    for _ in range(count):
        body = _value(data, body, depth + 1)
    return body


def _map(data: bytes, at: int, body: int, count: int, depth: int) -> int:
    if depth > DEPTH_MAX:
        raise _FaultError(TOO_DEEP, at)
    keys = set()
    for _ in range(count):
        begin = body
        if begin < len(data) and data[begin] >> 5 != 5 and data[begin] not in (0xD9, 0xDA, 0xDB):
            raise _FaultError(KEY_NOT_STRING, begin)
        key, body = _string(data, begin)
        if key in keys:
            raise _FaultError(KEY_REPEATED, begin)
        keys.add(key)
        body = _value(data, body, depth + 1)
    return body


def _string(data: bytes, at: int) -> tuple[str, int]:
    if at >= len(data):
        raise _FaultError(TRUNCATED, at)
    head = data[at]
    width = 0 if head < 0xC0 else 1 << head - 0xD9
    size = _length(data, at, width) if width else head - 0xA0
    _shortest(width == (0 if size < 32 else 1 if size < 1 << 8 else 2 if size < 1 << 16 else 4), at)
    body = at + 1 + width
    try:
        return _bytes(data, body, size, at).decode("utf-8"), body + size
    except UnicodeDecodeError:
        raise _FaultError(NOT_UTF8, at) from None


def _float(data: bytes, at: int) -> int:
    if data[at] == 0xCA:
        raise _FaultError(FLOAT32, at)
    if not isfinite(struct.unpack(">d", _bytes(data, at + 1, 8, at))[0]):
        raise _FaultError(NOT_FINITE, at)
    return at + 9


def _integer(data: bytes, at: int) -> int:
    head = data[at]
    width = 1 << (head & 3)
    signed = head >= 0xD0
    value = int.from_bytes(_bytes(data, at + 1, width, at), "big", signed=signed)
    if value >= 0:
        best = 0 if value < 128 else 1 if value < 1 << 8 else 2 if value < 1 << 16 else 4
        _shortest(not signed and width == (best if value < 1 << 32 else 8), at)
    else:
        best = 0 if value >= -32 else 1 if value >= -(1 << 7) else 2 if value >= -(1 << 15) else 4
        _shortest(width == (best if value >= -(1 << 31) else 8), at)
    return at + 1 + width


def _timestamp(data: bytes, at: int) -> int:
    size = {0xD6: 4, 0xD7: 8, 0xC7: 12}.get(data[at])
    if size is None:
        raise _FaultError(EXT, at)
    marks = b"\x0c\xff" if size == 12 else b"\xff"
    if _bytes(data, at + 1, len(marks), at) != marks:
        raise _FaultError(EXT, at)
    body = at + 1 + len(marks)
    content = int.from_bytes(_bytes(data, body, size, at), "big")
    if size == 12:
        nanoseconds, seconds = content >> 64, content & (1 << 64) - 1
    else:
        nanoseconds, seconds = content >> 34, content & (1 << 34) - 1
    if nanoseconds >= 10**9:
        raise _FaultError(TIMESTAMP, at)
    fits_4 = nanoseconds == 0 and seconds < 1 << 32
    _shortest(size == (4 if fits_4 else 8 if seconds < 1 << 34 else 12), at)
    return body + size
