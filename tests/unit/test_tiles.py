"""Names, sets and bytes of tiles and entry bundles (C2SP tlog-tiles)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import UsageError
from ledger.merkle.tiles import (
    ENTRIES,
    WIDTH,
    Tile,
    decode_bundle,
    encode_bundle,
    encode_tile,
    parse_path,
    tile_nodes,
    tiles,
)
from ledger.merkle.tree import inclusion_proof, memory_nodes, root
from ledger.verify import SIZE_END, VerificationError

SIZE_MAX = 1100
LEAVES = [hashlib.sha256(i.to_bytes(2, "big")).digest() for i in range(SIZE_MAX)]
NODE = memory_nodes(LEAVES)

some_tile = st.builds(Tile, st.integers(ENTRIES, 63), st.integers(0, SIZE_END), st.integers(1, WIDTH))


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(3, 999), "tile/3/999"),
        (Tile(0, 1000), "tile/0/x001/000"),
        (Tile(63, 1234067, 8), "tile/63/x001/x234/067.p/8"),
        (Tile(ENTRIES, 5, 255), "tile/entries/005.p/255"),
    ],
)
def test_path_is_the_one_of_the_specification(tile: Tile, path: str) -> None:
    """Groups of three digits, all but the last with an x, a partial width behind `.p/`."""
    assert tile.path == path
    assert parse_path(path) == tile


@given(some_tile)
def test_path_comes_back_as_the_tile(tile: Tile) -> None:
    """Reading undoes writing for every tile of a log."""
    assert parse_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/00/000",
        "tile/64/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/",
        "tile/0/000/",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "/tile/0/000",
        "tile/-1/000",
        "tile/entries",
        "tile/8/0/000",
        "tile/0/" + "x001/" * 2000 + "000",
    ],
)
def test_other_spellings_of_a_path_are_refused(path: str) -> None:
    """One tile has one name."""
    with pytest.raises(VerificationError):
        parse_path(path)


def test_tiles_of_seventy_thousand_leaves() -> None:
    """The worked example: 273 full + 112, 1 full + 17, and one hash."""
    found = list(tiles(70_000))
    for level in (ENTRIES, 0):
        row = [tile for tile in found if tile.level == level]
        assert [tile.number for tile in row] == list(range(274))
        assert [tile.width for tile in row] == [WIDTH] * 273 + [112]
    assert [tile for tile in found if tile.level > 0] == [
        Tile(1, 0),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]


def test_full_tile_makes_a_partial_one_above() -> None:
    """At size 256 there is one full tile and one hash over it; at 255 no level 1."""
    assert list(tiles(256)) == [Tile(ENTRIES, 0), Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles(255)) == [Tile(ENTRIES, 0, 255), Tile(0, 0, 255)]
    assert list(tiles(0)) == []


@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_growth_adds_just_what_was_missing(since: int, size: int) -> None:
    """What the new size needs and the old one did not have, no more and no less."""
    since, size = sorted((since, size))
    had = set(tiles(since))
    assert list(tiles(size, since)) == [tile for tile in tiles(size) if tile not in had]


@pytest.mark.parametrize(("size", "since"), [(3, 4), (3, -1), (SIZE_END, 0)])
def test_sizes_out_of_order_are_a_usage_error(size: int, since: int) -> None:
    """A log does not shrink, and ends before 2^63."""
    with pytest.raises(UsageError):
        list(tiles(size, since))


@given(st.integers(1, SIZE_MAX), st.data())
def test_tree_read_from_its_tiles_is_the_tree(size: int, data: st.DataObject) -> None:
    """Root and proofs from the tiles of a size are those of the tree, by its tiles alone."""
    stored = {tile: encode_tile(tile, NODE) for tile in tiles(size) if tile.level != ENTRIES}
    node = tile_nodes(stored.__getitem__, size)
    index = data.draw(st.integers(0, size - 1))
    assert root(size, node) == root(size, NODE)
    assert inclusion_proof(index, size, node) == inclusion_proof(index, size, NODE)


@pytest.mark.parametrize(("level", "i"), [(0, 5), (1, 2), (8, 0), (3, 0)])
def test_node_beyond_the_size_is_a_usage_error(level: int, i: int) -> None:
    """Only subtrees whole at the size can be read; nothing is fetched for others."""
    node = tile_nodes({}.__getitem__, 5)
    with pytest.raises(UsageError):
        node(level, i)


@pytest.mark.parametrize("length", [0, 159, 161, 192])
def test_tile_of_another_length_is_refused(length: int) -> None:
    """A tile is width × 32 bytes."""
    node = tile_nodes(lambda tile: bytes(length), 5)
    with pytest.raises(VerificationError):
        node(0, 0)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=WIDTH))
def test_bundle_comes_back_as_its_entries(entries: list[bytes]) -> None:
    """Reading undoes writing, and any other width is refused."""
    data = encode_bundle(entries)
    assert decode_bundle(data, len(entries)) == entries
    for width in (len(entries) - 1, len(entries) + 1):
        with pytest.raises(VerificationError):
            decode_bundle(data, width)


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=9), st.data())
def test_bundle_cut_short_is_refused(entries: list[bytes], data: st.DataObject) -> None:
    """Every proper prefix of a bundle is refused, and so is a byte more."""
    whole = encode_bundle(entries)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for changed in (whole[:cut], whole + b"\x00"):
        with pytest.raises(VerificationError):
            decode_bundle(changed, len(entries))


def test_entry_of_the_largest_length_fits() -> None:
    """65,535 bytes are the most that two bytes of length say; empty entries are entries."""
    entries = [bytes(65_535), b""]
    assert decode_bundle(encode_bundle(entries), 2) == entries


@pytest.mark.parametrize("entries", [[], [b""] * 257, [bytes(65_536)]])
def test_bundle_that_cannot_be_is_a_usage_error(entries: list[bytes]) -> None:
    """No entry, too many, or one too long."""
    with pytest.raises(UsageError):
        encode_bundle(entries)
