# SPDX-License-Identifier: Apache-2.0
"""The second reader agrees with the engine on every byte, and refuses what is not as docs/format.md says."""

from __future__ import annotations

import math
import shutil
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import CorruptionError, Ledger
from ledger.note import NoteSigner
from ledger.reader import Reading, main, read_ledger
from ledger.reader_parts import crc32c, siphash24, unpack

SEGMENT_BYTES = 1 << 20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sealed files, each with the note of the seal before, and an active file of several batches."""
    path = tmp_path_factory.mktemp("reader") / "small"
    with Ledger(path, segment_bytes_max=SEGMENT_BYTES) as log:
        log.append({"event": "one"})
        log.append_many([{"i": i, "text": "x" * (i % 7)} for i in range(20)])
        log.seal()
        log.append_many([{"i": i} for i in range(9)])
        log.seal()
        log.append_many([{"last": i} for i in range(3)])
        log.append({"event": "end"})
    return path


def read_all(path: Path) -> Reading:
    reading = read_ledger(path)
    assert [entry.index for entry in reading] == list(range(reading.size))
    return reading


def assert_agrees(path: Path) -> None:
    """Both readers see the same ledger, to the byte."""
    reading = read_ledger(path)
    with Ledger(path, readonly=True) as log:
        for entry, item in zip(reading, log.entries(), strict=True):
            assert (entry.index, entry.kind, entry.time_ns, entry.payload) == (
                item.index, item.kind, item.time_ns, item.payload)  # fmt: skip
            assert (entry.entry, entry.salt) == (log.entry(entry.index), log.salt(entry.index))
        assert (reading.size, reading.root, reading.fingerprint) == (log.size, log.root, log.fingerprint)
    assert reading.unchecked == []


def test_both_readers_see_the_same_small_ledger(small: Path) -> None:
    """Size, root, and every payload, entry and salt are equal."""
    assert_agrees(small)


@pytest.mark.parametrize("payload_bytes", [0, 100, 740, 790, 20_000])
def test_both_readers_see_the_same_blocks(tmp_path: Path, payload_bytes: int) -> None:
    """Blocks have the levels that the format wants, at small, middling and large payloads; so do nodes."""
    count = 1200 if payload_bytes < 1000 else 30
    with Ledger(tmp_path / "a", segment_bytes_max=4 << 20) as log:
        for part in range(3):
            log.append_many([{"i": i, "text": "y" * payload_bytes} for i in range(part, count // 3)])
            log.append({"part": part, "t": msgpack.Timestamp(part, part)})
        log.seal()
        log.append({"after": True})
    assert_agrees(tmp_path / "a")


def test_a_checkpoint_is_compared(tmp_path: Path) -> None:
    """The root of a stored checkpoint is that of the entries."""
    signer = NoteSigner("any", Ed25519PrivateKey.generate())
    with Ledger(tmp_path / "a", signer=signer) as log:
        log.append({"a": 1})
        log.checkpoint()
        log.append({"a": 2})
    assert_agrees(tmp_path / "a")


def test_a_ledger_of_many_segments_and_openings(tmp_path: Path) -> None:
    """Both readers agree where segments were rolled and sealed in the background, and the ledger opened again."""
    for opening in range(4):
        with Ledger(tmp_path / "a", segment_bytes_max=SEGMENT_BYTES, segment_entries_max=50) as log:
            for part in range(30):
                log.append_many([{"opening": opening, "part": part, "i": i} for i in range(part % 9)])
                log.append({"part": part})
        assert_agrees(tmp_path / "a")


def test_a_torn_tail_is_left_out_and_said(small: Path, tmp_path: Path) -> None:
    """Bytes that nothing acknowledges are no corruption: the reader stops before them and says so."""
    path = shutil.copytree(small, tmp_path / "a")
    whole = read_all(path)
    (file,) = (path / "active").glob("*")
    data = bytearray(file.read_bytes())
    end = len(data.rstrip(b"\0")) + 511 & ~511
    data[end : end + 100] = b"torn" * 25
    file.write_bytes(data)
    torn = read_all(path)
    assert (torn.size, torn.root) == (whole.size, whole.root)
    assert torn.unchecked == [f"{file.name}: bytes from offset {end} on, not acknowledged"]


def places(data: bytes, stride: int) -> Iterable[int]:
    """Every `stride`-th byte that is not in a long run of zeros; of a run, its ends and a few inside."""
    at = 0
    while at < len(data):
        run = len(data) - at - len(data[at:].lstrip(b"\0"))
        if run > 64:
            yield from (at, at + 1, at + run // 2, at + run - 1)
        else:
            yield at
        at += max(run if run > 64 else 1, stride)


def refused(path: Path) -> bool:
    """The reader raises, or says that bytes were left out which nothing acknowledges."""
    try:
        return bool(read_all(path).unchecked)
    except CorruptionError as error:
        return str(path) in str(error) and error.offset is not None


@pytest.mark.parametrize(
    ("name", "stride"),
    [("LEDGER", 1), ("HEAD", 1), ("sealed/*0.seg", 1), ("sealed/*1.seg", 2), ("active/*", 2), ("MANIFEST-*2", 1)],
)
def test_a_flipped_bit_is_refused(small: Path, tmp_path: Path, name: str, stride: int) -> None:
    """No bit of a file that the format speaks for can change unnoticed."""
    path = shutil.copytree(small, tmp_path / "a")
    (file,) = path.glob(name)
    data = file.read_bytes()
    accepted = []
    with file.open("r+b", buffering=0) as stream:
        for at in places(data, stride):
            if name == "HEAD" and at % 4096 >= 136 + 32 * data[at // 4096 * 4096 + 128]:
                continue  # after the peaks of the slot
            stream.seek(at)
            stream.write(bytes([data[at] ^ 1 << at % 8]))
            if not refused(path):
                accepted.append(at)
            stream.seek(at)
            stream.write(data[at : at + 1])
    assert accepted == []
    assert read_all(path).unchecked == []


@pytest.mark.parametrize("name", ["sealed/*0.seg", "active/*"])
def test_a_file_cut_short_is_refused(small: Path, tmp_path: Path, name: str) -> None:
    """A length that the format does not give is corruption, at any cut."""
    path = shutil.copytree(small, tmp_path / "a")
    (file,) = path.glob(name)
    data = file.read_bytes()
    for length in {min(n, len(data) - 1) for n in (0, 63, 511, 512, 807, 808, 4096, 8192, 1 << 19, 1 << 30)}:
        file.write_bytes(data[:length])
        with pytest.raises(CorruptionError):
            read_all(path)


def test_a_missing_sealed_file_is_refused(small: Path, tmp_path: Path) -> None:
    """Segments are counted from 0 without a gap, and the manifest names each."""
    for name in ("*0.seg", "*1.seg"):
        path = shutil.copytree(small, tmp_path / name[1:])
        next((path / "sealed").glob(name)).unlink()
        with pytest.raises(CorruptionError):
            read_all(path)


def test_the_command_tells_by_its_exit_code(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 good, 1 corrupt, 2 usage, 3 not there, 4 not all checked: here, for want of a zstd."""
    path = shutil.copytree(small, tmp_path / "a")
    assert main([str(path)]) == 0
    good = capsys.readouterr().out
    assert main([]) == main(["-h"]) == 2
    assert main([str(tmp_path / "none")]) == 3
    with monkeypatch.context() as context:
        for module in ("zstandard", "compression"):
            context.setitem(sys.modules, module, None)
        assert main([str(path)]) == 4
        partly = capsys.readouterr().out
        assert partly.splitlines()[:3] == good.splitlines()[:3]  # size, root and F all the same
        assert "no zstd" in partly
    file = path / "LEDGER"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert main([str(path)]) == 1
    assert "LEDGER" in capsys.readouterr().err


def test_the_sums_are_those_of_their_authors() -> None:
    """Check value of CRC32C (RFC 3720 §B.4 gives 32 zeros); first and fifteenth vector of SipHash-2-4."""
    key = bytes(range(16))
    assert (crc32c(b"123456789"), crc32c(bytes(32))) == (0xE3069283, 0x8A9136AA)
    assert siphash24(key, b"") == 0x726FDB47DD0E0E31
    assert siphash24(key, bytes(range(15))) == 0xA129CA6149BE45E5


NESTED = {"a": [None, True, -1, -33, 2**64 - 1, -(2**63), 1.5, "ü" * 40, b"x" * 300, {str(i): i for i in range(20)}]}


@pytest.mark.parametrize(
    "value", [NESTED, *(s * 2**k + d for k in (5, 7, 8, 15, 16, 31, 32) for d in (-1, 0) for s in (1, -1))]
)
def test_the_exact_form_is_taken(value: object) -> None:
    """What packs to the shortest form comes back."""
    assert unpack(msgpack.packb(value)) == value


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x92\x01", b"\x01\x01", b"\xcc\x7f", b"\xcd\x00\xff", b"\xd0\x01", b"\xd1\xff\xff", b"\xd9\x01a",
        b"\xdc\x00\x01\x01", b"\xc5\x00\x01a", b"\xa1\xff", b"\xc1", b"\xca\x00\x00\x00\x00", b"\x81\x01\x01",
        b"\x82\xa1a\x01\xa1a\x02", b"\xd6\x00\x00\x00\x00\x00", b"\xd4\xff\x00", b"\xd7\xff" + bytes(8),
        b"\xc7\x0c\xff" + bytes(12), b"\xd7\xff" + struct.pack(">Q", 10**9 << 34),
        b"\xcb" + struct.pack(">d", math.nan),
        b"\x91" * 33 + b"\x01",
    ],
)  # fmt: skip
def test_any_other_form_is_refused(data: bytes) -> None:
    """Cut, followed by more, longer than needed, of a type that events do not have, or nested too deep."""
    with pytest.raises(ValueError, match=r"before byte|codec|too early"):
        unpack(data)


def test_32_nested_arrays_are_taken() -> None:
    """The bound on nesting is the number of maps and arrays around a value."""
    assert unpack(b"\x91" * 31 + b"\x90")
