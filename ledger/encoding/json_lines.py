"""Newline-delimited JSON in, and one line of JSON out.

Reading is strict: what JSON leaves open (RFC 8259, sections 4, 6 and 8), and what would change a
value on its way, is refused with the number of the line. Writing names the types that JSON lacks,
so that a line stands for exactly one event:

    bytes      {"$bytes": "AQID"}                          base64, RFC 4648 section 4
    timestamp  {"$time": "2026-01-31T12:00:00.000001Z"}    RFC 3339, 0, 6 or 9 digits of fraction
               {"$time": "@-62135596801.000000000"}        seconds since 1970, no year 1 to 9999
    a map whose only key is "$bytes", "$time" or "$map"
               {"$map": {"$time": "just text"}}"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from math import isinf
from typing import Any, BinaryIO, NamedTuple

import msgpack
import zstandard

from ledger.encoding.event import Event
from ledger.errors import EventError

__all__ = ["LINE_BYTES_MAX", "Line", "dump", "parse", "parse_value", "read"]

LINE_BYTES_MAX = 64 << 20
_CHUNK_BYTES = 1 << 18
_ZSTD_INPUT_BYTES = 1 << 10  # a zstd block of a few bytes may stand for 128 KiB: this much may become 32 MiB


class Line(NamedTuple):
    """One event of a stream: its line, from 1; where that begins, in bytes of the plain text."""

    number: int
    byte_offset: int
    event: Event


# ---- in -----------------------------------------------------------------------------------------


def read(source: BinaryIO, *, line_bytes_max: int = LINE_BYTES_MAX) -> Iterator[Line]:
    """The events of a stream, which is plain, gzip or zstd by its first bytes.

    Blank lines and a byte order mark at the start are skipped. `source` needs `read` alone (a file,
    a pipe, standard input) and is not closed. Raises `EventError` at the first line that is not
    one JSON object or is longer than `line_bytes_max`, and where a compressed stream is damaged or
    ends early; every event before it has been given out, and none after it. (Checksums stand at the
    end of what they cover: if a stream is damaged, the lines just before may be too.) Depth is left
    to packing. Memory: one line and one decompressed chunk (of zstd at most 32 MiB)."""
    for number, byte_offset, text in _lines(source, line_bytes_max):
        if number == 1:
            text = text.removeprefix(b"\xef\xbb\xbf")
        if not text.strip(b" \t\r"):
            continue
        try:
            event = parse(text)
        except ValueError as error:
            raise _error(number, byte_offset, str(error)) from error
        yield Line(number, byte_offset, event)


def parse(text: bytes) -> Event:
    """The event of one JSON text. Integers stay exact, `1.0` stays a float.

    Raises `ValueError` if it is not an object in UTF-8, if a key comes twice, a string holds a lone
    surrogate, an integer needs more than 64 bits, or a float is out of range (or so small that it
    would become zero), and for NaN and Infinity."""
    value = parse_value(text)
    if type(value) is not dict:
        raise ValueError("an event is a JSON object")
    return value


def parse_value(text: bytes) -> Any:
    """As `parse`, for any JSON value."""
    try:
        value = _decoder.decode(text.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deep") from None
    # Only an escape brings in a surrogate, as UTF-8 cannot.
    if rb"\u" in text and (rb"\ud" in text or rb"\uD" in text):
        _check_surrogates(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> Event:
    event = dict(pairs)
    if len(event) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise ValueError(f"the key {json.dumps(twice[:80])} comes twice")
    return event


def _integer(digits: str) -> int:
    # A sign and 20 digits hold every 64-bit integer; converting more costs the square of them.
    value = int(digits) if len(digits) <= 21 else 1 << 64
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError(f"the integer {_shortened(digits)} needs more than 64 bits")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if isinf(value) or (value == 0 and re.search("[1-9]", re.split("[eE]", digits)[0])):
        raise ValueError(f"the number {_shortened(digits)} is out of the range of a float")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)


def _shortened(digits: str) -> str:
    return digits if len(digits) <= 32 else f"{digits[:32]}..."


def _check_surrogates(value: Any) -> None:
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("a string holds a lone surrogate") from None
    elif type(value) is dict:
        for key, child in value.items():
            _check_surrogates(key)
            _check_surrogates(child)
    elif type(value) is list:
        for child in value:
            _check_surrogates(child)


# ---- lines and chunks ---------------------------------------------------------------------------


_GO_ON = "Every line before it was read: mend this one and go on from it"
_COMPARE = "No checksum has covered the lines before it yet: compare them with the source"


def _error(number: int, byte_offset: int, what: str, advice: str = _GO_ON) -> EventError:
    message = f"line {number} (byte {byte_offset}): {what}. {advice}."
    return EventError(message, position=number)


def _lines(source: BinaryIO, line_bytes_max: int) -> Iterator[tuple[int, int, bytes]]:
    """(number, byte offset, bytes without the newline) of every line."""
    number, byte_offset, tail = 1, 0, bytearray()
    too_long = f"longer than {line_bytes_max} bytes"
    try:
        for chunk in _chunks(source):
            pieces = chunk.split(b"\n")
            tail += pieces[0]
            if len(pieces) > 1:
                pieces[0], tail = bytes(tail), bytearray(pieces.pop())
                for text in pieces:
                    if len(text) > line_bytes_max:
                        raise _error(number, byte_offset, too_long)
                    yield number, byte_offset, text
                    number += 1
                    byte_offset += len(text) + 1
            if len(tail) > line_bytes_max:
                raise _error(number, byte_offset, too_long)
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        what = f"the compressed stream is damaged here: {error}"
        raise _error(number, byte_offset, what, _COMPARE) from error
    if tail:
        yield number, byte_offset, bytes(tail)


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    """The decompressed bytes, in pieces that are never empty."""
    read = _reader(source)
    head = b""
    while len(head) < 4 and (more := read(_CHUNK_BYTES)):
        head += more
    if head.startswith(b"\x1f\x8b"):
        return _inflated(head, read)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _unzstd(head, read)
    return _plain(head, read)


def _reader(source: BinaryIO) -> Callable[[int], bytes]:
    """`read1` gives what a pipe holds now; `read` would wait for a whole chunk."""
    return getattr(source, "read1", source.read)


def _plain(head: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
    while head:
        yield head
        head = read(_CHUNK_BYTES)


def _inflated(head: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    while head:
        if member.eof:  # members may follow one another (RFC 1952 §2.2)
            member = zlib.decompressobj(wbits=31)
        if chunk := member.decompress(head, _CHUNK_BYTES):
            yield chunk
        head = member.unused_data if member.eof else member.unconsumed_tail
        head = head or read(_CHUNK_BYTES)
    if not member.eof:
        raise EOFError("it ends early")


def _unzstd(head: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor()
    frame = decompressor.decompressobj()
    while head:
        for begin in range(0, len(head), _ZSTD_INPUT_BYTES):
            piece = head[begin : begin + _ZSTD_INPUT_BYTES]
            while piece:
                if frame.eof:  # frames may follow one another (RFC 8878 §3.1)
                    frame = decompressor.decompressobj()
                if chunk := frame.decompress(piece):
                    yield chunk
                piece = frame.unused_data if frame.eof else b""
        head = read(_CHUNK_BYTES)
    if not frame.eof:
        raise EOFError("it ends early")


# ---- out ----------------------------------------------------------------------------------------

# Line breaks that are none in JSON, and what steers a terminal or turns the direction of text.
_STEERING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_RESERVED = frozenset({"$bytes", "$time", "$map"})


def dump(event: Event) -> str:
    """The event as one line of JSON without a newline, in its own key order, safe to print.

    `parse` gives it back equal if it needs none of the forms at the head of this file. Unicode
    stands as it is, but for control and direction characters, which are escaped."""
    text = json.dumps(_written(event), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _written(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        written = {key: _written(child) for key, child in value.items()}
        return {"$map": written} if len(written) == 1 and not _RESERVED.isdisjoint(written) else written
    if kind is list:
        return [_written(child) for child in value]
    if kind is bytes:
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if kind is datetime:
        return {"$time": value.isoformat().replace("+00:00", "Z")}
    if kind is msgpack.Timestamp:
        return {"$time": _time_text(value)}
    return value


def _time_text(stamp: msgpack.Timestamp) -> str:
    try:
        whole = msgpack.Timestamp(stamp.seconds, 0).to_datetime()
    except OverflowError:  # outside the years 1 to 9999
        return f"@{stamp.seconds}.{stamp.nanoseconds:09}"
    return f"{whole.replace(tzinfo=None).isoformat()}.{stamp.nanoseconds:09}Z"
