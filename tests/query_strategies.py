"""Random events and random filters that often meet: small alphabets of keys, values, words and addresses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgpack
from hypothesis import strategies as st

from ledger.query import ast

KEYS = ("a", "b", "c", "time", "timestamp", "é.f")
TEXTS = (
    *(
        "",
        "x",
        "u1",
        "u12",
        "délete",
        "Failed with Code 5",
        "failed  with-code",
        "a*b?c",
        "200",
        "10.1.2.3",
        "10.1.255.4",
    ),
    *("::1", "2001:db8::7", "2026-05-01T10:00:00Z", "2026-05-01t10:00:00.25+02:00", "naïve café 東京", "10.0.0.01"),
)
NUMBERS = (0, 1, -1, 200, 2**53, 2**53 + 1, -(2**63), 2**63 - 1, 2**63, 2**64 - 1, 1_767_225_600, 1_767_225_600_123)
FLOATS = (0.0, -0.0, 1.0, 200.0, 200.5, -1.5, 2.0**53, 2.0**63, 2.0**64, -(2.0**63), 1e300, 1_767_225_600.25)
TIMES = (datetime(2026, 5, 1, tzinfo=UTC), msgpack.Timestamp(1_777_593_600, 5), datetime(1969, 1, 1, tzinfo=UTC))

scalars: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, False, b"", b"\x00\xff"]),
    st.sampled_from(TEXTS),
    st.sampled_from(NUMBERS),
    st.sampled_from(FLOATS),
    st.sampled_from(TIMES),
    st.text(max_size=6),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
keys = st.sampled_from(KEYS)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
events: st.SearchStrategy[dict[str, Any]] = st.dictionaries(keys, values, max_size=5)
paths = st.lists(keys, min_size=1, max_size=3).map(tuple)
_numbers = st.sampled_from(NUMBERS + FLOATS) | st.integers(-(1 << 63), (1 << 64) - 1)
_texts = st.sampled_from(TEXTS) | st.text(max_size=4)
_words = st.lists(st.sampled_from(["failed", "with", "code", "5", "x", "u1", "café"]), min_size=1, max_size=3).map(
    tuple
)
_patterns = st.sampled_from(
    ["*", "x*", "*1*", "u?", "?", "", "a\\*b\\?c", "*é*e", "F*C*5", "??", "*\\", "東*"]
) | st.text("ux*?\\é1", max_size=6)
_networks = st.sampled_from(
    ["10.0.0.0/8", "10.1.0.0/17", "0.0.0.0/0", "::/0", "2001:db8::/33", "10.1.2.3/32", "::1/128"]
)


def _range(low: Any, high: Any, low_open: bool, high_open: bool) -> st.SearchStrategy[ast.Node]:
    return st.builds(ast.Range, paths, low, high, st.just(low_open), st.just(high_open))


_flags = st.tuples(st.booleans(), st.booleans())
_ranges = _flags.flatmap(
    lambda f: st.one_of(
        *(_range(bound, bound, *f) for bound in (_numbers, _texts)),
        *(_range(bound, st.none(), *f) | _range(st.none(), bound, *f) for bound in (_numbers, _texts)),
    )
)
_place = st.none() | st.integers(-2, 60)
_moment = st.none() | st.sampled_from(
    [0, 1_777_593_600 * 10**9, 1_777_629_600 * 10**9, 1_767_225_600 * 10**9, -(1 << 62)]
)
leaves: st.SearchStrategy[ast.Node] = st.one_of(
    st.builds(ast.Term, paths, scalars),
    st.builds(ast.Exists, paths),
    _ranges,
    st.builds(ast.Prefix, paths, _texts),
    st.builds(ast.Contains, paths, _texts),
    st.builds(ast.Wildcard, paths, _patterns),
    st.builds(ast.Words, st.none() | paths, _words),
    st.builds(ast.Cidr, paths, _networks),
    st.builds(ast.Span, st.just("index"), _place, _place),
    st.builds(ast.Span, st.sampled_from(["time", "recorded"]), _moment, _moment),
    st.builds(ast.Kind, st.booleans()),
    st.sampled_from([ast.Everything(), ast.Nothing()]),
)
filters: st.SearchStrategy[ast.Node] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(ast.Not, inner),
        st.builds(ast.And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(ast.Or, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
