# SPDX-License-Identifier: Apache-2.0
"""The terms of a granule, their root and the descriptor: C against the plain oracle, for any events."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import EventError
from ledger.index.build import build_granule, index_root, row_table
from tests.index_events import event_lists
from tests.index_oracle import OracleGranule, root_of

KEY, SEED = bytes(range(16)), bytes(range(32, 64))
ROOT = Path(__file__).resolve().parents[2]


def build(payloads: list[bytes | None], **limits: int) -> Any:
    """The granule of the payloads; None stands for a note."""
    kinds = [int(p is None) for p in payloads]
    filled = [p if p is not None else msgpack.packb({"note": "x", "a": 1}) for p in payloads]
    return build_granule(row_table(filled, [7] * len(filled), kinds), segno=3, base=100, key=KEY, seed=SEED, **limits)


def expected(oracle: OracleGranule) -> dict[str, Any]:
    """The descriptor's map."""
    bounds = [7, 7] if oracle.event_count else [0, 0]
    return {
        "segno": 3,
        "base": 100,
        "count": oracle.count,
        "events": oracle.event_count,
        "time": bounds,
        "recorded": bounds,
        "rule": 1,
        "complete": not oracle.capped,
        "paths": [list(path) for path in oracle.indexed],
        "terms": len(oracle.terms()),
        "term_root": oracle.term_root(SEED),
    }


@given(event_lists())
def test_any_events_give_the_root_of_the_oracle(payloads: list[bytes | None]) -> None:
    """Nested maps, arrays, every scalar type, empty containers, equal values of different types, notes between."""
    assert msgpack.unpackb(build(payloads).descriptor) == expected(OracleGranule(payloads, KEY))


@given(event_lists(), st.integers(0, 6), st.integers(1, 40))
def test_limits_cap_the_same_paths_everywhere(payloads: list[bytes | None], paths: int, pairs: int) -> None:
    """Few paths and few pairs: which paths are left out is part of the rule."""
    oracle = OracleGranule(payloads, KEY, paths_max=paths, pairs_max=pairs)
    assert msgpack.unpackb(build(payloads, paths_max=paths, pairs_max=pairs).descriptor) == expected(oracle)


def test_a_path_above_the_limits_of_rule_1_is_left_out() -> None:
    """300 paths, a path of 2,000 bytes, and many steps that lead to long paths alone."""
    wide = msgpack.packb({f"k{i}": i for i in range(300)})
    long = msgpack.packb({"a" * 2000: 1, "b": {"c" * 1020: 1, "d" * 1019: 2}})
    steps = msgpack.packb({f"s{i}": {"t" * 1020: 1} for i in range(9000)} | {"last": {"u": 1}})
    for payload in (wide, long, steps):
        payloads: list[bytes | None] = [payload, msgpack.packb({"b": 1, "k299": 1})]
        oracle = OracleGranule(payloads, KEY)
        assert oracle.capped
        assert msgpack.unpackb(build(payloads).descriptor) == expected(oracle)


def test_long_postings_and_deep_paths() -> None:
    """More than sixteen rows, 32 levels, values of more than two hash blocks."""
    deep: Any = [5, "x" * 300]
    for i in range(29):
        deep = {f"d{i}": deep} if i % 3 else [deep]
    payloads: list[bytes | None] = [
        msgpack.packb({"same": "v", "n": i, "m": i % 7, "deep": deep, "t": "y" * (i % 200)}) for i in range(500)
    ]
    assert msgpack.unpackb(build(payloads).descriptor) == expected(OracleGranule(payloads, KEY))


def test_a_granule_without_events_has_an_empty_tree() -> None:
    """Notes alone, or events that are empty maps."""
    for payloads in ([None, None], [msgpack.packb({})], []):
        assert msgpack.unpackb(build(payloads).descriptor) == expected(OracleGranule(payloads, KEY))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=9))
def test_the_root_over_descriptors_is_rfc_6962(descriptors: list[bytes]) -> None:
    """As the oracle's."""
    assert index_root(descriptors) == root_of(descriptors)


@pytest.mark.parametrize("payload", [b"", b"\x90", b"\x81\xa1", b"\x81\x01\x01", b"\x81\xa1a\xc1", b"\x80\x80"])
def test_bytes_that_are_no_event_are_refused(payload: bytes) -> None:
    """Refused with an error, no crash."""
    with pytest.raises(EventError):
        build([payload])


@given(st.binary(max_size=60))
def test_arbitrary_bytes_never_crash_the_walk(noise: bytes) -> None:
    """They give terms or an error."""
    for payload in (noise, b"\x82\xa1a" + noise, b"\x81\xa1a\x9f" + noise):
        try:
            build([payload, payload])
        except EventError:
            continue


def test_another_process_gives_the_same_root() -> None:
    """Whatever its hash seed, and its random SipHash key."""
    code = (
        "import msgpack, sys; from ledger.index.build import *;"
        "p = [msgpack.packb({'a': i % 9, 'b': {'c': [str(i), 'x']}}) for i in range(999)];"
        "b = build_granule(row_table(p, [1] * len(p)), segno=0, base=0, key=b'k' * 16, seed=b's' * 32);"
        "sys.stdout.write(index_root([b.descriptor]).hex())"
    )
    roots = set()
    for seed in ("0", "1", "77"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, cwd=ROOT, capture_output=True, check=True
        )
        roots.add(done.stdout)
    assert len(roots) == 1
    assert len(roots.pop()) == 64
