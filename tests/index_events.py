# SPDX-License-Identifier: Apache-2.0
"""Events for tests of the search index: few keys and values, so that they meet again, of every type."""

from __future__ import annotations

from typing import Any

import msgpack
from hypothesis import strategies as st

__all__ = ["event_lists", "events", "scalars"]

_KEYS = st.sampled_from(["a", "b", "c", "id", "a.b", "", "ä", "k" * 40])
_WORDS = st.sampled_from(["failed with code", "Failed", "failed", "with_code 7", "x-y z", "ÄRGER ärger", "a b", "a"])


def scalars() -> st.SearchStrategy[Any]:
    """Every type a leaf can have; 1, 1.0, "1", True and b"1" are five values."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from([0, 1, -1, 127, 128, 255, 256, 65536, 1 << 32, (1 << 64) - 1, -(1 << 63)]),
        st.sampled_from([0.0, -0.0, 1.0, 1.5, 1e300]),
        st.sampled_from(["", "0", "1", "true", "x" * 31, "x" * 32, "x" * 300]),
        _WORDS,
        st.sampled_from([b"", b"1", b"x" * 256]),
        st.builds(msgpack.Timestamp, st.sampled_from([0, 1, 1 << 33, 1 << 35]), st.sampled_from([0, 5])),
    )


def events() -> st.SearchStrategy[dict[str, Any]]:
    """Maps and arrays in maps, empty ones too."""
    below = st.recursive(
        scalars(),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_KEYS, inner, max_size=4)),
        max_leaves=8,
    )
    return st.dictionaries(_KEYS, below, max_size=5)


def event_lists() -> st.SearchStrategy[list[bytes | None]]:
    """Payloads by row; None: a note. Few distinct ones, many rows."""
    packed = st.lists(events().map(msgpack.packb), min_size=1, max_size=6)
    return packed.flatmap(lambda some: st.lists(st.one_of(st.none(), st.sampled_from(some)), max_size=150))
