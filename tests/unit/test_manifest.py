"""The list of sealed segments: back as it went, and refused when one bit of it is not as it was."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding.manifest import Manifest, ManifestRow
from ledger.errors import CorruptionError

HASH = st.binary(min_size=32, max_size=32)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """A manifest of up to five segments."""
    rows, end = [], 0
    for segno in range(draw(st.integers(0, 5))):
        count = draw(st.integers(1, 1 << 40))
        receipts: list[Any] = draw(st.lists(st.dictionaries(st.text(), st.text())))
        numbers = segno, end, count, draw(st.integers(1320, 1 << 40))
        hashes = draw(HASH), draw(HASH)
        rows.append(ManifestRow(*numbers, *hashes, draw(st.integers(0, 3)), receipts))
        end += count
    return Manifest(draw(st.integers(0, (1 << 64) - 1)), draw(HASH), tuple(rows))


def framed(body: bytes, generation: int = 3) -> bytes:
    """A sound frame around any body."""
    front = struct.pack("<8sQ32sII", b"LGMANI1\0", generation, bytes(32), len(body), 0)
    return front + hashlib.sha256(front + body).digest() + body


def row(**changes: Any) -> list[Any]:
    """A row in file order, of one segment with ten entries, with changes."""
    fields = {
        "segno": 0,
        "base": 0,
        "count": 10,
        "file_bytes": 2000,
        "seal_hash": bytes(32),
        "segment_root": bytes(32),
        "state": 0,
        "receipts": [],
    }
    return list((fields | changes).values())


@given(manifests())
def test_manifest_comes_back(manifest: Manifest) -> None:
    """decode(encode(m)) == m."""
    assert Manifest.decode(manifest.encode(), manifest.generation) == manifest


@given(manifests(), st.data())
def test_any_changed_byte_is_refused(manifest: Manifest, data: st.DataObject) -> None:
    """No byte can change, and no byte can be missing or added, without an error."""
    good = manifest.encode()
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    for mutant in (bytes(bad), good[:at], good + b"\0"):
        with pytest.raises(CorruptionError, match=f"manifest {manifest.generation}"):
            Manifest.decode(mutant, manifest.generation)


def test_manifest_under_another_generation_is_refused() -> None:
    """A manifest copied to another name is not taken for that generation."""
    with pytest.raises(CorruptionError, match="names generation 3"):
        Manifest.decode(Manifest(3, bytes(32), ()).encode(), 4)


def test_plain_manifest_is_as_documented() -> None:
    """The bytes are those of docs/format.md §8, built here by hand."""
    rows = (ManifestRow(0, 0, 10, 2000, bytes(32), bytes(32)),)
    assert Manifest(3, bytes(32), rows).encode() == framed(msgpack.packb({"segments": [row()]}))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        msgpack.packb([]),
        msgpack.packb({"segments": [], "more": 1}),
        msgpack.packb({"segments": {}}),
        msgpack.packb({"segments": [row()]}) + b"\xc0",
        msgpack.packb({"segments": [row()[:-1]]}),
        msgpack.packb({"segments": [row(segno=True)]}),
        msgpack.packb({"segments": [row(count=0)]}),
        msgpack.packb({"segments": [row(count=-1)]}),
        msgpack.packb({"segments": [row(seal_hash=bytes(31))]}),
        msgpack.packb({"segments": [row(segment_root="x" * 32)]}),
        msgpack.packb({"segments": [row(receipts=None)]}),
        msgpack.packb({"segments": [row(segno=1)]}),
        msgpack.packb({"segments": [row(base=1)]}),
        msgpack.packb({"segments": [row(), row(segno=1, base=11)]}),
        msgpack.packb({"segments": [row(), row(segno=2, base=10)]}),
    ],
)
def test_body_of_another_shape_is_refused(body: bytes) -> None:
    """A sound checksum is not enough: shape, types, order and gaps are checked."""
    with pytest.raises(CorruptionError, match="manifest 3"):
        Manifest.decode(framed(body), 3)
