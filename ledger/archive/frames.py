"""Records of a log to bytes and back: framed, numbered, checked. Pure. docs/format.md §13."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgpack

from ledger._native import crc32c

__all__ = ["frame", "records", "sound_from"]

_FRAME = struct.Struct("<4sIQII")  # magic, body bytes, number, CRC of the body, CRC of the 20 bytes before
_MAGIC = b"LGJ1"
_BODY_BYTES_MAX = 64 << 20


def frame(number: int, record: dict[str, Any]) -> bytes:
    """The bytes of record `number`."""
    body: bytes = msgpack.packb(record)
    front = _FRAME.pack(_MAGIC, len(body), number, crc32c(body), 0)[:-4]
    return front + crc32c(front).to_bytes(4, "little") + body


def _record_at(data: bytes, at: int) -> tuple[int, int] | None:
    """(number, body bytes) when a sound frame stands there, whatever its body."""
    if at + _FRAME.size > len(data) or data[at : at + 4] != _MAGIC:
        return None
    _, length, number, _, check = _FRAME.unpack_from(data, at)
    if crc32c(data[at : at + _FRAME.size - 4]) != check or length > _BODY_BYTES_MAX:
        return None
    return number, length


def records(data: bytes) -> Iterator[tuple[dict[str, Any], int]]:
    """The records from the start on with the offset after each, up to the first that is not whole."""
    at = number = 0
    while (frame := _record_at(data, at)) is not None and frame[0] == number:
        begin, end = at + _FRAME.size, at + _FRAME.size + frame[1]
        body = data[begin:end]
        if len(body) < frame[1] or crc32c(body) != _FRAME.unpack_from(data, at)[3]:
            return
        try:
            record = msgpack.unpackb(body)
        except (ValueError, msgpack.exceptions.UnpackException):
            return
        if not isinstance(record, dict):
            return
        yield record, end
        at, number = end, number + 1


def sound_from(data: bytes, begin: int) -> bool:
    """Whether a whole record stands anywhere from `begin` on."""
    at = data.find(_MAGIC, begin)
    while at >= 0:
        frame = _record_at(data, at)
        if frame is not None:
            body = data[at + _FRAME.size : at + _FRAME.size + frame[1]]
            if len(body) == frame[1] and crc32c(body) == _FRAME.unpack_from(data, at)[3]:
                return True
        at = data.find(_MAGIC, at + 1)
    return False
