"""Build the search index of a sealed segment from its bytes as read back, anew or for comparison.

Granule by granule: blocks are decompressed, C makes rows and terms. The result is the same for ever for the same
entries, seed and index key, up to zstd's output. See docs/format.md "Search index"; ledger/index/build.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import zstandard

from ledger._native import ffi, lib, raise_status
from ledger.encoding.identity import Identity
from ledger.encoding.segment import ZERO_HASH
from ledger.errors import CorruptionError, IndexUnusableError
from ledger.index.build import GRANULE_ROWS, BuiltGranule, RowTable, build_granule, index_root
from ledger.index.container import GranuleTable
from ledger.storage.index_file import IndexFile, publish_index, read_index_key
from ledger.storage.paths import Paths
from ledger.storage.sealed import SealedSegment

__all__ = ["IndexCheck", "build_index", "check_index", "reindex"]

_RUN_BYTES: Final = 4 << 20  # raw bytes that are decompressed in one call
_COMPRESSED: Final = ("values", "times", "notes")
IndexCheck = tuple[list[str], list[str]]


def build_index(segment: SealedSegment, key: bytes) -> list[BuiltGranule]:
    """The index of all granules of a segment, oldest first.

    Raises `CorruptionError` naming the block that cannot be read, else as `build_granule`. Any thread. Cost: some 4 us
    an event of 400 bytes; memory: the raw bytes of 65,536 rows and 120 bytes for each distinct value in them."""
    return [
        build_granule(rows, segno=segment.segno, base=base, key=key, seed=segment.seed)
        for base, rows in _granules(segment)
    ]


def reindex(paths: Paths, identity: Identity, segment: SealedSegment) -> bytes:
    """Write the index of a sealed segment anew; returns its root. Durable when it returns.

    Raises `CorruptionError`, and leaves what is there, when the segment commits to another root than its entries
    give; `EnvironmentFailure` without the index key, `OSError` when it cannot be written. Readers of an older
    index keep it."""
    granules = build_index(segment, read_index_key(paths, identity))
    root = index_root([granule.descriptor for granule in granules])
    if segment.footer.index_root not in (ZERO_HASH, root):
        raise _other_root(segment, root)
    publish_index(paths, identity, segment.segno, granules)
    return root


def check_index(paths: Paths, identity: Identity, segment: SealedSegment) -> IndexCheck:
    """Rebuild the index of a verified segment and compare: (problems, degraded).

    A problem: the root that the segment commits to, or an index file sound in itself, is not what the entries give,
    so searches were wrong [INDEX-3]. Degraded: no root, no index file, or a damaged one, which no search believes."""
    granules = build_index(segment, read_index_key(paths, identity))
    root = index_root([granule.descriptor for granule in granules])
    if segment.footer.index_root == ZERO_HASH:
        return [], [f"segment {segment.segno} commits to no search index"]
    if segment.footer.index_root != root:
        return [str(_other_root(segment, root))], []
    try:
        with IndexFile(paths, segment, read_index_key(paths, identity)) as file:
            for built, granule in zip(granules, file.granules, strict=True):
                name = _other_section(file, built, granule.table)
                if name is not None:
                    where = f"{file.path}, granule at entry {granule.table.base}"
                    return [f"{where}: {name} is not what the entries give; searches were wrong. reindex mends it"], []
    except IndexUnusableError as error:
        return [], [str(error)]
    return [], []


def _other_root(segment: SealedSegment, root: bytes) -> CorruptionError:
    return CorruptionError(
        f"segment {segment.segno} commits to the search index {segment.footer.index_root.hex()}, its entries give "
        f"{root.hex()}: what was found or not found with it proves nothing. The entries are not affected",
        segment=segment.segno,
        evidence="index_root",
    )


def _other_section(file: IndexFile, built: BuiltGranule, table: GranuleTable) -> str | None:
    """The first part of an index file that is not the rebuilt one."""
    said = [numbers for _, *numbers in table.paths]
    if said != [list(numbers) for numbers in built.paths] or table.open != built.open:
        return "the list of paths"
    if table.has_words != built.has_words:
        return "the mark of its words"
    for name, data in built.sections.items():
        place = table.sections[name]
        found = file.read(place.offset, place.length)
        if found != data and (name not in _COMPRESSED or _inflated(found) != _inflated(data)):
            return f"section {name}"
    return None


def _inflated(data: bytes) -> bytes | None:
    """The content of a zstd frame, which another version may have compressed otherwise."""
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= 1 << 27:
            return None
        content: bytes = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError:
        return None
    return content


def _granules(segment: SealedSegment) -> Iterator[tuple[int, RowTable]]:
    for base in range(segment.base, segment.end, GRANULE_ROWS):
        yield base, _rows(segment, base, min(base + GRANULE_ROWS, segment.end))


def _rows(segment: SealedSegment, begin: int, end: int) -> RowTable:
    """The entries [begin, end) of a segment: the raw bytes of their blocks, and a row for each."""
    table = segment.table
    first, last = table.find(begin), table.find(end - 1) + 1
    raw, at, block = bytearray(sum(table.raw[first:last])), 0, first
    while block < last:
        stop, size = block + 1, table.raw[block]
        while stop < last and size + table.raw[stop] <= _RUN_BYTES:
            size += table.raw[stop]
            stop += 1
        raw[at : at + size] = segment.decompress_blocks(block, stop)
        at, block = at + size, stop
    rows: Any = ffi.new("ledger_row[]", end - begin)
    count = ffi.new("uint32_t *")
    status = lib.ledger_index_rows(
        *(ffi.from_buffer("uint8_t[]", raw), len(raw), ffi.from_buffer("uint64_t[]", table.raw) + first),
        *(last - first, begin - table.first[first], rows, end - begin, count),
    )
    raise_status(status, f"reading blocks [{first}, {last}) of segment {segment.segno}; nothing was changed")
    return RowTable(raw, rows, int(count[0]))
