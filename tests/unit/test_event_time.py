# SPDX-License-Identifier: Apache-2.0
"""The time that an event names, in C, against the plain oracle."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger._native import ffi, lib
from tests.index_events import scalars
from tests.index_oracle import TIME_KEYS, event_time


def time_of(payload: bytes) -> int | None:
    """What C says; None: the event names no time."""
    out = ffi.new("int64_t *", 77)
    named = lib.ledger_event_time(payload, len(payload), out)
    assert named in (0, 1)
    assert named or out[0] == 77
    return int(out[0]) if named else None


def texts() -> st.SearchStrategy[str]:
    """Strings of RFC 3339 and others that nearly are."""
    two = st.one_of(st.integers(0, 31), st.sampled_from([0, 1, 12, 23, 24, 28, 29, 59, 60, 61, 99]))
    year = st.sampled_from([0, 1677, 1678, 1900, 1969, 1970, 2000, 2023, 2024, 2100, 2261, 2262, 9999])
    decimals = st.sampled_from(["", ".", ".1", ".000000001", ".999999999", ".1234567890"])
    offset = st.one_of(
        st.sampled_from(["Z", "z", "", "+", "+0100", "-00:00", "+23:59", "+24:00", "Zx"]),
        st.builds("{}{:02}:{:02}".format, st.sampled_from("+-"), two, two),
    )
    letter = st.sampled_from("TTTTt ")
    return st.builds(
        "{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}{}{}".format, year, two, two, letter, two, two, two, decimals, offset
    )


def times() -> st.SearchStrategy[Any]:
    """Values of every kind that may be a time, around every border."""
    borders = [0, 10**11, 10**14, 10**17, 9223372036, 9223372037, 1 << 63, (1 << 64) - 1, -(1 << 63), -9223372036]
    near = st.builds(
        lambda a, b: max(min(a + b, (1 << 64) - 1), -(1 << 63)), st.sampled_from(borders), st.integers(-2, 2)
    )
    stamp = st.builds(
        msgpack.Timestamp, st.sampled_from([0, -1, 1 << 33, 1 << 34, -(1 << 40)]), st.integers(0, 999999999)
    )
    return st.one_of(
        texts(), near, near.map(float), st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1e11), stamp
    )


@given(st.dictionaries(st.sampled_from([*TIME_KEYS, "other", "timestamps"]), st.one_of(times(), scalars()), max_size=4))
def test_any_event_gives_the_time_of_the_oracle(event: dict[str, Any]) -> None:
    """The first of the keys whose value is a time, whatever stands around it."""
    assert time_of(msgpack.packb(event)) == event_time(event)
    nested = {"first": {"timestamp": 5, "x": [1, [2, {}], "y"]}, **event}
    assert time_of(msgpack.packb(nested)) == event_time(event)


@given(texts())
def test_texts(text: str) -> None:
    """Well-formed ones and others."""
    assert time_of(msgpack.packb({"time": text})) == event_time({"time": text})


@given(st.datetimes(datetime(1678, 1, 1), datetime(2261, 12, 31)))
def test_every_datetime_is_its_own_instant(moment: datetime) -> None:
    """As Python's calendar counts."""
    expected = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // (moment.resolution)
    assert time_of(msgpack.packb({"time": moment.isoformat() + "Z"})) == expected * 1000


def test_examples() -> None:
    """One of each kind."""
    second = 1_700_000_000 * 10**9
    for value in (1_700_000_000, 1_700_000_000_000, 1_700_000_000_000_000, second, "2023-11-14T22:13:20Z"):
        assert time_of(msgpack.packb({"timestamp": value})) == second
    assert time_of(msgpack.packb({"time": "2016-12-31T23:59:60Z"})) == 1483228800 * 10**9
    assert time_of(msgpack.packb({"time": 5, "timestamp": "no"})) == 5 * 10**9
    assert time_of(msgpack.packb({"time": 5, "@timestamp": 6})) == 6 * 10**9


@pytest.mark.parametrize("payload", [b"", b"\x90", b"\x81", b"\x81\xa4time", b"\x81\xa4time\xce\x01", b"\x81\x01\x01"])
def test_bytes_that_are_no_event_name_no_time(payload: bytes) -> None:
    """No read outside."""
    assert time_of(payload) is None


@given(st.binary(max_size=30), st.sampled_from([b"", b"\x82\xa4time", b"\x81\xa9timestamp\xc7\x0c", b"\x82\xa1a"]))
def test_arbitrary_bytes_do_not_crash(noise: bytes, front: bytes) -> None:
    """A time or none."""
    time_of(front + noise)
