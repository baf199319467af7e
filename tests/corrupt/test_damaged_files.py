"""Larger damage: zeroed ranges, files cut, grown, missing, or of another ledger. Refused, and nothing changed."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from ledger.engine import Ledger
from ledger.errors import CorruptionError, LedgerError
from tests.crash.workload import check, event

ACTIVE = f"active/{1:020}.act"
SEALED = f"sealed/{0:020}.seg"


class Built:
    """Twenty events sealed, then five batches whose offsets are known; two closed lives of one ledger."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with Ledger(path) as log:
            self.sealed = {r.index: event(r.index) for r in log.append_many([event(i) for i in range(1, 21)])}
            log.seal()
            self.first = log.size
            self.offsets = [int(log._open_writer().head().written_end)]
            for index in range(self.first, self.first + 5):
                assert log.append(event(index, 600)).index == index
                self.offsets.append(int(log._open_writer().head().written_end))

    def now(self) -> dict[Path, bytes]:
        files = (p for p in self.path.rglob("*") if p.is_file() and p.name != "lock")
        return {p: p.read_bytes() for p in files}

    def refused(self) -> CorruptionError:
        """The error that both openings, or reading all, end in; no file is changed."""
        before = self.now()
        errors = []
        for readonly in (True, False):
            with pytest.raises(CorruptionError) as caught, Ledger(self.path, readonly=readonly) as log:
                list(log.entries())
            errors.append(caught.value)
        assert self.now() == before
        return errors[0]


@pytest.fixture
def built(tmp_path: Path) -> Built:
    return Built(tmp_path / "log")


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("head", ["there", "lost"])
@pytest.mark.parametrize("within", [0, 20, 52, 60, 70, 400])
def test_third_of_five_batches(built: Built, head: str, within: int) -> None:
    """Damage in batch 3 is no torn tail, with HEAD or without it: batches 4 and 5 prove that it was synced."""
    path, at = built.path / ACTIVE, built.offsets[2]
    patch(path, at + within, bytes([path.read_bytes()[at + within] ^ 4]))
    if head == "lost":
        (built.path / "HEAD").write_bytes(bytes(8192))
    error = built.refused()
    assert (error.segment, error.offset, error.index) == (1, at, built.first + 2)
    with Ledger(built.path, salvage=True) as log:
        assert list(log) == [*built.sealed.values(), event(built.first, 600), event(built.first + 1, 600)]


@pytest.mark.parametrize("head", ["there", "lost"])
@pytest.mark.parametrize("size", [8, 512, 4096])
def test_zeros_in_the_middle(built: Built, head: str, size: int) -> None:
    """Zeros over the begin of a batch are not the end of the log."""
    patch(built.path / ACTIVE, built.offsets[1], bytes(min(size, built.offsets[4] - built.offsets[1])))
    if head == "lost":
        (built.path / "HEAD").write_bytes(bytes(8192))
    assert built.refused().index == built.first + 1


def test_last_batch_with_head(built: Built) -> None:
    """HEAD acknowledges the last batch: damage in it is refused, each of its sectors zeroed in turn."""
    data = (built.path / ACTIVE).read_bytes()
    begin, end = built.offsets[-2:]
    for at in range(begin, end, 512):
        patch(built.path / ACTIVE, at, bytes(512))
        assert built.refused().index == built.first + 4
        patch(built.path / ACTIVE, at, data[at : at + 512])
    check(built.path, built.sealed)


@pytest.mark.parametrize("file", [ACTIVE, SEALED])
@pytest.mark.parametrize("change", [-4096, -512, -1, 1, 512, 4096])
def test_size_is_not_what_the_file_says(built: Built, file: str, change: int) -> None:
    """A file cut or grown is damaged."""
    path = built.path / file
    data = path.read_bytes()
    path.write_bytes(data[:change] if change < 0 else data + bytes(change))
    built.refused()


@pytest.mark.parametrize("file", [ACTIVE, SEALED])
def test_missing_file(built: Built, file: str) -> None:
    """A missing segment is refused: what follows it, or HEAD, proves that it was there."""
    (built.path / file).unlink()
    built.refused()


@pytest.mark.parametrize("file", [ACTIVE, SEALED])
def test_file_of_another_ledger(built: Built, tmp_path: Path, file: str) -> None:
    """A sound file of another ledger under the right name is refused."""
    other = Built(tmp_path / "other")
    shutil.copyfile(other.path / file, built.path / file)
    built.refused()


@pytest.mark.parametrize("name", ["HEAD", "manifest", "both"])
def test_files_that_hold_no_evidence(built: Built, name: str) -> None:
    """Without HEAD's content or any manifest, everything is still there, and appends go on."""
    if name != "manifest":
        (built.path / "HEAD").write_bytes(bytes(8192))
    if name != "HEAD":
        for manifest in built.path.glob("MANIFEST-*"):
            manifest.unlink()
    kept = {i: event(i, 600) for i in range(built.first, built.first + 5)}
    check(built.path, built.sealed | kept)


def test_batches_are_swapped(built: Built) -> None:
    """Two batches of equal length in each other's place are damage: each is bound to its offset."""
    data = (built.path / ACTIVE).read_bytes()
    spans = list(pairwise(built.offsets))
    (a, b), (c, d) = spans[1], spans[2]
    assert b - a == d - c
    patch(built.path / ACTIVE, a, data[c:d] + data[a:b])
    assert built.refused().index == built.first + 1


def test_leftover_temporary_files(built: Built) -> None:
    """Files of a killed build are never read."""
    for name in ("active/2.prepare.1.tmp", f"sealed/{1:020}.seg.1.tmp", "LEDGER.1.tmp"):
        (built.path / name).write_bytes(b"half")
    check(built.path, built.sealed)


def test_error_is_one_of_ours(tmp_path: Path) -> None:
    """A folder of other things is refused, and stays as it is."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(LedgerError):
        Ledger(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
