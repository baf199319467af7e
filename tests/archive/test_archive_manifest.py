# SPDX-License-Identifier: Apache-2.0
"""Archive manifests: one form, and the list at n is found through `since` whatever the writer chose."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.archive.archive_manifest import ROWS_REPEATED_MAX, ArchiveManifest, Link, Row, choose_since
from ledger.errors import CorruptionError

hexes = st.binary(min_size=32, max_size=32).map(bytes.hex)
numbers = st.integers(0, (1 << 63) - 1)
rows = st.builds(
    Row, st.text(max_size=9), st.text(max_size=9), hexes, numbers, st.sampled_from([None, "COMPLIANCE"]), numbers
)
links = st.builds(Link, st.integers(0, 20), st.text(max_size=9), st.text(max_size=9), hexes)


@st.composite
def manifests(draw: st.DrawFn) -> ArchiveManifest:
    n = draw(st.integers(0, 50))
    previous = None if n == 0 else Link(n - 1, "k", "v", draw(hexes))
    since = draw(st.none() | links.filter(lambda link: link.n < n))
    return ArchiveManifest(n, draw(numbers), previous, since, draw(st.text(max_size=20)), tuple(draw(st.lists(rows))))


@given(manifests())
def test_a_body_reads_back(manifest: ArchiveManifest) -> None:
    """One line of ASCII with a newline at its end, and the same value from it."""
    body = manifest.body()
    assert ArchiveManifest.from_body(body) == manifest
    assert body.decode("ascii").count("\n") == 1


@given(manifests(), st.data())
def test_another_form_is_refused(manifest: ArchiveManifest, data: st.DataObject) -> None:
    """The same value with spaces, a field more, a field of another type: no manifest."""
    value = json.loads(manifest.body())
    field = data.draw(st.sampled_from(sorted(value)))
    for changed in (
        json.dumps(value).encode(),
        manifest.body() + b"\n",
        json.dumps({**value, "more": 1}, sort_keys=True, separators=(",", ":")).encode() + b"\n",
        json.dumps({**value, field: 1.5}, sort_keys=True, separators=(",", ":")).encode() + b"\n",
    ):
        with pytest.raises(CorruptionError, match="archive manifest"):
            ArchiveManifest.from_body(changed)


@given(st.binary())
def test_any_bytes_are_a_manifest_or_refused(data: bytes) -> None:
    """No other exception, whatever comes from the network."""
    with pytest.raises(CorruptionError):
        ArchiveManifest.from_body(data)


@pytest.mark.parametrize("rows_per_manifest", [0, 1, 50])
def test_the_list_is_whole_in_few_steps(rows_per_manifest: int) -> None:
    """For each n, the rows found through `since` are those of all manifests up to n, once, in O(log n) steps."""
    for n in range(200):
        at, seen, steps = n, [], 0
        while at >= 0:
            since = choose_since(at, (at + 1) * rows_per_manifest)
            assert since < at
            seen += range(at, since, -1)
            at, steps = since, steps + 1
        assert seen == list(range(n, -1, -1))
        assert steps <= n.bit_length() + 1
        if (n + 1) * rows_per_manifest <= ROWS_REPEATED_MAX:
            assert steps == 1
