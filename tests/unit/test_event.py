"""Event to payload and back, through both codecs."""

from __future__ import annotations

import array
import collections
import math
import types
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger import _native
from ledger.encoding import event as events
from ledger.encoding.event import CODECS, Codec
from ledger.errors import EventError

codec_each = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)

# An offset must not lead out of the years that a datetime in UTC has.
MOMENTS = st.datetimes(
    min_value=datetime(1, 1, 3),
    max_value=datetime(9999, 12, 29),
    timezones=st.sampled_from([UTC, ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=-9, minutes=-30, seconds=-7))]),
)
STAMPS = st.builds(
    msgpack.Timestamp,
    st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-10, 1 << 35),
    st.integers(0, 999_999_999).filter(lambda nanoseconds: nanoseconds % 1000 != 0),
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | st.binary().map(bytearray)
    | MOMENTS
    | STAMPS
)
KEYS = st.text(max_size=10)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
EVENTS = st.dictionaries(KEYS, VALUES, max_size=6)


def nested(levels: int) -> dict[str, Any]:
    """An event of `levels` maps, one in the other."""
    event: dict[str, Any] = {}
    for _ in range(levels - 1):
        event = {"d": event}
    return event


def shape(value: object) -> object:
    """`value` with its types, so that 1, 1.0 and True are three things; bytes are one."""
    if isinstance(value, dict):
        return [(key, shape(child)) for key, child in value.items()]
    if isinstance(value, list):
        return [shape(child) for child in value]
    if isinstance(value, bytearray):
        return bytes, bytes(value)
    if isinstance(value, float):
        return float, value, math.copysign(1, value)
    if isinstance(value, datetime):
        return datetime, value.astimezone(UTC)
    return type(value), value


# ---- what is taken ------------------------------------------------------------------------------


@given(EVENTS)
@example({"a": datetime(1, 1, 1, tzinfo=UTC), "b": datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)})
def test_event_comes_back_equal_with_its_types_and_key_order(event: dict[str, Any]) -> None:
    """Every accepted event survives packing and unpacking, and the check accepts its bytes."""
    payload = events.pack(event)
    assert _native.event_fault(payload) is None
    assert shape(events.unpack(payload)) == shape(event)


@given(EVENTS)
def test_codecs_give_equal_bytes_and_equal_events(event: dict[str, Any]) -> None:
    """Which codec is installed can be seen neither in the bytes nor in what comes back."""
    payloads = {events.encode(event, codec=codec) for codec in CODECS}
    assert len(payloads) == 1
    (payload,) = payloads
    shapes = [shape(events.unpack(payload, codec=codec)) for codec in CODECS]
    assert all(found == shapes[0] for found in shapes)


@codec_each
def test_codec_itself_packs_every_type_that_comes_back(codec: Codec) -> None:
    """Both codecs are there, and neither needs the other for what an event may hold."""
    event = {"a": [None, True, -1, 1.5, "é", b"b", bytearray(b"c"), memoryview(b"d")], "e": {}}
    event["f"] = [datetime(2026, 1, 1, tzinfo=UTC), msgpack.Timestamp(1, 1)]
    assert [codec.name for codec in CODECS] == ["ormsgpack", "msgpack"]
    assert codec.encode(event) == events.pack(event)


@given(MOMENTS | STAMPS)
def test_timestamp_has_the_bytes_that_msgpack_gives_it(
    moment: datetime | msgpack.Timestamp,
) -> None:
    """Each codec writes an instant as msgpack itself would, in the shortest of the three forms."""
    expected = msgpack.packb({"at": moment}, datetime=True)
    for codec in CODECS:
        assert events.encode({"at": moment}, codec=codec) == expected


@codec_each
def test_timestamp_is_a_datetime_only_if_that_is_exact(codec: Codec) -> None:
    """Whole microseconds of the years 1 to 9999 come back as datetime, all else as Timestamp."""
    first, last = -62_135_596_800, 253_402_300_799
    for stamp, expected in [
        (msgpack.Timestamp(0, 0), datetime(1970, 1, 1, tzinfo=UTC)),
        (msgpack.Timestamp(-1, 999_999_000), datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)),
        (msgpack.Timestamp(first, 0), datetime(1, 1, 1, tzinfo=UTC)),
        (msgpack.Timestamp(last, 999_999_000), datetime.max.replace(tzinfo=UTC)),
        (msgpack.Timestamp(first - 1, 0), msgpack.Timestamp(first - 1, 0)),
        (msgpack.Timestamp(last + 1, 0), msgpack.Timestamp(last + 1, 0)),
        (msgpack.Timestamp(5, 1), msgpack.Timestamp(5, 1)),
        (msgpack.Timestamp(5, 999_999_999), msgpack.Timestamp(5, 999_999_999)),
    ]:
        event = events.unpack(events.encode({"at": [stamp]}, codec=codec), codec=codec)
        assert shape(event) == shape({"at": [expected]})


@codec_each
def test_offset_of_a_datetime_names_the_instant(codec: Codec) -> None:
    """The same instant said in two zones is the same payload."""
    east = datetime(2026, 1, 31, 14, 30, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    payload = events.encode({"at": east}, codec=codec)
    assert payload == events.encode({"at": east.astimezone(UTC)}, codec=codec)


@codec_each
def test_event_may_be_any_mapping(codec: Codec) -> None:
    """The event itself may be another kind of mapping; it is stored as a dict."""
    plain = {"b": 1, "a": [2]}
    payload = events.encode(plain, codec=codec)
    for event in (types.MappingProxyType(plain), collections.OrderedDict(plain)):
        assert events.encode(event, codec=codec) == payload
        assert events.encode_many([plain, event], codec=codec) == b"\x92" + payload * 2


@codec_each
def test_memoryview_stands_for_its_bytes(codec: Codec) -> None:
    """The one type that does not come back as itself: whatever a memoryview counts, its bytes."""
    numbers = array.array("H", [0x0101, 0x0202])
    payload = events.encode({"b": memoryview(numbers), "c": memoryview(b"xy")}, codec=codec)
    assert events.unpack(payload, codec=codec) == {"b": b"\x01\x01\x02\x02", "c": b"xy"}


def test_depth_of_32_levels_is_taken_and_33_refused() -> None:
    """The limit counts the event itself."""
    assert events.unpack(events.pack(nested(32))) == nested(32)
    with pytest.raises(EventError, match="deeper than 32 levels") as caught:
        events.pack(nested(33))
    assert caught.value.path == "$" + ".d" * 32


# ---- batches ------------------------------------------------------------------------------------


@given(st.lists(EVENTS, max_size=5))
def test_batch_is_one_array_of_the_payloads(batch: list[dict[str, Any]]) -> None:
    """A batch packs to the payloads end to end, behind the array's head, and comes back equal."""
    payloads = b"".join(map(events.pack, batch))
    blob = events.pack_many(batch)
    assert blob == msgpack.Packer().pack_array_header(len(batch)) + payloads
    assert {events.encode_many(batch, codec=codec) for codec in CODECS} == {blob}
    for codec in CODECS:
        found = events.unpack_many(payloads, len(batch), codec=codec)
        assert shape(found) == shape(batch)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_535, 65_536])
def test_batch_of_any_size_of_head_packs_and_comes_back(count: int) -> None:
    """The head of the array takes its three forms."""
    batch = [{"n": n} for n in range(count)]
    blob = events.pack_many(tuple(batch))
    head = len(msgpack.Packer().pack_array_header(count))
    assert events.unpack_many(blob[head:], count) == batch


# ---- bytes that are no events -------------------------------------------------------------------


@codec_each
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc0",
        b"\x90",
        b"\x81\xa1a",
        b"\x80\x80",
        b"\x81\xa1a\xd4\x05\x01",
        b"\x81\xa1a\xc1",
        b"\x81\xa1a\xa1\xff",
        b"\x81\xa1a\xdd\xff\xff\xff\xff",
    ],
    ids=bytes.hex,
)
def test_bytes_that_are_not_one_map_are_refused(codec: Codec, payload: bytes) -> None:
    """Nothing is left out and nothing made up: too few, too many and other bytes raise."""
    with pytest.raises(EventError, match="not a packed event"):
        events.unpack(payload, codec=codec)
    with pytest.raises(EventError, match="not 1 packed events"):
        events.unpack_many(payload, 1, codec=codec)


@codec_each
@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 1000])
def test_count_that_is_not_the_number_of_payloads_is_refused(codec: Codec, count: int) -> None:
    """Three payloads read as fewer or more are an error, never a shorter list."""
    payloads = events.pack({"a": 1}) * 3
    with pytest.raises(EventError, match=f"not {count} packed events"):
        events.unpack_many(payloads, count, codec=codec)
    assert len(events.unpack_many(payloads, 3, codec=codec)) == 3


def test_memory_error_is_not_the_events_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lack of memory stays what it is."""

    def fail(_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(events, "CODEC", Codec("failing", fail, fail))
    for call in (
        lambda: events.pack({}),
        lambda: events.pack_many([{}]),
        lambda: events.unpack(b"\x80"),
        lambda: events.unpack_many(b"\x80", 1),
    ):
        with pytest.raises(MemoryError):
            call()
