# SPDX-License-Identifier: Apache-2.0
"""What the scan says of an active file, batch by batch, and of what lies after the last (csrc/scan.c)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given

from ledger._native import crc32c, ffi, lib
from tests.active_builder import ActiveBuilder
from tests.sealed_files import Batch, batches, root_of

_BEGIN, _STEP, _TIME = 8192, 512, 10**18


class File:
    """An active file in memory, where each batch begins, and its entries."""

    def __init__(self, made: list[Batch], spare: int = 4096) -> None:
        builder, self.starts = ActiveBuilder(), []
        for batch in made:
            self.starts.append(_BEGIN + len(builder._batches))
            builder.append(batch.payloads, batch.time, batch.kind)
        self.end = _BEGIN + len(builder._batches)
        self.entries, self.fingerprint = builder.entries, builder.fingerprint
        self.data = bytearray(builder.close(spare))
        self.header: Any = ffi.new("ledger_active_header *")
        assert lib.ledger_active_header_decode(bytes(self.data[:4096]), self.header) == lib.LEDGER_OK

    def scan(self, capacity: int = 2000, hashing: int = 1) -> tuple[Any, list[tuple[bytes, int, int]], bytes]:
        """State, (payload, kind, time) of the rows, and leaf hashes."""
        state, rows = ffi.new("ledger_scan_state *"), ffi.new("ledger_row[]", capacity)
        leaves, data = ffi.new("uint8_t[]", capacity * 32), ffi.from_buffer("uint8_t[]", self.data)
        state.end, state.chain.ledger_id, state.chain.link = _BEGIN, self.fingerprint[:16], self.fingerprint
        size = len(self.data)
        assert lib.ledger_scan(data, size, self.header, hashing, state, rows, capacity, leaves) == lib.LEDGER_OK
        found = [(bytes(self.data[r.offset :][: r.bytes]), r.kind, r.time) for r in rows[0 : state.row_count]]
        return state, found, bytes(ffi.buffer(leaves, state.row_count * 32))

    def tail(self, begin: int) -> Any:
        """The facts about [begin, end of file)."""
        facts, data = ffi.new("ledger_tail_facts *"), ffi.from_buffer("uint8_t[]", self.data)
        lib.ledger_scan_tail(data, len(self.data), self.header, begin, facts)
        return facts

    def rewrite(self, number: int, **fields: int) -> None:
        """Change fields of a batch header, its checks made anew as a writer would."""
        at, batch = self.starts[number], ffi.new("ledger_batch_header *")
        salt, data = self.header.salt, ffi.from_buffer("uint8_t[]", self.data)
        assert lib.ledger_batch_header_decode(data + at, salt, self.header.segno, at, batch) == lib.LEDGER_OK
        end = self.starts[number + 1] if number + 1 < len(self.starts) else self.end
        for name, value in {"body_crc": crc32c(bytes(self.data[at + 64 : end])), **fields}.items():
            setattr(batch, name, value)
        lib.ledger_batch_header_encode(batch, salt, self.header.segno, at, data + at)


def five() -> File:
    """Five batches of three events, each of several steps of 512 bytes."""
    return File(
        [Batch([b"\x81\xa1n" + bytes([n])] * 3 + [b"\x81\xa1x\xd9\xfa" + b"y" * 250] * 8, _TIME + n) for n in range(5)]
    )


@given(made=batches())
def test_what_was_written_is_scanned_back(made: list[Batch]) -> None:
    """Payloads, kinds, times, leaf hashes, chain and root are those of the builder."""
    file = File(made)
    state, found, leaves = file.scan()
    assert found == [(e.payload, e.kind, e.time) for e in file.entries]
    assert leaves == b"".join(e.leaf for e in file.entries)
    assert (state.stop, state.end, state.batch_count) == (lib.LEDGER_STOP_ZERO, file.end, len(made))
    root = ffi.new("uint8_t[32]")
    lib.ledger_range_root(ffi.addressof(state, "range"), root)
    assert bytes(root) == root_of([e.leaf for e in file.entries])
    assert file.tail(file.end).nonzero_end == file.end


def test_a_file_torn_at_any_step_ends_before_the_torn_batch() -> None:
    """Everything from some multiple of 512 on is zero: whole batches before it are kept, nothing else."""
    whole = five()
    for torn in range(_BEGIN, whole.end, _STEP):
        file = five()
        file.data[torn:] = bytes(len(file.data) - torn)
        state, _, _ = file.scan()
        kept = [s for s in [*whole.starts[1:], whole.end] if s <= torn]
        assert state.end == (kept[-1] if kept else _BEGIN)
        at_border = torn in whole.starts
        assert state.stop == (lib.LEDGER_STOP_ZERO if at_border else lib.LEDGER_STOP_BODY)


def test_no_byte_of_a_batch_can_change() -> None:
    """Each byte of the third batch flipped ends the scan before it."""
    file = five()
    for place in range(file.starts[2], file.starts[3]):
        file.data[place] ^= 0x40
        state, _, _ = file.scan()
        assert state.end == file.starts[2], f"byte {place}"
        expected = lib.LEDGER_STOP_HEADER if place - file.starts[2] < 64 else lib.LEDGER_STOP_BODY
        assert state.stop == expected
        file.data[place] ^= 0x40


def test_a_sound_batch_that_does_not_follow_is_told_from_a_damaged_one() -> None:
    """Base index, incarnation, a sync of the future, another payload under right checksums: CHAIN."""
    for change in ({"base": 23}, {"base": 21}, {"synced_end": 1 << 30}):
        file = five()
        file.rewrite(2, **change)
        assert file.scan()[0].stop == lib.LEDGER_STOP_CHAIN
    file = five()
    file.rewrite(1, incarnation=5)
    state, _, _ = file.scan()
    assert (state.stop, state.end) == (lib.LEDGER_STOP_CHAIN, file.starts[2])
    file = five()
    file.data[file.starts[2] + 64 + 8 + 3] ^= 1
    file.rewrite(2)
    assert file.scan()[0].stop == lib.LEDGER_STOP_CHAIN
    assert file.scan(hashing=0)[0].stop == lib.LEDGER_STOP_ZERO


@pytest.mark.parametrize("place", [64 + 4, 64 + 5, 64 + 6, 64 + 7, 64 + 12, 64 + 3])
def test_records_against_the_rules_are_refused_under_right_checksums(place: int) -> None:
    """A kind, flag, zero, padding or length that no writer writes."""
    file = five()
    file.data[file.starts[2] + place] ^= 2
    file.rewrite(2)
    assert file.scan()[0].stop == lib.LEDGER_STOP_BODY


def test_full_rows_stop_the_scan_at_a_batch() -> None:
    """ROWS: the batch that does not fit is left whole for the next call."""
    file = five()
    state, found, _ = file.scan(capacity=32)
    assert (state.stop, state.end, len(found)) == (lib.LEDGER_STOP_ROWS, file.starts[2], 22)


def test_later_headers_give_evidence() -> None:
    """The tail after a damaged batch: its sound headers are counted, and the greatest synced_end is named."""
    file = five()
    file.rewrite(3, synced_end=file.starts[3])
    file.rewrite(4, synced_end=file.starts[4])
    file.data[file.starts[2] + 100] ^= 1
    facts = file.tail(file.scan()[0].end)
    assert (facts.header_count, facts.entry_count) == (3, 33)
    assert (facts.synced_end, facts.witness_offset) == (file.starts[4], file.starts[4])
    assert facts.nonzero_end == len(bytes(file.data).rstrip(b"\0"))


def test_bytes_that_only_look_like_a_batch_are_no_evidence() -> None:
    """A batch header at another offset, or made without the salt, does not count."""
    file = five()
    stray = bytes(file.data[file.starts[1] :][:64])
    file.data[file.end : file.end + 64] = stray
    file.data[file.end + 512 : file.end + 576] = hashlib.sha512(b"planted").digest()
    assert file.tail(file.end).header_count == 0
    assert file.scan()[0].stop == lib.LEDGER_STOP_HEADER
