# SPDX-License-Identifier: Apache-2.0
"""Every answer of a granule against a naive filter over the decoded events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import event as codec
from ledger.errors import UsageError
from ledger.index.build import build_granule, row_table
from ledger.index.container import encode_container, read_container
from ledger.index.granule import Granule, build_memory
from tests.index_events import event_lists, scalars
from tests.index_oracle import event_time, leaves, tokens, unpack

KEY = bytes(range(16))
NOTE = msgpack.packb({"note": "x", "a": 1})
PATHS = [("a",), ("b",), ("a", "b"), ("c", "a", "id"), ("id", "a.b"), ("",), ("a.b",), ("zz",), ("a", "zz")]


def granule(payloads: list[bytes | None], **limits: int) -> Granule:
    """Through the bytes of a file; None stands for a note."""
    kinds = [int(p is None) for p in payloads]
    filled = [NOTE if p is None else p for p in payloads]
    table = row_table(filled, [1000 + i for i in range(len(filled))], kinds)
    built = build_granule(table, segno=3, base=100, key=KEY, seed=bytes(32), **limits)
    data = encode_container([built], b"F" * 32, 3)

    def source(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    return Granule(source, read_container(source, len(data), b"F" * 32, 3)[0], KEY)


def stands(event: Any, path: tuple[str, ...]) -> list[Any]:
    """The leaves at a query's path."""
    return [value for at, value in leaves(event, ()) if tuple(k for k in at if k is not None) == path]


def naive(payloads: list[bytes | None], path: tuple[str, ...], packed: bytes) -> list[int]:
    """Rows of events where some scalar at the path packs to exactly these bytes."""
    return [
        row
        for row, payload in enumerate(payloads)
        if payload is not None
        and any(not isinstance(v, dict | list) and msgpack.packb(v) == packed for v in stands(unpack(payload), path))
    ]


def naive_exists(payloads: list[bytes | None], path: tuple[str, ...]) -> list[int]:
    """Rows of events where a leaf stands at the path or below."""
    rows = []
    for row, payload in enumerate(payloads):
        keys = (
            [] if payload is None else [tuple(k for k in at if k is not None) for at, _ in leaves(unpack(payload), ())]
        )
        if any(k[: len(path)] == path for k in keys):
            rows.append(row)
    return rows


def check(found: Any, expected: list[int]) -> None:
    """A superset always; equal when it says so."""
    assert set(expected) <= set(found.rows)
    if found.exact:
        assert list(found.rows) == expected


@given(event_lists(), st.lists(scalars(), max_size=4))
def test_look_ups_equal_a_naive_filter(payloads: list[bytes | None], values: list[Any]) -> None:
    """For values that occur, at every path that occurs, and for values and paths that do not."""
    index = granule(payloads)
    events = [unpack(p) for p in payloads if p is not None]
    seen = {(tuple(k for k in at if k is not None), msgpack.packb(v)) for e in events for at, v in leaves(e, ())}
    seen |= {(path, msgpack.packb(v)) for path in PATHS for v in values}
    for path, packed in seen:
        check(index.exists(path), expected := naive_exists(payloads, path))
        value = codec.unpack(b"\x81\xa0" + packed)[""]
        if not isinstance(value, dict | list):
            found = index.lookup(path, value)
            check(found, rows := naive(payloads, path, packed))
            assert found.exact or set(rows) == set(found.rows)  # no collision of 32 bits in so few
            assert set(rows) <= set(expected)
    assert list(index.events) == [row for row, p in enumerate(payloads) if p is not None]
    assert list(index.times()) == [1000 + i for i in range(len(payloads))]


@given(event_lists(), st.integers(0, 6), st.integers(1, 40), st.lists(scalars(), max_size=2))
def test_a_capped_granule_never_hides_a_row(payloads: list[bytes | None], paths: int, pairs: int, more: Any) -> None:
    """Supersets, and exact only where nothing is missing."""
    index = granule(payloads, paths_max=paths, pairs_max=pairs)
    for payload in {p for p in payloads if p is not None}:
        for at, value in list(leaves(unpack(payload), ())) + [(path, v) for path in PATHS for v in more]:
            path = tuple(k for k in at if k is not None)
            check(index.exists(path), naive_exists(payloads, path))
            if not isinstance(value, dict | list):
                packed = msgpack.packb(value)
                check(index.lookup(path, codec.unpack(b"\x81\xa0" + packed)[""]), naive(payloads, path, packed))
            if isinstance(value, str) and (words := tokens(value)):
                assert set(naive(payloads, path, msgpack.packb(value))) <= set(index.words(words[0], path))


QUERIES = ["failed", "FAILED code", "x", "7", "ärger", "with_code", "none", "a", "1"]


@given(event_lists(), st.sampled_from(QUERIES), st.booleans())
def test_words_are_a_superset(payloads: list[bytes | None], text: str, has_words: bool) -> None:
    """At each path and anywhere, of one word and of two, whatever the case."""
    index, wanted = granule(payloads), set(tokens(text))
    if not has_words:  # as when there were too many
        index = Granule(index._source, replace(index.table, has_words=False), KEY)
    for path in [None, *PATHS]:
        expected = set()
        for row, payload in enumerate(payloads):
            event = None if payload is None else unpack(payload)
            found = [v for _, v in leaves(event, ())] if path is None else stands(event, path)
            strings = [v for v in found if isinstance(v, str)]
            if any(wanted <= set(tokens(v)) for v in strings):
                expected.add(row)
        assert expected <= set(index.words(text, path)) <= set(index.events)


@given(event_lists())
def test_values_are_all_values_with_their_rows(payloads: list[bytes | None]) -> None:
    """Few distinct values: the list is complete and each count is that of a filter."""
    index = granule(payloads)
    for path in PATHS:
        found = index.values(path)
        expected = {}
        for payload in payloads:
            for value in [] if payload is None else stands(unpack(payload), path):
                if not isinstance(value, dict | list):
                    packed = msgpack.packb(value)
                    expected[packed] = len(naive(payloads, path, packed))
        assert found.complete
        assert {codec.pack({"": value})[2:]: count for value, count in found.listed} == expected


@given(st.lists(st.one_of(st.none(), st.integers(-5, 5), st.just("2023-11-14T22:13:20Z"), st.just("no")), max_size=9))
def test_times_are_event_times_and_the_descriptor_bounds_them(values: list[Any]) -> None:
    """A note's own time is in the column and not in the bounds."""
    payloads = [None if value is None else msgpack.packb({"time": value}) for value in values]
    index = granule(payloads)
    named = [None if payload is None else event_time(unpack(payload)) for payload in payloads]
    expected = [1000 + i if time is None else time for i, time in enumerate(named)]
    of_events = [time for time, payload in zip(expected, payloads, strict=True) if payload is not None]
    recorded = [1000 + i for i, payload in enumerate(payloads) if payload is not None]
    assert list(index.times()) == expected
    assert index.table.time == (min(of_events, default=0), max(of_events, default=0))
    assert index.table.recorded == (min(recorded, default=0), max(recorded, default=0))


def many() -> list[bytes | None]:
    """5,000 rows: bitmaps, runs, arrays near and far, singles, several chunks of each table."""
    return [
        msgpack.packb(
            {
                "id": f"id-{i * 7919 % 5000}",
                "user": f"user-{i % 900}",
                "half": i % 2,
                "block": i // 1000,
                "rare": i % 251,
                "message": f"user {i % 37} failed with code {i % 5}" + (" once" if i == 4321 else ""),
            }
        )
        for i in range(5000)
    ]


def test_tables_of_several_chunks() -> None:
    """Each key of each chunk is found, between and beyond them nothing; words prune."""
    payloads = many()
    index = granule(payloads)
    for i in range(0, 5000, 3):
        found = index.lookup(["id"], f"id-{i * 7919 % 5000}")
        assert list(found.rows) == [i]
        assert not found.exact
    for i in range(900):
        assert list(index.lookup(["user"], f"user-{i}").rows) == list(range(i, 5000, 900))
    assert list(index.lookup(["half"], 1).rows) == list(range(1, 5000, 2))
    assert list(index.lookup(["block"], 3).rows) == list(range(3000, 4000))
    assert list(index.lookup(["rare"], 250).rows) == list(range(250, 5000, 251))
    assert index.lookup(["half"], True) == (index.lookup(["none"], 1).rows, True)
    absent = [index.lookup(["id"], f"no-{i}") for i in range(3000)]
    assert all(found.exact and not found.rows for found in absent)
    assert 4321 in index.words("once", ["message"])
    assert len(index.words("once", ["message"])) == 64
    assert len(index.words("once failed")) == 5000  # ids and users have no spaces and are too many to list
    assert index.values(["half"]).listed == [(0, 2500), (1, 2500)]
    assert index.values(["id"]) == ([], False)
    assert len(index.values(["user"]).listed) == 900


def test_words_of_many_texts_are_found_in_their_frames() -> None:
    """30,000 texts of 80 words, twice each: more than fit the table before repeated ones are taken out."""
    texts = [" ".join(f"w{(i // 64 * 7 + k) % 3000}" for k in range(80)) + f" {i}" for i in range(30_016)]
    payloads = [msgpack.packb({"t": text}) for text in texts + texts]
    index = build_memory(payloads, [1] * len(payloads), KEY)
    assert index.table.has_words
    for word in (0, 1234, 2999):
        once = [i for i in range(30_016) if (word - i // 64 * 7) % 3000 < 80]
        assert list(index.words(f"w{word}", ["t"])) == once + [30_016 + i for i in once]


def test_the_unsealed_tail_answers_alike() -> None:
    """`build_memory` gives what the file gives."""
    payloads = [p for p in many() if p is not None]
    index = build_memory(payloads, [5] * len(payloads), KEY, base=7)
    assert index.table.base == 7
    assert list(index.lookup(["rare"], 3).rows) == list(range(3, 5000, 251))
    assert list(index.times()) == [5] * 5000


def test_a_map_is_no_value() -> None:
    """Maps and arrays are refused; their parts are indexed."""
    for value in ({}, [], {"a": 1}):
        with pytest.raises(UsageError):
            granule([]).lookup(["a"], value)
