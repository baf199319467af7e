"""Events that cannot be stored: refused by either codec, by path, in words that help."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import math
import types
import uuid
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any, NamedTuple

import msgpack
import pytest

from ledger.encoding import event as events
from ledger.encoding.event import CODECS, Codec
from ledger.errors import EventError, UsageError


def nested(levels: int) -> dict[str, Any]:
    """An event of `levels` maps, one in the other."""
    event: dict[str, Any] = {}
    for _ in range(levels - 1):
        event = {"d": event}
    return event


@dataclasses.dataclass
class Record:
    """A type that ormsgpack would store as a map."""

    a: int = 1


class Pair(NamedTuple):
    """A type that msgpack would store as an array."""

    a: int
    b: int


class Colour(enum.Enum):
    """Stored by value, were it not refused."""

    RED = 1


class Level(enum.IntEnum):
    """An int, but not only an int."""

    LOW = 1


class Word(enum.StrEnum):
    """A str, but not only a str."""

    YES = "yes"


class PlainStr(str):
    """A subclass that adds nothing."""


class PlainInt(int):
    """A subclass that adds nothing."""


class PlainFloat(float):
    """A subclass that adds nothing."""


class PlainBytes(bytes):
    """A subclass that adds nothing."""


class PlainByteArray(bytearray):
    """A subclass that adds nothing."""


class PlainList(list[int]):
    """A subclass that adds nothing."""


class PlainDict(dict[str, int]):
    """A subclass that adds nothing."""


class PlainDatetime(datetime):
    """As pandas has one, with nanoseconds that a datetime lacks."""


class PlainStamp(msgpack.Timestamp):  # type: ignore[misc]
    """A subclass that adds nothing."""


class BrokenZone(tzinfo):
    """A time zone that fails when asked."""

    def utcoffset(self, moment: datetime | None, /) -> timedelta:
        """Fail."""
        raise RuntimeError("no zone today")


def wrong_stamp() -> msgpack.Timestamp:
    """A timestamp changed after its own check."""
    stamp = msgpack.Timestamp(1, 2)
    stamp.nanoseconds = 10**9
    return stamp


def endless() -> dict[str, Any]:
    """A dict that holds itself."""
    event: dict[str, Any] = {}
    event["self"] = event
    return event


REFUSED = {
    "tuple": ((1, 2), "store a list"),
    "set": ({1}, "store a list"),
    "frozenset": (frozenset([1]), "store a list"),
    "named tuple": (Pair(1, 2), "store a list"),
    "dataclass": (Record(), "Record"),
    "enum": (Colour.RED, "Colour"),
    "int enum": (Level.LOW, "subclass of int"),
    "str enum": (Word.YES, "subclass of str"),
    "uuid": (uuid.UUID(int=1), "UUID"),
    "decimal": (Decimal("1.5"), "Decimal"),
    "complex": (1j, "complex"),
    "range": (range(3), "range"),
    "generator": ((n for n in [1]), "generator"),
    "array": (array.array("i", [1]), "array"),
    "object": (object(), "object"),
    "str subclass": (PlainStr("x"), "subclass of str"),
    "int subclass": (PlainInt(1), "subclass of int"),
    "float subclass": (PlainFloat(1), "subclass of float"),
    "bytes subclass": (PlainBytes(b"x"), "subclass of bytes"),
    "bytearray subclass": (PlainByteArray(b"x"), "subclass of bytearray"),
    "list subclass": (PlainList([1]), "subclass of list"),
    "dict subclass": (PlainDict(a=1), r"store dict\(it\)"),
    "ordered dict": (collections.OrderedDict(a=1), r"store dict\(it\)"),
    "mapping proxy": (types.MappingProxyType({}), r"store dict\(it\)"),
    "scattered memoryview": (memoryview(b"abcd")[::2], "scattered"),
    "naive datetime": (datetime(2026, 1, 1), "without a UTC offset"),
    "broken zone": (datetime(2026, 1, 1, tzinfo=BrokenZone()), "without a UTC offset"),
    "datetime subclass": (PlainDatetime(2026, 1, 1, tzinfo=UTC), "subclass of datetime"),
    "date": (date(2026, 1, 1), "date"),
    "time": (time_of_day(1), "time"),
    "timedelta": (timedelta(1), "timedelta"),
    "timestamp subclass": (PlainStamp(1, 2), "PlainStamp"),
    "timestamp of 10^9 ns": (wrong_stamp(), "out of range"),
    "timestamp beyond 64 bits": (msgpack.Timestamp(1 << 63, 0), "out of range"),
    "extension": (msgpack.ExtType(5, b"x"), "ExtType"),
    "NaN": (math.nan, "finite"),
    "infinity": (-math.inf, "finite"),
    "2^64": (1 << 64, "64 bits"),
    "-2^63 - 1": (-(1 << 63) - 1, "64 bits"),
    "lone surrogate": ("a\ud800", "surrogate"),
    "pair of surrogates": ("\ud83d\ude00", "surrogate"),
    "dict that holds itself": (endless(), "deeper than 32"),
    "5000 levels": (nested(5000), "deeper than 32"),
}
REFUSED_KEYS = {
    "int": 1,
    "bool": True,
    "none": None,
    "bytes": b"a",
    "tuple": (1,),
    "str subclass": PlainStr("a"),
    "str enum": Word.YES,
}


@pytest.fixture(params=CODECS, ids=lambda codec: codec.name)
def codec_in_use(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Codec:
    """Each codec in turn as the one that `pack` uses."""
    monkeypatch.setattr(events, "CODEC", request.param)
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.usefixtures("codec_in_use")
def test_value_that_would_not_come_back_is_refused_by_path(value: object, reason: str) -> None:
    """Either codec refuses the same values, at the same path, in the same words."""
    event = {"user": {"tags": ["a", "b", "c", value]}}
    with pytest.raises(EventError, match=reason) as caught:
        events.pack(event)
    assert isinstance(caught.value, UsageError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.path is not None
    assert caught.value.path.startswith("$.user.tags[3]")
    assert caught.value.path in str(caught.value)
    assert "Nothing was stored" in str(caught.value)


@pytest.mark.parametrize("key", REFUSED_KEYS.values(), ids=REFUSED_KEYS.keys())
@pytest.mark.usefixtures("codec_in_use")
def test_key_that_is_no_plain_string_is_refused_by_path(key: object) -> None:
    """Keys are str and nothing else, at every level."""
    for event, path in (({key: 1}, "$"), ({"a": [{"b": {key: 1}}]}, "$.a[0].b")):
        with pytest.raises(EventError, match="keys are str") as caught:
            events.pack(event)  # type: ignore[arg-type]
        assert caught.value.path == path


@pytest.mark.usefixtures("codec_in_use")
def test_key_with_a_surrogate_is_refused_in_a_message_that_can_be_printed() -> None:
    """A key that UTF-8 cannot hold is named in escapes."""
    with pytest.raises(EventError, match="in its key") as caught:
        events.pack({"a": {"\udc80": 1}})
    assert caught.value.path == r'$.a["\udc80"]'
    assert str(caught.value).encode("ascii")


@pytest.mark.usefixtures("codec_in_use")
@pytest.mark.parametrize("event", [None, [], [("a", 1)], "{}", b"\x80", 1, {1}])
def test_event_that_is_no_mapping_is_refused(event: Any) -> None:
    """An event is a mapping, and nothing is made into one."""
    with pytest.raises(EventError, match="an event is a mapping") as caught:
        events.pack(event)
    assert caught.value.path == "$"
    with pytest.raises(EventError, match="event 1 of the batch"):
        events.pack_many([{}, event])


def test_path_quotes_keys_that_are_no_names_and_shortens_long_ones() -> None:
    """A path can be read whatever the keys are."""
    with pytest.raises(EventError) as caught:
        events.pack({"a b": {'"': {"x" * 5000: [math.nan]}}})
    assert caught.value.path is not None
    assert caught.value.path.startswith(r'$["a b"]["\""]["xxx')
    assert len(caught.value.path) < 200


@pytest.mark.usefixtures("codec_in_use")
@pytest.mark.parametrize("position", [0, 7, 19])
@pytest.mark.parametrize("value", [math.nan, (1,), 1 << 64, nested(40), "\ud800", {1: 2}])
def test_bad_event_of_a_batch_is_named_by_position_and_path(position: int, value: object) -> None:
    """All or none: the first bad event is named, wherever it stands and whatever comes later."""
    batch: list[dict[str, Any]] = [{"n": n, "at": datetime(2026, 1, 1, tzinfo=UTC)} for n in range(20)]
    batch[position]["user"] = {"x": value}
    batch[-1]["later"] = object()
    with pytest.raises(EventError) as caught:
        events.pack_many(batch)
    assert caught.value.position == position
    assert caught.value.path is not None
    assert caught.value.path.startswith("$.user.x")
    assert f"event {position} of the batch" in str(caught.value)
