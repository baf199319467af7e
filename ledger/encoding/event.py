"""Event to payload and back: one mapping, one exact string of msgpack bytes.

What goes in comes out equal. So only values that survive the way are taken, and only if they are
of exactly these types:

    None  bool  int (64 bits, signed or unsigned)  float (finite)  str (no surrogates)
    bytes, bytearray, memoryview (its bytes)   -> bytes
    list   dict (keys are str; 32 levels with the event itself, which may be any Mapping)
    datetime with a UTC offset                 -> timestamp, to the microsecond
    msgpack.Timestamp                          -> timestamp, to the nanosecond

All else is refused, by path: subclasses (an IntEnum, a pandas timestamp, a named tuple would come
back as something else), tuples (they would come back as lists), naive datetimes (they name no
instant). A timestamp comes back as a datetime in UTC if it is one exactly (whole microseconds,
years 1 to 9999), else as a `msgpack.Timestamp`.

Two codecs, `ormsgpack` (fast, used when it can be imported) and `msgpack`, give equal bytes and
equal refusals. Each runs at its own speed: what it cannot see (NaN, depth, keys that are not
strings) the check in C sees in the bytes, and only then does `refusal` look for the path.
(ormsgpack's own Ext and Fragment are the caller's word for some bytes: the check still holds.)
Source: docs/format.md §1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import msgpack

from ledger import _native
from ledger.encoding.refusal import explain
from ledger.errors import EventError

try:
    import ormsgpack
except ImportError:  # the extra `fast` is not installed
    ormsgpack = None  # type: ignore[assignment]

__all__ = [
    "CODEC",
    "CODECS",
    "Codec",
    "Event",
    "encode",
    "encode_many",
    "explain",
    "pack",
    "pack_many",
    "unpack",
    "unpack_list",
    "unpack_many",
]

Event = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_MIN = -62_135_596_800  # year 1
_SECONDS_END = 253_402_300_800  # year 10000


class Codec(NamedTuple):
    """A msgpack implementation, bound to the options under which it converts nothing silently."""

    name: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


# ---- the five calls -----------------------------------------------------------------------------


def pack(event: Mapping[str, Any]) -> bytes:
    """The payload of one event, in the caller's key order, checked.

    Raises `EventError` with the path of the first value that cannot be stored. Cost: one pass of
    the codec, one of the check in C. Source: docs/format.md §1."""
    payload = encode(event)
    if _native.event_fault(payload) is not None:
        raise explain(event)
    return payload


def pack_many(events: Sequence[Mapping[str, Any]]) -> bytes:
    """One msgpack array holding the payloads of `events` in order, each checked.

    All or none: raises `EventError` with the position and path of the first value that cannot be
    stored. Cost: as `pack`, and some 0.2 us to step from one event to the next."""
    blob = encode_many(events)
    if not _are_events(blob, len(events)):
        raise _explain_many(events)
    return blob


def encode(event: Mapping[str, Any], *, codec: Codec | None = None) -> bytes:
    """`pack` without the check, for a caller whose next step checks: the core does, before it
    assigns an index.

    Not seen here: NaN and infinities, depth, keys that are not strings, extensions. When the check
    finds one of these, raise `explain(event)`. All else that cannot be stored raises `EventError`
    here. `codec` is for tests: `CODEC` by default."""
    try:
        plain = event if type(event) is dict else _plain(event)
        return _encode(plain, codec or CODEC)
    except MemoryError:
        raise
    except Exception as error:  # each codec, and each tzinfo, has its own
        raise explain(event, cause=error) from error


def encode_many(events: Sequence[Mapping[str, Any]], *, codec: Codec | None = None) -> bytes:
    """`pack_many` without the check; as `encode`. An event is explained by `explain(event,
    position=...)`."""
    try:
        plain = events if type(events) is list else list(events)
        if not {dict}.issuperset(map(type, plain)):
            plain = [_plain(event) for event in plain]
        return _encode(plain, codec or CODEC)
    except MemoryError:
        raise
    except Exception as error:
        raise _explain_many(events, cause=error) from error


def unpack(payload: bytes, *, codec: Codec | None = None) -> Event:
    """The event of a payload that has passed the check. Raises `EventError` for other bytes, as far
    as the codec sees that they are: it asks less than the check does."""
    try:
        # The nil after it: as in `unpack_many`.
        event, after = (codec or CODEC).decode(b"\x92%b\xc0" % payload)
    except MemoryError:
        raise
    except Exception as error:
        raise EventError(f"these bytes are not a packed event: {error}") from error
    if after is not None or type(event) is not dict:
        raise EventError("these bytes are not a packed event")
    return event


def unpack_many(payloads: bytes, count: int, *, codec: Codec | None = None) -> list[Event]:
    """The events of `count` payloads, each of which has passed the check, that lie end to end.

    Raises `EventError` if they are fewer or more, and as `unpack`. Cost: one call of the codec, one
    copy of the bytes; beyond some thousand events kept alive, Python's garbage collector costs
    more than decoding."""
    # An array of one more, a nil: ormsgpack ignores bytes after its value, so count + 1 payloads
    # would pass for count; this way the one too many stands where the nil should.
    blob = b"\xdd%b%b\xc0" % ((count + 1).to_bytes(4, "big"), payloads)
    try:
        events: list[Any] = (codec or CODEC).decode(blob)
    except MemoryError:
        raise
    except Exception as error:
        raise EventError(f"these bytes are not {count} packed events: {error}") from error
    after = events.pop()
    if after is not None or not {dict}.issuperset(map(type, events)):
        raise EventError(f"these bytes are not {count} packed events")
    return events


def unpack_list(payloads: list[bytes]) -> list[Event]:
    """The events of payloads that have passed the check; as `unpack_many`."""
    return unpack_many(b"".join(payloads), len(payloads))


def _are_events(blob: bytes, count: int) -> bool:
    """Is the array `blob` made of exactly `count` events in the exact form?"""
    ffi, lib = _native.ffi, _native.lib
    event_size, reason, offset = ffi.new("size_t *"), ffi.new("int *"), ffi.new("uint64_t *")
    head = 1 if count < 1 << 4 else 3 if count < 1 << 16 else 5
    with ffi.from_buffer("uint8_t[]", blob) as data:
        at, end = data + head, len(blob) - head
        for _ in range(count):
            status = lib.ledger_event_next(at, end, event_size, reason, offset)
            if status == lib.LEDGER_BAD_EVENT:
                return False
            _native.raise_status(status, "checking a batch of events")
            at, end = at + event_size[0], end - event_size[0]
    return bool(end == 0)


def _explain_many(events: object, cause: BaseException | None = None) -> EventError:
    for position, event in enumerate(events if isinstance(events, Sequence) else ()):
        try:
            if _native.event_fault(_encode(_plain(event), CODEC)) is None:
                continue
        except MemoryError:
            raise
        except Exception as error:
            cause = error
        return explain(event, position=position, cause=cause)
    return EventError(f"the batch cannot be stored: {cause}. Nothing was stored.")


# ---- codecs -------------------------------------------------------------------------------------


def _encode(value: Any, codec: Codec) -> bytes:
    try:
        return codec.encode(value)
    except TypeError:
        # ormsgpack refuses a little more (timestamps outside the years 1 to 9999): msgpack decides.
        if codec is CODECS[-1]:
            raise
        return CODECS[-1].encode(value)


def _plain(event: Mapping[str, Any]) -> Event:
    if not isinstance(event, Mapping):
        raise TypeError("an event is a mapping")
    return dict(event)


def _instant(value: Any) -> tuple[int, int]:
    """Seconds since 1970 and nanoseconds of what a codec did not know; TypeError if it is none."""
    if type(value) is datetime and value.utcoffset() is not None:
        since = value - _EPOCH
        return since.days * 86_400 + since.seconds, since.microseconds * 1000
    if type(value) is msgpack.Timestamp:
        return value.seconds, value.nanoseconds
    raise TypeError(f"{type(value).__name__} cannot be stored")


def _timestamp_bytes(seconds: int, nanoseconds: int) -> bytes:
    """The extension in its shortest form; OverflowError if the values fit none."""
    if seconds >> 34:
        wide = nanoseconds.to_bytes(4, "big") + seconds.to_bytes(8, "big", signed=True)
        return b"\xc7\x0c\xff" + wide
    both = nanoseconds << 34 | seconds
    if both >> 32:
        return b"\xd7\xff" + both.to_bytes(8, "big")
    return b"\xd6\xff" + both.to_bytes(4, "big")


def _moment(seconds: int, nanoseconds: int) -> datetime | msgpack.Timestamp:
    """The datetime that stands for exactly this instant, else a Timestamp."""
    microseconds = nanoseconds // 1000
    if microseconds * 1000 != nanoseconds or not _SECONDS_MIN <= seconds < _SECONDS_END:
        return msgpack.Timestamp(seconds, nanoseconds)
    return _EPOCH + timedelta(0, seconds, microseconds)


def _extension(code: int, data: bytes) -> datetime | msgpack.Timestamp:
    if code != -1 or len(data) not in (4, 8, 12):
        raise ValueError(f"extension {code} of {len(data)} bytes")
    if len(data) == 12:
        nanoseconds = int.from_bytes(data[:4], "big")
        seconds = int.from_bytes(data[4:], "big", signed=True)
    else:  # 34 bits of seconds, or 32 and no nanoseconds
        both = int.from_bytes(data, "big")
        nanoseconds, seconds = both >> 34, both & (1 << 34) - 1
    return _moment(seconds, nanoseconds)


def _with_moments(value: Any) -> Any:
    """`value` with every timestamp replaced, in place."""
    if type(value) is msgpack.Timestamp:
        return _moment(value.seconds, value.nanoseconds)
    if type(value) is dict:
        for key, child in value.items():
            value[key] = _with_moments(child)
    elif type(value) is list:
        value[:] = map(_with_moments, value)
    return value


def _msgpack_decode(payload: bytes) -> Any:
    value = msgpack.unpackb(payload, timestamp=0, ext_hook=_extension)
    # This codec makes timestamps itself, and of those it makes, only Timestamps are exact. Their
    # heads hold a byte 0xff, text never does: payloads without one need no walk.
    return _with_moments(value) if b"\xff" in payload else value


def _ormsgpack_codec() -> Codec:
    # ormsgpack.Ext refuses the code -1, so a timestamp goes in as finished bytes.
    def fragment(value: Any) -> Any:
        return ormsgpack.Fragment(_timestamp_bytes(*_instant(value)))

    passed_to_fragment = (
        ormsgpack.OPT_PASSTHROUGH_BIG_INT
        | ormsgpack.OPT_PASSTHROUGH_DATACLASS
        | ormsgpack.OPT_PASSTHROUGH_DATETIME
        | ormsgpack.OPT_PASSTHROUGH_ENUM
        | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
        | ormsgpack.OPT_PASSTHROUGH_TUPLE
        | ormsgpack.OPT_PASSTHROUGH_UUID
    )
    return Codec(
        "ormsgpack",
        partial(ormsgpack.packb, default=fragment, option=passed_to_fragment),
        partial(ormsgpack.unpackb, ext_hook=_extension),
    )


def _msgpack_codec() -> Codec:
    def timestamp(value: Any) -> msgpack.Timestamp:
        return msgpack.Timestamp(*_instant(value))

    encode = partial(msgpack.packb, strict_types=True, default=timestamp)
    return Codec("msgpack", encode, _msgpack_decode)


def _codecs() -> Iterator[Codec]:
    if ormsgpack is not None:
        yield _ormsgpack_codec()
    yield _msgpack_codec()


CODECS = tuple(_codecs())
CODEC = CODECS[0]
