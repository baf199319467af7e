# SPDX-License-Identifier: Apache-2.0
"""Repair: a new ledger from what a damaged one still holds. Nothing invented, nothing lost in silence, the damaged
one untouched."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger import CorruptionError, EnvironmentFailure, Ledger, UsageError
from ledger.encoding import event as events
from ledger.proofs.statements import open_statement
from ledger.proofs.verification import verify
from ledger.repairing import Repair, repair
from ledger.storage.active import BATCHES_BEGIN
from tests.unit.test_cli import json_of

Entries = dict[int, tuple[int, int, bytes]]
SEALED, ACTIVE = f"sealed/{0:020}.seg", f"active/{1:020}.act"
FIRST = BATCHES_BEGIN + 512  # the batch of index 702, after that of the "sealed" note; 1024 bytes, as the 19 after it


class Damaged:
    """A ledger with a sealed segment of many blocks, an active one of many batches, and all that it held."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with Ledger(path, new_key=True, name="shop") as log:
            self.vkey = log.signer().vkey
            log.append_many([{"n": n, "text": "x" * (n % 90)} for n in range(700)])
            log.checkpoint()
            log.seal()
            for n in range(700, 720):
                log.append({"n": n, "text": "y" * 700})
            log.append_many([{"n": n} for n in range(720, 760)])
            self.entries: Entries = {item.index: item[1:] for item in log.entries()}
            self.sealed_end = log.segments[0]["end"]

    def file(self, name: str) -> bytearray:
        return bytearray((self.path / name).read_bytes())

    def put(self, name: str, data: bytes) -> None:
        (self.path / name).write_bytes(data)

    def now(self) -> dict[Path, bytes]:
        return {file: file.read_bytes() for file in self.path.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Damaged]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEALEDGER_KEY_DIR", str(tmp_path_factory.mktemp("keys")))
        yield Damaged(tmp_path_factory.mktemp("log") / "a")


@pytest.fixture
def damaged(built: Damaged, tmp_path: Path) -> Damaged:
    """A fresh copy, to be damaged."""
    copy = object.__new__(Damaged)
    copy.__dict__ = {**built.__dict__, "path": shutil.copytree(built.path, tmp_path / "a")}
    return copy


def carried(log: Ledger) -> Entries:
    """The events of a repaired ledger by their old index, with their old times, as its notes tell."""
    found: Entries = {}
    items = list(log.entries(1))
    for position, item in enumerate(items):
        note = events.unpack(item.payload)
        if item.kind == 0 or note["note"] != "repaired":
            continue
        count = note["end"] - note["begin"]
        times = [time for time, same in note["times"] for _ in range(same)]
        assert len(times) == count
        for offset, event in enumerate(items[position - count : position]):
            assert event.kind == 0
            found[note["begin"] + offset] = (0, times[offset], event.payload)
    assert len(found) == sum(item.kind == 0 for item in items)
    return found


def checked(damaged: Damaged, to: str = "new", **options: Any) -> Repair:
    """Repair, and hold it to all that it must keep whatever the damage was."""
    before, target = damaged.now(), damaged.path.parent / to
    log, done = repair(damaged.path, target, **options)
    with log:
        found = carried(log)
        predecessor, origin, key = log[0]["predecessor"], log.origin, log.signer().vkey
        statements = log.statement_signer().vkey
    assert damaged.now() == before, "the source was written to"
    lost = {index for begin, end in done.lost for index in range(begin, end)}
    assert not lost & found.keys()
    for index, (kind, time, payload) in damaged.entries.items():
        assert index in lost or kind == 1 or found[index] == (kind, time, payload)
    assert found.keys() <= damaged.entries.keys()
    assert done.events == len(found)
    assert predecessor == {
        "fingerprint": done.predecessor.fingerprint,
        "origin": done.predecessor.origin,
        "reason": "repair",
    }
    report = verify(target, keys=[key], require="L2")
    assert report.ok, report.problems
    body = open_statement(done.statement, "repair", origin, [statements]).decode().splitlines()
    assert [line for line in body if line.startswith("lost ")] == [f"lost {begin} {end}" for begin, end in done.lost]
    with Ledger(target, readonly=True) as again:
        assert done.statement.decode() in [note.get("statement") for note in map(again.__getitem__, range(again.size))]
    return done


def test_a_sound_ledger_is_carried_over_whole(damaged: Damaged) -> None:
    """All events, with their old indexes and times; the prefix is everything and the checkpoint agrees."""
    done = checked(damaged, keys=[damaged.vkey])
    assert done.whole
    assert (done.lost, done.faults, done.prefix) == ([], [], len(damaged.entries))
    assert (done.events, done.checkpoint) == (760, 701)


def flip(name: str, place: Callable[[bytes], int]) -> Callable[[Damaged], None]:
    def act(damaged: Damaged) -> None:
        data = damaged.file(name)
        data[place(bytes(data))] ^= 0x20
        damaged.put(name, data)

    return act


def zero(name: str, begin: int, size: int) -> Callable[[Damaged], None]:
    def act(damaged: Damaged) -> None:
        data = damaged.file(name)
        data[begin : begin + size] = bytes(size)
        damaged.put(name, data)

    return act


DAMAGE: dict[str, tuple[Callable[[Damaged], None], range]] = {
    "a block": (flip(SEALED, lambda data: len(data) // 2), range(1, 129)),
    "the dictionary's place": (flip(SEALED, lambda data: 520), range(1, 702)),
    "the sealed header": (flip(SEALED, lambda data: 0), range(701, 702)),
    "the footer": (flip(SEALED, lambda data: len(data) - 700), range(701, 702)),
    "the sealed file cut": (lambda d: d.put(SEALED, d.file(SEALED)[:-1]), range(701, 702)),
    "the sealed file gone": (lambda d: (d.path / SEALED).unlink(), range(701, 702)),
    "a batch's length": (flip(ACTIVE, lambda data: FIRST + 1024 * 5 + 8), range(1, 2)),
    "a batch's payload": (flip(ACTIVE, lambda data: FIRST + 1024 * 5 + 300), range(1, 2)),
    "batches zeroed": (zero(ACTIVE, FIRST + 1024 * 3, 1024 * 4), range(4, 5)),
    "a sector inside a batch": (zero(ACTIVE, FIRST + 1024 * 3 + 512, 512), range(1, 2)),
    "the last batch": (flip(ACTIVE, lambda data: len(data.rstrip(b"\0")) - 1), range(40, 41)),
    "one header copy": (flip(ACTIVE, lambda data: 20), range(1)),
    "both header copies": (zero(ACTIVE, 0, 8192), range(60, 62)),
    "the active file cut": (lambda d: d.put(ACTIVE, d.file(ACTIVE)[: FIRST + 1024 * 7]), range(50, 60)),
    "the active file grown": (lambda d: d.put(ACTIVE, d.file(ACTIVE) + b"more"), range(1)),
    "HEAD": (lambda d: d.put("HEAD", bytes(8192)), range(1)),
    "HEAD gone": (lambda d: (d.path / "HEAD").unlink(), range(1)),
    "LEDGER": (flip("LEDGER", lambda data: 30), range(1)),
    "LEDGER gone": (lambda d: (d.path / "LEDGER").unlink(), range(1)),
    "the manifests": (lambda d: [f.unlink() for f in d.path.glob("MANIFEST-*")] and None, range(1)),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_readable_is_carried_over_and_the_rest_is_named(damaged: Damaged, what: str) -> None:
    """After each damage: exactly the events that are not named as lost, byte for byte, and no more lost than that."""
    act, expected = DAMAGE[what]
    act(damaged)
    done = checked(damaged, keys=[damaged.vkey])
    assert sum(end - begin for begin, end in done.lost) in (expected or (0,)), done.lost
    assert done.whole == (not expected or expected == range(1)), done


def test_an_evicted_segment_is_named_as_such(damaged: Damaged) -> None:
    """Its entries are not here, so they are listed; the fault says that an archive has them."""
    (damaged.path / SEALED).rename(damaged.path / SEALED.replace(".seg", ".stub"))
    done = checked(damaged)
    assert done.lost == [(0, 701)]
    assert any("lies in an archive only" in fault for fault in done.faults)


def test_behind_a_gap_the_chain_is_taken_up_again(damaged: Damaged) -> None:
    """One batch in the middle is spoiled in its payload: its last leaf hash is still there, so what follows is judged
    by hashes. With that hash spoiled too, one batch is judged by its checksum, and said to be."""
    flip(ACTIVE, lambda data: FIRST + 1024 * 5 + 300)(damaged)
    done = checked(damaged)
    assert len(done.lost) == 1
    (index, _) = done.lost[0]
    assert (done.checksum_only, done.breaks, done.prefix) == ([], [], index)
    zero(ACTIVE, FIRST + 1024 * 5, 1024)(damaged)
    done = checked(damaged, "again")
    assert done.lost == [(index, index + 1)]
    assert done.checksum_only == [(index + 1, index + 2)]


def test_a_rewritten_segment_is_a_break(damaged: Damaged, tmp_path: Path) -> None:
    """A sealed file rebuilt with another event, hashes and all, does not lead to the active file's first entry; and
    the checkpoint under the brought key contradicts it."""
    from tests.unit.test_grades import rewritten

    active = damaged.file(ACTIVE)
    checkpoint = next((damaged.path / "checkpoints").iterdir())
    note = checkpoint.read_bytes()
    rewritten(damaged.path)
    next((damaged.path / "checkpoints").iterdir()).unlink()
    with Ledger(damaged.path) as log:
        log.append_many([{"forged": n} for n in range(700)])
        log.seal()
    for file in (damaged.path / "active").iterdir():
        file.unlink()
    damaged.put(ACTIVE, active)
    checkpoint.write_bytes(note)
    log, done = repair(damaged.path, tmp_path / "new", keys=[damaged.vkey])
    log.close()
    assert done.breaks == [701]
    assert done.contradicted == [701]
    assert (done.prefix, done.checkpoint) == (701, 0)
    assert not done.whole


def test_random_flips(damaged: Damaged) -> None:
    """Several bits at once in any file: nothing invented, everything lost is named, and it ends."""
    random.seed(7)
    names = [str(file.relative_to(damaged.path)) for file in damaged.now() if file.name not in ("lock", "index-key")]
    original = {name: bytes(damaged.file(name)) for name in names}
    for turn in range(25):
        for _ in range(random.randint(1, 4)):
            name = random.choice(names)
            data = damaged.file(name)
            data[random.randrange(min(len(data), 40_000))] ^= 1 << random.randrange(8)
            damaged.put(name, bytes(data))
        checked(damaged, f"new-{turn}")
        for name, whole in original.items():
            damaged.put(name, whole)


def test_refusals_make_nothing(damaged: Damaged, tmp_path: Path) -> None:
    """No source, something at the target, or nothing that says which ledger it is."""
    with pytest.raises(EnvironmentFailure):
        repair(tmp_path / "nothing", tmp_path / "new")
    with pytest.raises(UsageError):
        repair(damaged.path, damaged.path / "inside")
    for name in ("LEDGER", SEALED):
        damaged.put(name, bytes(len(damaged.file(name))))
    before = damaged.now()
    with pytest.raises(CorruptionError):
        repair(damaged.path, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert damaged.now() == before


def test_the_command_says_what_is_proven_and_ends_with_1_for_a_loss(damaged: Damaged, tmp_path: Path) -> None:
    """JSON with ranges, keys and both sentences; code 0 when nothing was lost."""
    whole = json_of("repair", damaged.path, tmp_path / "whole", "--key", damaged.vkey)
    assert whole["checkpoint"] == 701
    assert whole["lost"] == []
    flip(SEALED, lambda data: len(data) // 2)(damaged)
    done = json_of("repair", damaged.path, tmp_path / "part", code=1)
    assert done["lost"]
    assert done["proves"]
    assert done["not_proven"]
    assert json_of("verify", tmp_path / "part", "--key", done["key"])["ok"] is True
