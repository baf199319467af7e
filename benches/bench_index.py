"""The search index: made of a granule, and asked."""

from __future__ import annotations

import itertools
from typing import Any

import msgpack
import ormsgpack
import pytest

from benches.workload import Event
from ledger.index.build import build_granule, row_table
from ledger.index.granule import Granule, build_memory

__all__: list[str] = []

_KEY = bytes(16)


@pytest.fixture
def payloads(listed: list[Event]) -> list[bytes]:
    """The events packed; at most a granule of them."""
    return [ormsgpack.packb(event) for event in listed[:65536]]


@pytest.fixture
def granule(payloads: list[bytes]) -> Granule:
    """Their index in memory."""
    return build_memory(payloads, [0] * len(payloads), _KEY)


def test_build(benchmark: Any, payloads: list[bytes]) -> None:
    """Terms, root and sections of one granule; bytes an event are in the extra figures."""
    table = row_table(payloads, [0] * len(payloads))
    built = benchmark(build_granule, table, segno=0, base=0, key=_KEY, seed=bytes(32))
    assert msgpack.unpackb(built.descriptor)["events"] == len(payloads)
    benchmark.extra_info["index_bytes_per_event"] = sum(map(len, built.sections.values())) / len(payloads)


def test_look_up_a_value_of_one_row(benchmark: Any, granule: Granule, listed: list[Event]) -> None:
    """Ids, one after the other; each is found in its row."""
    rows = itertools.cycle(range(0, min(len(listed), 65536), 7))

    def ask() -> tuple[int, list[int]]:
        row = next(rows)
        return row, list(granule.lookup(["id"], listed[row]["id"]).rows)

    row, found = benchmark(ask)
    assert found == [row]


def test_look_up_and_combine(benchmark: Any, granule: Granule, listed: list[Event]) -> None:
    """Two frequent values and not a third: the rows of a filter."""

    def ask() -> list[int]:
        denied = granule.lookup(["response", "status"], 403).rows
        return list((denied & granule.lookup(["region"], "us-east-1").rows) - granule.lookup(["read_only"], True).rows)

    expected = [
        row
        for row, event in enumerate(listed[:65536])
        if event["response"]["status"] == 403 and event["region"] == "us-east-1" and not event["read_only"]
    ]
    assert benchmark(ask) == expected
