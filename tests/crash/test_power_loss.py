"""Power loss: of what no sync covered, any sectors are on the disk and the others are zeros.

A batch is written over zeros in sectors of 512 bytes, so every subset of its sectors is a state that a disk may be
found in; HEAD is not synced, so it is found as it was before, or not at all. Keeps REC-1, REC-2, ACK-1."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from itertools import chain, combinations
from pathlib import Path

import pytest

from ledger.engine import Ledger
from ledger.errors import CorruptionError
from tests.crash.workload import check, copy_as_original, event

SECTOR = 512
HEADER = 4096
HEADS = ["before", "lost"]


class Lost:
    """A ledger before and after its last batch, to be put on the disk in states between."""

    def __init__(self, folder: Path) -> None:
        self.before, self.after = folder / "before", folder / "after"
        with Ledger(self.before, segment_bytes_max=1 << 16) as log:
            self.acknowledged = {log.append(event(step)).index: event(step) for step in range(3)}
            self.begin = int(log._open_writer().head().written_end)
        copy_as_original(self.before, self.after)
        with Ledger(self.after) as log:
            log.append_many([event(step, 900) for step in range(3, 9)])
            self.end = int(log._open_writer().head().written_end)
        self.batch = (self.after / "active" / f"{0:020}.act").read_bytes()[self.begin : self.end]

    def state(self, target: Path, written: bytes, head: str) -> Path:
        """The ledger at `target` with `written` where the last batch goes."""
        copy_as_original(self.before, target)
        with (target / "active" / f"{0:020}.act").open("r+b") as file:
            file.seek(self.begin)
            file.write(written)
        if head == "lost":
            (target / "HEAD").write_bytes(bytes(8192))
        elif head == "after":
            shutil.copy(self.after / "HEAD", target / "HEAD")
        return target


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Lost:
    return Lost(tmp_path_factory.mktemp("lost"))


@pytest.fixture(autouse=True)
def rebooted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system that opens the ledger is not the one that wrote it."""
    for module in ("writer", "recover"):
        monkeypatch.setattr(f"ledger.storage.{module}.boot_id", lambda: b"after the outage")


def sector_subsets(batch: bytes) -> Iterator[bytes]:
    """`batch` with every subset of its sectors, the whole one left out."""
    sectors = [batch[at : at + SECTOR] for at in range(0, len(batch), SECTOR)]
    numbers = range(len(sectors))
    for kept in chain.from_iterable(combinations(numbers, n) for n in numbers):
        yield b"".join(s if i in kept else bytes(SECTOR) for i, s in enumerate(sectors))


def torn_states(batch: bytes) -> Iterator[bytes]:
    yield from sector_subsets(batch)
    yield batch[:1]
    yield batch[:-1] if batch[-1] else batch[: len(batch.rstrip(b"\x00")) - 1]
    for cut in range(SECTOR, len(batch), SECTOR):
        yield batch[:cut]
        yield batch[:cut] + b"\xa5" * (len(batch) - cut)  # the file grew over old blocks


def digests(root: Path) -> dict[Path, str]:
    """Every file but the lock, whose shared page says who is there."""
    files = (p for p in root.rglob("*") if p.is_file() and p.name != "lock")
    return {p.relative_to(root): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("head", HEADS)
def test_unsynced_batch_is_torn(tmp_path: Path, lost: Lost, head: str) -> None:
    """Whatever sectors remain of a batch nobody was told of: it goes whole, to quarantine, with a note of it."""
    assert len(lost.batch) >= 6 * SECTOR
    for number, written in enumerate(torn_states(lost.batch)):
        path = lost.state(tmp_path / str(number), written, head)
        check(path, lost.acknowledged, absent=tuple(event(step, 900) for step in range(3, 9)))
        tail = written.rstrip(b"\x00")
        with Ledger(path, readonly=True) as log:
            notes = [log[item.index] for item in log.entries(1) if item.kind == 1]
        notes = [note for note in notes if note["note"] == "recovered"]
        kept = [p.read_bytes() for p in (path / "quarantine").iterdir() if p.suffix == ".bin"]
        if not tail:
            assert (notes, kept) == ([], [])
            continue
        assert [k.rstrip(b"\x00") for k in kept] == [tail]
        assert len(notes) == 1
        assert notes[0]["offset"] == lost.begin
        assert notes[0]["sha256"] == hashlib.sha256(kept[0]).digest()
        shutil.rmtree(path)


@pytest.mark.parametrize("head", HEADS)
def test_unsynced_batch_is_whole(tmp_path: Path, lost: Lost, head: str) -> None:
    """A batch that reached the disk whole, though nobody was told, is kept: its indices are taken."""
    path = lost.state(tmp_path / "log", lost.batch, head)
    check(path, lost.acknowledged | {4 + i: event(3 + i, 900) for i in range(6)})


def test_acknowledged_batch_is_torn(tmp_path: Path, lost: Lost) -> None:
    """Where HEAD acknowledges the batch, a tear is no tear but damage: refused, and no byte is changed."""
    for number, written in enumerate(torn_states(lost.batch)):
        path = lost.state(tmp_path / str(number), written, "after")
        found = digests(path)
        for readonly in (True, False):
            with pytest.raises(CorruptionError):
                Ledger(path, readonly=readonly).close()
        assert digests(path) == found
        shutil.rmtree(path)


def headers(whole: bytes) -> Iterator[bytes]:
    """The two header copies of a next file, of which no sync returned."""
    for cut in range(0, HEADER, SECTOR):
        torn = whole[:cut] + bytes(HEADER - cut)
        late = bytes(cut) + whole[cut:]
        for pair in ((torn, bytes(HEADER)), (torn, torn), (whole, torn), (torn, whole), (late, late)):
            yield b"".join(pair)


@pytest.mark.parametrize("head", HEADS)
def test_roll_is_cut_short(tmp_path: Path, lost: Lost, head: str) -> None:
    """A next file whose header is there in part was not begun, or was begun: nothing is lost, appends go on."""
    rolled = copy_as_original(lost.before, tmp_path / "rolled")
    with Ledger(rolled) as log:
        log._open_writer().roll()
    next_file = f"active/{1:020}.act"
    whole = (rolled / next_file).read_bytes()
    for number, pair in enumerate(headers(whole[:HEADER])):
        path = lost.state(tmp_path / str(number), b"", head)
        (path / next_file).write_bytes(pair + whole[2 * HEADER :])
        check(path, lost.acknowledged)
        with Ledger(path) as log:
            log.seal()
        shutil.rmtree(path)
