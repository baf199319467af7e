"""From an active file to a sealed one: the cut is the documented one, and damage is not sealed."""

from __future__ import annotations

import io
import random
from itertools import pairwise
from pathlib import Path

import msgpack
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger._native import Row, ffi, lib
from ledger.encoding.block import choose_samples, train_dictionary
from ledger.errors import CorruptionError
from ledger.storage.seal import build_segment
from ledger.storage.sealed import Border
from tests.sealed_files import Batch, SealedLedger

BATCHES_BEGIN = 8192


def seal(active: bytes, time_before: int = 0) -> bytes:
    """The sealed file of a first segment."""
    out = io.BytesIO()
    build_segment(active, out, previous_seal_hash=bytes(32), time_before=time_before)
    return out.getvalue()


@pytest.fixture
def ledger(tmp_path: Path) -> SealedLedger:
    """One segment of three batches, 512 bytes each."""
    payloads = [msgpack.packb({"n": n, "text": "x" * 50}) for n in range(3)]
    return SealedLedger(tmp_path, [[Batch(payloads, time) for time in (5, 6, 7)]])


def expected_cut(rows: list[Row], base: int) -> list[tuple[int, int]]:
    """(level, raw bytes) of each block, from the sentence in docs/format.md §7."""
    most = 32 << 10 if sum(row.bytes for row in rows) >= 768 * len(rows) else 16 << 10

    def raw_bytes(run: list[Row]) -> int:
        runs = 1 + sum(a.time != b.time for a, b in pairwise(run))
        return 8 + sum(6 + row.bytes for row in run) + 12 * runs

    cut, at = [], 0
    while at < len(rows):
        fits = [
            (level, raw_bytes(rows[at : at + (1 << level)]))
            for level in range(8)
            if (base + at) % (1 << level) == 0 and at + (1 << level) <= len(rows)
        ]
        cut.append(max(one for one in fits if one[0] == 0 or one[1] <= most))
        at += 1 << cut[-1][0]
    return cut


@settings(max_examples=200)
@given(
    st.integers(0, 1 << 40),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=400),
    st.integers(0, 3),
)
def test_blocks_are_cut_as_documented(base: int, shape: list[tuple[int, int]], scale: int) -> None:
    """The cut in C is the largest aligned run that fits, for any sizes, times and base."""
    rows = [Row(0, time, (1 << size) * 3**scale, 0, 0) for time, size in shape]
    native = ffi.new("ledger_row[]", [(0, row.time, row.bytes, 0, 0, 0) for row in rows])
    levels, raw = ffi.new("uint8_t[]", len(rows)), ffi.new("uint32_t[]", len(rows))
    count = lib.ledger_blocks_cut(native, len(rows), base, levels, raw)
    assert [(levels[k], raw[k]) for k in range(count)] == expected_cut(rows, base)


def test_event_larger_than_a_block_has_its_own(tmp_path: Path) -> None:
    """Events far above the limit of a block are blocks of one, and come back."""
    rng = random.Random(3)
    payloads = [msgpack.packb({"data": rng.randbytes(size)}) for size in (10, 5 << 20, 40_000, 7)]
    ledger = SealedLedger(tmp_path, [[Batch(payloads, 5)]])
    with ledger.open(0) as segment:
        assert [segment.payload(i) for i in range(4)] == payloads
        assert [raw > 32 << 10 for raw in segment.table.raw] == [False, True, True, False]
        assert segment.verify(Border.start(ledger.fingerprint)).count == 4


def test_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    """Sealing again gives equal bytes, whatever the threads: nothing in them is of the moment."""
    rng = random.Random(4)
    payloads = [msgpack.packb({"n": n, "text": f"{rng.getrandbits(99)}" * 9}) for n in range(9000)]
    ledger = SealedLedger(tmp_path, [[Batch(payloads, 5)]])
    out = io.BytesIO()
    build_segment(ledger.actives[0], out, previous_seal_hash=bytes(32), time_before=0, threads=2)
    assert seal(ledger.actives[0]) == out.getvalue() == ledger.path(0).read_bytes()


def test_one_damaged_copy_of_the_header_does_not_matter(ledger: SealedLedger) -> None:
    """Either copy of the active header is enough; without both nothing is sealed."""
    good, want = ledger.actives[0], ledger.path(0).read_bytes()
    first, second = bytearray(good), bytearray(good)
    first[100] ^= 1
    second[4096 + 100] ^= 1
    assert seal(bytes(first)) == seal(bytes(second)) == want
    first[4096 + 100] ^= 1
    with pytest.raises(CorruptionError, match="no copy of its header is whole"):
        seal(bytes(first))


@pytest.mark.parametrize("at", range(BATCHES_BEGIN, BATCHES_BEGIN + 3 * 512, 16))
def test_damaged_batch_is_not_sealed(ledger: SealedLedger, at: int) -> None:
    """A byte of any batch changed: refused, with the segment and the index it would lose first."""
    bad = bytearray(ledger.actives[0])
    bad[at] ^= 1
    with pytest.raises(CorruptionError, match="not sealed") as caught:
        seal(bytes(bad))
    assert caught.value.segment == 0
    assert caught.value.index == (at - BATCHES_BEGIN) // 512 * 3


def test_zeroed_batch_in_the_middle_is_not_the_end(ledger: SealedLedger) -> None:
    """A zeroed batch looks like the end of the log; what follows it proves that it is not."""
    bad = bytearray(ledger.actives[0])
    bad[BATCHES_BEGIN + 512 : BATCHES_BEGIN + 1024] = bytes(512)
    with pytest.raises(CorruptionError, match="is not zero") as caught:
        seal(bytes(bad))
    assert caught.value.index == 3


def test_active_file_of_another_length_is_not_sealed(ledger: SealedLedger) -> None:
    """The header knows the length; a file cut or grown is refused, also when only zeros changed."""
    good = ledger.actives[0]
    for bad in (good[:-512], good + bytes(512), good[:5000], good[:100], b""):
        with pytest.raises(CorruptionError):
            seal(bad)


def test_time_before_the_segment_counts(ledger: SealedLedger) -> None:
    """The flag of the first entry says whether time went back: another time before is noticed."""
    assert seal(ledger.actives[0], time_before=5)
    with pytest.raises(CorruptionError):
        seal(ledger.actives[0], time_before=6)


def test_dictionary_is_trained_when_it_pays() -> None:
    """None below 128 KiB, 4 KiB below 1 MiB, 16 KiB from there; the same each time; none from
    samples that give none."""
    rng = random.Random(5)
    words = [f"{rng.getrandbits(60):x}" for _ in range(300)]
    samples = [" ".join(rng.choices(words, k=400)).encode() for _ in range(60)]
    assert train_dictionary(samples, (128 << 10) - 1) == b""
    small, full = train_dictionary(samples, 128 << 10), train_dictionary(samples, 1 << 20)
    assert (len(small), len(full)) == (4 << 10, 16 << 10)
    assert full == train_dictionary(samples, 1 << 20)
    assert zstandard.ZstdCompressionDict(full).dict_id() != 0
    assert train_dictionary(samples[:1], 1 << 20) == b""


@given(st.lists(st.integers(27, 70_000), max_size=300))
def test_samples_are_bounded_and_spread(raw: list[int]) -> None:
    """At most 400 KiB, no block above the usual size, in order; all of them if they are few."""
    chosen = choose_samples(raw)
    usual = [k for k, size in enumerate(raw) if size <= 32 << 10]
    assert sum(raw[k] for k in chosen) <= 400 << 10
    assert set(chosen) <= set(usual)
    assert chosen == sorted(set(chosen))
    if sum(raw[k] for k in usual) <= 400 << 10:
        assert chosen == usual
