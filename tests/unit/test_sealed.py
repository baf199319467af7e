"""Sealed files read back: every entry and node as it was, and every damage named."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgpack
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.encoding.segment import HEADER_BYTES, SECTIONS
from ledger.errors import CorruptionError, EnvironmentFailure
from ledger.storage.sealed import Border, SealedSegment
from tests.sealed_files import (
    Batch,
    SealedLedger,
    batches,
    forge,
    root_of,
    sections_of,
    with_frame,
)


def events(count: int, size: int = 100) -> list[bytes]:
    """Payloads that compress a little."""
    rng = random.Random(count)
    return [msgpack.packb({"n": i, "who": f"{rng.getrandbits(40):x}", "text": "x" * size}) for i in range(count)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SealedLedger:
    """Two segments; the second has 21 entries from index 3 on: seven blocks of 1 to 8 entries."""
    second = [Batch(events(20, 10), 9), Batch([msgpack.packb({"note": "x"})], 8, kind=1)]
    folder = tmp_path_factory.mktemp("small")
    return SealedLedger(folder, [[Batch(events(3), 5)], second])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> SealedLedger:
    """Two segments; the second has some 4 MB, a dictionary, and three chunks of a check."""
    second = [Batch(events(4000, 1000), time) for time in (9, 7, 11)]
    return SealedLedger(tmp_path_factory.mktemp("large"), [[Batch(events(77), 5)], second])


@settings(deadline=None, max_examples=40)
@given(st.lists(batches(), min_size=1, max_size=3))
def test_every_entry_and_hash_comes_back(segments: list[list[Batch]]) -> None:
    """Payload, kind, time, entry, salt, leaf hash of each entry, at any base; both roots and the
    border are what RFC 6962 gives over all leaf hashes."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = SealedLedger(Path(folder), segments)
        made = ledger.builder.entries
        border = Border.start(ledger.fingerprint)
        for segno, footer in enumerate(ledger.footers):
            with ledger.open(segno) as segment:
                for index in range(segment.base, segment.end):
                    one, row = made[index], segment.row(index)
                    assert segment.payload(index) == one.payload
                    assert (row.kind, row.time) == (one.kind, one.time)
                    assert segment.entry(index) == (one.entry, one.salt)
                    assert segment.leaf_hash(index) == one.leaf
                assert segment.time_last() == made[segment.end - 1].time
                facts = segment.verify(border, threads=1 + segno % 2)
            own = [one.leaf for one in made[footer.base : footer.end]]
            assert facts.segment_root == footer.segment_root == root_of(own)
            everything = [one.leaf for one in made[: footer.end]]
            assert facts.root_after == footer.root_after == root_of(everything)
            assert facts.event_count == sum(not e.kind for e in made[footer.base : footer.end])
            border = facts.after


@settings(deadline=None, max_examples=30)
@given(batches(300), batches(900))
def test_every_node_that_ends_in_the_segment_is_right(first: list[Batch], second: list[Batch]) -> None:
    """node(level, i) is the root of its leaves, those of earlier segments included from level 8 up;
    all else is an `IndexError`."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = SealedLedger(Path(folder), [first, second])
        leaves = [one.leaf for one in ledger.builder.entries]
        with ledger.open(1) as segment:
            for level in range(12):
                for i in range((segment.end >> level) + 2):
                    begin, end = i << level, (i + 1) << level
                    inside = segment.base <= begin if level < 8 else segment.base < end
                    if inside and end <= segment.end:
                        assert segment.node(level, i) == root_of(leaves[begin:end])
                    else:
                        with pytest.raises(IndexError):
                            segment.node(level, i)


@settings(deadline=None, max_examples=30)
@given(batches(), batches(), st.data())
def test_blocks_are_given_whole_and_in_order(first: list[Batch], second: list[Batch], data: st.DataObject) -> None:
    """iter_blocks(begin, end) gives exactly the blocks with an entry of [begin, end)."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = SealedLedger(Path(folder), [first, second])
        with ledger.open(1) as segment:
            begin = data.draw(st.integers(segment.base, segment.end))
            end = data.draw(st.integers(begin, segment.end))
            seen = []
            for base, rows, raw in segment.iter_blocks(begin, end):
                assert base < end
                assert base + len(rows) > begin
                for position, row in enumerate(rows):
                    payload = raw[row.offset : row.offset + row.bytes]
                    assert payload == ledger.builder.entries[base + position].payload
                    seen.append(base + position)
            assert seen == list(range(seen[0], seen[-1] + 1)) if seen else begin == end
            assert set(range(begin, end)) <= set(seen)


def test_index_outside_the_segment_is_an_index_error(small: SealedLedger) -> None:
    """A neighbour's index is never served from this segment."""
    with small.open(1) as segment:
        for index in (-1, 0, 2, 24, 1 << 64):
            with pytest.raises(IndexError):
                segment.payload(index)
        with pytest.raises(IndexError):
            list(segment.iter_blocks(2, 5))


# ---- damage -------------------------------------------------------------------------------------


def refusal(ledger: SealedLedger, path: Path, border: Border) -> str:
    """The error that a damaged copy of segment 1 gives, at open or in a full check."""
    with (
        pytest.raises(CorruptionError) as caught,
        SealedSegment(path, 1, fingerprint=ledger.fingerprint) as segment,
    ):
        segment.verify(border, threads=1)
    assert caught.value.segment == 1
    return str(caught.value)


def test_each_changed_byte_is_refused_by_region(small: SealedLedger, tmp_path: Path) -> None:
    """One changed byte anywhere, and the error names the part of the file it is in, or the one
    that vouches for it."""
    good, footer = small.path(1).read_bytes(), small.footers[1]
    border, path = small.borders()[1], tmp_path / "bad.seg"
    vouching = {"header": "header", "rows": "rows", "nodes": "nodes", "seed": "seed"}
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        region = next(
            (n for n in SECTIONS if 0 <= at - footer.section(n).offset < footer.section(n).length),
            "",
        )
        text = refusal(small, path, border)
        expected = vouching.get(region, "block " if region == "blocks" else "footer, trailer")
        assert any(part in text for part in expected.split(", ")), (at, region, text)


def test_damage_in_a_block_names_its_entries(large: SealedLedger, tmp_path: Path) -> None:
    """The first byte of any block changed: the error names the block and its range of entries, at
    one thread and at two, and reads of other blocks go on."""
    good = large.path(1).read_bytes()
    border, path = large.borders()[1], tmp_path / "bad.seg"
    with large.open(1) as segment:
        table, made = segment.table, large.builder.entries
    for k in (0, 1, len(table) // 2, len(table) - 1):
        bad = bytearray(good)
        bad[table.offset[k] + 9] ^= 1
        path.write_bytes(bad)
        entries = f"block {k} (entries [{table.first[k]}, {table.first[k + 1]}))"
        with SealedSegment(path, 1) as segment:
            for threads in (1, 2):
                with pytest.raises(CorruptionError, match="put an intact copy") as caught:
                    segment.verify(border, threads=threads)
                assert entries in str(caught.value)
                assert caught.value.index == table.first[k]
            with pytest.raises(CorruptionError):
                segment.payload(table.first[k])
            other = table.first[(k + 2) % len(table)]
            assert segment.payload(other) == made[other].payload


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_file_of_another_length_is_refused(small: SealedLedger, data: st.DataObject) -> None:
    """Cut anywhere or extended by anything: no sealed file."""
    good = small.path(1).read_bytes()
    cut = data.draw(st.integers(0, len(good) - 1))
    added = data.draw(st.binary(min_size=1, max_size=200))
    with tempfile.TemporaryDirectory() as folder:
        for bad in (good[:cut], good + added, good + good[-64:]):
            path = Path(folder) / "bad.seg"
            path.write_bytes(bad)
            with pytest.raises(CorruptionError, match="sealed segment 1"):
                SealedSegment(path, 1)


def test_segment_in_the_wrong_place_is_refused(small: SealedLedger) -> None:
    """Another number, another ledger, another seal hash: each is named when the file is opened."""
    path, seal_hash = small.path(1), small.footers[1].seal_hash
    with pytest.raises(CorruptionError, match="names segment 1"):
        SealedSegment(path, 2)
    with pytest.raises(CorruptionError, match="belongs to the ledger"):
        SealedSegment(path, 1, fingerprint=bytes(32))
    with pytest.raises(CorruptionError, match="seal hash is"):
        SealedSegment(path, 1, seal_hash=bytes(32))
    with SealedSegment(path, 1, seal_hash=seal_hash) as segment:
        assert segment.seal_hash == seal_hash


@pytest.mark.parametrize("field", ["size", "link", "seal_hash", "time", "peaks"])
def test_check_against_another_border_is_refused(small: SealedLedger, field: str) -> None:
    """A sound segment that does not follow what came before is refused: each field counts."""
    good = small.borders()[1]
    wrong = {
        "size": {"size": 5},
        "link": {"link": bytes(32)},
        "seal_hash": {"seal_hash": bytes(32)},
        "time": {"time": 10},
        "peaks": {"peaks": bytes(64)},
    }[field]
    values = {name: getattr(good, name) for name in ("size", "link", "time", "peaks", "seal_hash")}
    with small.open(1) as segment, pytest.raises(CorruptionError, match="sealed segment 1"):
        segment.verify(Border(**(values | wrong)))


def test_links_and_pipes_are_not_opened(small: SealedLedger, tmp_path: Path) -> None:
    """A symbolic link, a pipe, a folder or nothing in place of the file is the system's matter, not
    corruption; and a pipe does not block."""
    link, pipe = tmp_path / "link.seg", tmp_path / "pipe.seg"
    link.symlink_to(small.path(1))
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path, tmp_path / "none.seg"):
        with pytest.raises(EnvironmentFailure):
            SealedSegment(path, 1)


def test_what_was_opened_is_what_is_served(small: SealedLedger, tmp_path: Path) -> None:
    """After the name is gone the open segment still serves; after the file shrinks it refuses."""
    path = tmp_path / "copy.seg"
    path.write_bytes(small.path(1).read_bytes())
    with SealedSegment(path, 1) as segment, open(path, "r+b") as file:
        path.unlink()
        assert segment.payload(3) == small.builder.entries[3].payload
        file.truncate(HEADER_BYTES)
        with pytest.raises(CorruptionError, match="the file ends here"):
            segment.payload(20)


# ---- forged: every hash in the file recomputed --------------------------------------------------


def hostile_frames(raw: bytes) -> dict[str, bytes]:
    """Frames that decompress to the right bytes, or claim to, and are not what a reader takes."""
    plain = zstandard.ZstdCompressor(level=1).compress(raw)
    unsized = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(raw)
    halves = [zstandard.ZstdCompressor(level=1).compress(part) for part in (raw[:9], raw[9:])]
    empty_skippable = struct.pack("<II", 0x184D2A50, 0)
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(200 << 20))
    return {
        "trailing byte": plain + b"\0",
        "second frame": plain + plain,
        "two halves": b"".join(halves),
        "skippable frame after": plain + empty_skippable,
        "skippable frame before": empty_skippable + plain,
        "no content size": unsized,
        "window of 16 MiB": with_window(plain, 24),
        "200 MiB declared": bomb,
        "no last block": plain[:-1],
        "no frame": bytes(40),
        "nothing": b"\xff",
    }


def with_window(frame: bytes, window_log: int) -> bytes:
    """The same frame, with a window of 2^window_log declared and its size in four bytes."""
    assert frame[4] == 0x20, "a small frame declares its size in one byte and has no window"
    return frame[:4] + struct.pack("<BBI", 0x80, (window_log - 10) << 3, frame[5]) + frame[6:]


def test_frame_in_another_dress_is_read(tmp_path: Path) -> None:
    """The control of the test below: a window of 8 MiB, a checksum, another level are fine."""
    ledger = SealedLedger(tmp_path, [[Batch(events(1), 5)]])
    footer, path = ledger.footers[0], ledger.path(0)
    sections = sections_of(path.read_bytes(), footer)
    raw = zstandard.ZstdDecompressor().decompress(sections["blocks"])
    for frame in (
        with_window(zstandard.ZstdCompressor(level=1).compress(raw), 23),
        zstandard.ZstdCompressor(level=19, write_checksum=True).compress(raw),
        zstandard.ZstdCompressor(level=-50).compress(raw),
    ):
        forge(path, footer, with_frame(sections, frame))
        with SealedSegment(path, 0) as segment:
            assert segment.payload(0) == events(1)[0]
            assert segment.verify(Border.start(ledger.fingerprint)).count == 1


@pytest.mark.parametrize("name", hostile_frames(bytes(200)))
def test_frame_that_is_not_exactly_the_block_is_refused(tmp_path: Path, name: str) -> None:
    """With every hash recomputed, each hostile frame is refused before it is decompressed."""
    ledger = SealedLedger(tmp_path, [[Batch(events(1), 5)]])
    footer, path = ledger.footers[0], ledger.path(0)
    sections = sections_of(path.read_bytes(), footer)
    raw = zstandard.ZstdDecompressor().decompress(sections["blocks"])
    forge(path, footer, with_frame(sections, hostile_frames(raw)[name]))
    with SealedSegment(path, 0) as segment:
        with pytest.raises(CorruptionError, match=r"block 0 \(entries \[0, 1\)\)"):
            segment.payload(0)
        with pytest.raises(CorruptionError, match=r"block 0 \(entries \[0, 1\)\)"):
            segment.verify(Border.start(ledger.fingerprint), threads=1)


def test_changed_event_under_recomputed_checksums_is_refused(tmp_path: Path) -> None:
    """Another payload in a sound frame under sound hashes of every section: its subtree root shows
    it, for a single entry as for a full check."""
    ledger = SealedLedger(tmp_path, [[Batch(events(1), 5)]])
    footer, path = ledger.footers[0], ledger.path(0)
    sections = sections_of(path.read_bytes(), footer)
    raw = bytearray(zstandard.ZstdDecompressor().decompress(sections["blocks"]))
    raw[-1] ^= 1
    frame = zstandard.ZstdCompressor(level=1).compress(bytes(raw))
    forge(path, footer, with_frame(sections, frame))
    with SealedSegment(path, 0) as segment:
        assert segment.payload(0) == bytes(raw[-len(events(1)[0]) :])
        for check in (
            lambda: segment.entry(0),
            lambda: segment.leaf_hash(0),
            lambda: segment.verify(Border.start(ledger.fingerprint)),
        ):
            with pytest.raises(CorruptionError, match="another subtree root"):
                check()


def test_event_in_another_form_is_named_by_index(tmp_path: Path) -> None:
    """A payload that is no event, sealed with all hashes right, is found by its index."""
    good = events(9)
    ledger = SealedLedger(tmp_path, [[Batch([*good[:5], b"\xc1", *good[5:]], 5)]])
    with ledger.open(0) as segment, pytest.raises(CorruptionError, match="entry 5") as caught:
        segment.verify(Border.start(ledger.fingerprint))
    assert caught.value.index == 5


@pytest.mark.parametrize("change", ["zero", "level", "raw", "swap"])
def test_rows_that_break_a_rule_are_refused(small: SealedLedger, tmp_path: Path, change: str) -> None:
    """Rows under a recomputed hash: reserved bytes, coverage, sizes and alignment still count."""
    footer = small.footers[1]
    sections = sections_of(small.path(1).read_bytes(), footer)
    rows = bytearray(sections["rows"])
    if change == "zero":
        rows[13] = 1
    elif change == "level":
        rows[12] += 1
    elif change == "raw":
        rows[4:8], rows[84:88] = rows[84:88], rows[4:8]
        rows[4] ^= 1
    else:
        rows[:160] = rows[80:160] + rows[:80]
    forge(tmp_path / "bad.seg", footer, sections | {"rows": bytes(rows)})
    with (
        SealedSegment(tmp_path / "bad.seg", 1) as segment,
        pytest.raises(CorruptionError, match="sealed segment 1, rows"),
    ):
        segment.payload(3)


# ---- threads and progress -----------------------------------------------------------------------


def test_many_threads_read_one_segment(large: SealedLedger) -> None:
    """Eight threads over more blocks than are kept, and each gets the payload it asked for."""
    made = large.builder.entries
    with large.open(1) as segment, ThreadPoolExecutor(8) as pool:
        rng = random.Random(1)
        wanted = [rng.randrange(segment.base, segment.end) for _ in range(3000)]
        assert len(segment.table) > 64
        found = list(pool.map(segment.payload, wanted))
    assert found == [made[index].payload for index in wanted]


def test_progress_rises_to_the_count_and_threads_do_not_matter(large: SealedLedger) -> None:
    """The callback sees rising numbers up to the count; one thread finds what three find."""
    border, seen = large.borders()[1], []
    with large.open(1) as segment:
        facts = segment.verify(border, seen.append, threads=1)
        assert segment.verify(border, threads=3) == facts
        assert seen == sorted(set(seen))
        assert len(seen) > 2
        assert seen[-1] == facts.count == 12000


def test_callback_that_raises_ends_the_check(large: SealedLedger) -> None:
    """What the callback raises reaches the caller, and no thread is left behind."""

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    border = large.borders()[1]
    with large.open(1) as segment:
        with pytest.raises(KeyboardInterrupt):
            segment.verify(border, stop)
        assert hashlib.sha256(segment.section("seed")).digest() == segment.footer.sections[6].digest
