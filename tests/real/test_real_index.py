# SPDX-License-Identifier: Apache-2.0
"""The search index of real audit events: the root of the oracle, and answers of a naive filter."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import msgpack
import pytest

from ledger.encoding import event as codec
from ledger.index.build import build_granule, row_table
from ledger.index.granule import build_memory
from tests.index_oracle import OracleGranule, leaves, tokens, unpack

KEY, SEED = b"k" * 16, b"s" * 32
FILES = ["cloudtrail-3k", "kubernetes-audit", "linux-auditd", "windows-security-104k"]
Load = Callable[[str], Iterator[dict[str, Any]]]


@pytest.mark.parametrize("name", FILES)
def test_real_events_give_the_root_of_the_oracle(name: str, real_events: Load) -> None:
    """Two of the files have more than 256 paths: the same ones are left out."""
    payloads = [codec.pack(event) for event in islice(real_events(name), 3500)]
    built = build_granule(row_table(payloads, [1] * len(payloads)), segno=0, base=0, key=KEY, seed=SEED)
    said, oracle = msgpack.unpackb(built.descriptor), OracleGranule(payloads, KEY)
    assert said["paths"] == [list(path) for path in oracle.indexed]
    assert said["complete"] == (not oracle.capped)
    assert (said["terms"], said["term_root"]) == (len(oracle.terms()), oracle.term_root(SEED))


@pytest.mark.parametrize("name", FILES)
def test_real_values_are_found_where_they_stand(name: str, real_events: Load) -> None:
    """300 leaves taken at random: by value, by existence, by a word."""
    payloads = [codec.pack(event) for event in islice(real_events(name), 1500)]
    index = build_memory(payloads, [1] * len(payloads), KEY)
    standing = [
        [(tuple(k for k in path if k is not None), value) for path, value in leaves(unpack(payload), ())]
        for payload in payloads
    ]
    rng = random.Random(name)
    exact = 0
    for path, value in rng.sample([leaf for event in standing for leaf in event], 300):
        packed = msgpack.packb(value)
        if isinstance(value, dict | list):
            continue
        expected = [
            row
            for row, event in enumerate(standing)
            if any(at == path and not isinstance(v, dict | list) and msgpack.packb(v) == packed for at, v in event)
        ]
        found = index.lookup(path, codec.unpack(b"\x81\xa0" + packed)[""])
        assert set(expected) <= set(found.rows)
        assert not found.exact or list(found.rows) == expected
        exact += found.exact
        assert set(expected) <= set(index.exists(path).rows)
        if isinstance(value, str) and (words := tokens(value)):
            assert set(expected) <= set(index.words(rng.choice(words), path))
    assert exact > 50
