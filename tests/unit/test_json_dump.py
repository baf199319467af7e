"""An event as one line of JSON: unambiguous, safe to print, and back again."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import event as events
from ledger.encoding import json_lines
from tests.unit.test_json_lines import JSON_EVENTS, JSON_VALUES, TEXT, same


def undump(text: str) -> Any:
    """The inverse of `dump`, by its description alone."""

    def inner(value: Any) -> Any:
        if isinstance(value, list):
            return [inner(child) for child in value]
        if not isinstance(value, dict):
            return value
        if list(value) == ["$bytes"]:
            return base64.b64decode(value["$bytes"], validate=True)
        if list(value) == ["$time"]:
            return instant(value["$time"])
        if list(value) == ["$map"]:
            value = value["$map"]
        return {key: inner(child) for key, child in value.items()}

    return inner(json.loads(text))


def instant(text: str) -> datetime | msgpack.Timestamp:
    """The instant of a "$time"."""
    if match := re.fullmatch(r"@(-?\d+)\.(\d{9})", text):
        return msgpack.Timestamp(int(match[1]), int(match[2]))
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{6}|\d{9}))?Z", text)
    assert match, text
    whole = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    fraction = match[2] or ""
    if len(fraction) == 9:
        since = whole - datetime(1970, 1, 1, tzinfo=UTC)
        return msgpack.Timestamp(since.days * 86_400 + since.seconds, int(fraction))
    return whole + timedelta(microseconds=int(fraction or 0))


STAMPS = st.builds(
    msgpack.Timestamp,
    st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-(1 << 36), 1 << 38),
    st.integers(0, 999_999_999),
)
RESERVED = st.sampled_from(["$bytes", "$time", "$map", "$other"])
STORED_VALUES = st.recursive(
    JSON_VALUES | st.binary(max_size=20) | STAMPS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | RESERVED, inner, max_size=2),
    max_leaves=8,
)


@given(st.dictionaries(TEXT | RESERVED, STORED_VALUES, max_size=3))
def test_dumped_line_stands_for_exactly_one_event(event: dict[str, Any]) -> None:
    """Whatever a ledger holds, its line leads back to it by the rules of the module's head."""
    stored = events.unpack(events.pack(event))
    line = json_lines.dump(stored)
    assert same(undump(line), stored)
    assert len(line.splitlines()) == 1
    assert not any(char in line for char in "\x1b\x7f\x9b\u2028\u202e\u2066\ufeff")


@given(JSON_EVENTS)
def test_dumped_line_of_plain_json_is_read_back_equal(event: dict[str, Any]) -> None:
    """What came from JSON goes out as the same JSON, but for maps that look like our own forms."""
    assert same(json_lines.parse(json_lines.dump(event).encode()), event)


def test_dumped_line_shows_each_form() -> None:
    """The forms as documented, literally."""
    event = {
        "b": b"\x01\x02\x03",
        "t": datetime(2026, 1, 31, 12, 0, 0, 1, UTC),
        "s": datetime(1999, 1, 1, tzinfo=UTC),
        "n": msgpack.Timestamp(1, 5),
        "far": msgpack.Timestamp(-62_135_596_801, 0),
        "map": {"$time": "just text"},
        "two": {"$time": "x", "y": 1},
        "text": "ü\u202e\x1b\U0001f600",
        "float": 1.0,
    }
    assert json_lines.dump(event) == (
        '{"b":{"$bytes":"AQID"},"t":{"$time":"2026-01-31T12:00:00.000001Z"},'
        '"s":{"$time":"1999-01-01T00:00:00Z"},"n":{"$time":"1970-01-01T00:00:01.000000005Z"},'
        '"far":{"$time":"@-62135596801.000000000"},"map":{"$map":{"$time":"just text"}},'
        '"two":{"$time":"x","y":1},"text":"ü\\u202e\\u001b\U0001f600","float":1.0}'
    )
