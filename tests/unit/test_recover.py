# SPDX-License-Identifier: Apache-2.0
"""The decision table of storage/recover.py on real ledgers: what is set aside, and what is refused untouched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger import CorruptionError, Ledger
from ledger._native import ffi, lib
from ledger.storage.active import ActiveSegment
from ledger.storage.paths import Paths

_STEP, _EVENT = 512, {"text": "x" * 1500}


def made(path: Path, batches: int = 5, **limits: int) -> list[int]:
    """A ledger of one event a batch, and the offset of each batch of its file and of the end."""
    with Ledger(path, segment_bytes_max=1 << 16, **limits) as log:
        for n in range(batches):
            log.append(_EVENT | {"n": n})
    paths = Paths(path)
    with Ledger(path, readonly=True) as log:
        fingerprint = log.fingerprint
    segment = ActiveSegment(active(path), fingerprint)
    assert paths.active(0) == active(path)
    segment.scan_to(int(segment.header.file_bytes))
    starts = [segment.row(i).offset - 72 for i in range(segment.size)]
    segment.close()
    return [*starts, segment.end]


def active(path: Path) -> Path:
    """The first active file."""
    return sorted((path / "active").iterdir())[0]


def overwrite(file: Path, offset: int, data: bytes) -> None:
    """Bytes at an offset, as a disk or a hand would leave them."""
    with file.open("r+b") as out:
        out.seek(offset)
        out.write(data)


def forget_head(path: Path) -> None:
    """HEAD as after a power cut that lost it."""
    (path / "HEAD").write_bytes(bytes(8192))


def digest(path: Path) -> dict[str, str]:
    """Every file of the ledger and its hash."""
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def refused_untouched(path: Path) -> CorruptionError:
    """The refusal to open for writing; no byte of any file changed."""
    before = digest(path)
    with pytest.raises(CorruptionError) as caught:
        Ledger(path)
    assert digest(path) == before
    return caught.value


def test_a_lost_head_over_a_clean_log_is_made_anew(tmp_path: Path) -> None:
    """CLEAN: every event is there, nothing is set aside, no note."""
    path = tmp_path / "a"
    made(path)
    forget_head(path)
    with Ledger(path) as log:
        assert [e["n"] for e in log] == [0, 1, 2, 3, 4]
        assert log.size == 6
        assert log.append({"n": 5}).index == 6
    assert list((path / "quarantine").iterdir()) == []


def test_a_torn_tail_that_nothing_proves_is_set_aside_zeroed_and_noted(tmp_path: Path) -> None:
    """TORN: the last batch, half written and never acknowledged."""
    path = tmp_path / "a"
    starts = made(path)
    tail = bytearray(active(path).read_bytes()[starts[5] : starts[6]])
    tail[1000:] = bytes(len(tail) - 1000)
    overwrite(active(path), starts[5], bytes(tail))
    forget_head(path)
    with Ledger(path) as log:
        assert [e["n"] for e in log] == [0, 1, 2, 3]
        note = log[5]
        log.append({"n": 9})
    lost = bytes(tail).rstrip(b"\0")
    assert (note["note"], note["segno"], note["offset"]) == ("recovered", 0, starts[5])
    assert (note["length"], note["sha256"]) == (len(lost), hashlib.sha256(lost).digest())
    kept = [p for p in (path / "quarantine").iterdir() if p.suffix == ".bin"]
    assert [p.read_bytes() for p in kept] == [lost]
    with Ledger(path) as log:
        assert [item.index for item in log.entries() if item.kind == 1] == [0, 5]


def test_rubbish_after_the_log_is_zeroed_to_its_end(tmp_path: Path) -> None:
    """TORN: what recovery sets aside leaves zeros up to the end of the file."""
    path = tmp_path / "a"
    starts = made(path)
    overwrite(active(path), starts[6] + 3 * _STEP, b"rubbish")
    forget_head(path)
    Ledger(path).close()
    assert b"rubbish" not in active(path).read_bytes()
    (kept,) = [p for p in (path / "quarantine").iterdir() if p.suffix == ".bin"]
    assert kept.read_bytes() == bytes(3 * _STEP) + b"rubbish"


@pytest.mark.parametrize("place", [0, 20, 56, 64, 90, 1000])
def test_a_flip_before_a_whole_batch_is_corruption(tmp_path: Path, place: int) -> None:
    """CORRUPT: batch 3 of 5 damaged, batch 4 whole: it says that batch 3 was synced. Nothing is changed."""
    path = tmp_path / "a"
    starts = made(path)
    flipped = active(path).read_bytes()[starts[3] + place] ^ 1
    overwrite(active(path), starts[3] + place, bytes([flipped]))
    forget_head(path)
    error = refused_untouched(path)
    assert (error.segment, error.offset, error.index) == (0, starts[3], 3)
    with Ledger(path, salvage=True) as log:
        assert [e["n"] for e in log] == [0, 1]


@pytest.mark.parametrize("size", [8, 512, 4096])
def test_zeros_amid_the_log_are_corruption(tmp_path: Path, size: int) -> None:
    """CORRUPT: zeros where the log seems to end, yet batches follow."""
    path = tmp_path / "a"
    starts = made(path, 8)
    overwrite(active(path), starts[2], bytes(size))
    forget_head(path)
    assert refused_untouched(path).offset == starts[2]


def cut(path: Path, starts: list[int]) -> None:
    """The last batch gone without a trace."""
    overwrite(active(path), starts[-2], bytes(starts[-1] - starts[-2]))


def dirty(path: Path) -> None:
    """HEAD of another boot, marked dirty: recovery runs, and what HEAD acknowledges is kept."""
    head, slot = ffi.new("ledger_head *"), ffi.new("uint8_t[4096]")
    assert lib.ledger_head_parse((path / "HEAD").read_bytes(), head) == lib.LEDGER_OK
    head.boot_id, head.flags = b"another boot 123", 2
    assert lib.ledger_head_format(head, slot) == lib.LEDGER_OK
    (path / "HEAD").write_bytes(bytes(slot) * 2)


def test_head_of_any_boot_bounds_what_may_be_missing(tmp_path: Path) -> None:
    """CORRUPT: HEAD acknowledges the batch that is gone; without HEAD nothing tells."""
    path = tmp_path / "a"
    starts = made(path)
    dirty(path)
    cut(path, starts)
    error = refused_untouched(path)
    assert error.offset == starts[-2]
    assert error.evidence is not None
    assert "HEAD" in error.evidence
    forget_head(path)
    with Ledger(path) as log:
        assert len(log) == 4


@pytest.mark.parametrize("batch", [2, 5])
def test_damage_under_a_head_that_is_whole_is_refused_too(tmp_path: Path, batch: int) -> None:
    """CORRUPT without recovery: opened, or read up to what HEAD acknowledges, amid the log or at its end."""
    path = tmp_path / "a"
    starts = made(path)
    overwrite(active(path), starts[batch] + 100, b"\xff\xfe")
    before = digest(path)
    with pytest.raises(CorruptionError) as caught, Ledger(path, readonly=True) as log:
        list(log)
    assert (caught.value.offset, caught.value.index) == (starts[batch], batch)
    assert digest(path) == before


def test_a_checkpoint_bounds_what_may_be_missing(tmp_path: Path) -> None:
    """CORRUPT: a checkpoint covers the entry that is gone, though HEAD is lost too."""
    path = tmp_path / "a"
    with Ledger(path, segment_bytes_max=1 << 16, new_key=True) as log:
        for n in range(5):
            log.append(_EVENT | {"n": n})
        log.checkpoint()
    starts = made(path, 0)
    cut(path, starts)
    forget_head(path)
    error = refused_untouched(path)
    assert error.evidence is not None
    assert "checkpoint of 6" in error.evidence


def test_a_file_of_another_size_than_its_header_says_is_refused(tmp_path: Path) -> None:
    """CORRUPT: cut or grown from outside, HEAD lost or not."""
    for name, change in (("cut", -_STEP), ("grown", _STEP)):
        path = tmp_path / name
        made(path)
        size = active(path).stat().st_size
        with active(path).open("r+b") as file:
            file.truncate(size + change)
        forget_head(path)
        assert "header says" in str(refused_untouched(path))


def test_both_copies_of_the_header_damaged_is_refused(tmp_path: Path) -> None:
    """CORRUPT: no header over a body that holds batches."""
    path = tmp_path / "a"
    made(path)
    for copy in (0, 4096):
        overwrite(active(path), copy + 100, b"\xff\x00\xff")
    forget_head(path)
    refused_untouched(path)
    with pytest.raises(CorruptionError):
        Ledger(path, readonly=True)


@pytest.mark.parametrize("copy", [0, 4096])
@pytest.mark.parametrize("lose", [forget_head, lambda _: None], ids=["HEAD lost", "HEAD there"])
def test_one_damaged_copy_of_the_header_is_served_around_and_told(
    tmp_path: Path, copy: int, lose: Callable[[Path], None]
) -> None:
    """Reads and appends work; `stats()["degraded"]` names the file."""
    path = tmp_path / "a"
    made(path)
    overwrite(active(path), copy + 100, b"\xff\x00\xff")
    lose(path)
    with Ledger(path) as log:
        log.append({"n": 5})
        assert [e["n"] for e in log] == [0, 1, 2, 3, 4, 5]
        assert any("header" in text for text in log.stats()["degraded"])


def test_a_recovered_ledger_recovers_to_the_same(tmp_path: Path) -> None:
    """Recovery of what recovery left changes no event, and repeats no note."""
    path = tmp_path / "a"
    starts = made(path)
    cut(path, starts)
    forget_head(path)
    Ledger(path).close()
    with Ledger(path, readonly=True) as log:
        events, size = list(log), log.size
    forget_head(path)
    with Ledger(path) as log:
        assert (list(log), log.size) == (events, size)
