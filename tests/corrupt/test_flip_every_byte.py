"""One bit of each byte of each file is flipped: a ledger answers the same, or says that it is damaged.

Never another answer, never a shorter one. In runs of more than 64 zeros every 89th byte is taken, of the zero end
of an active file every 65,521st; opening for writing is tried at every ninth of the rest, with LEDGER_DEEP at all."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.engine import Ledger
from ledger.errors import LedgerError
from ledger.proofs import keys
from ledger.storage.create import write_lock_digest
from ledger.storage.paths import Paths
from tests.crash.workload import event

FILES = {
    "LEDGER": "LEDGER",
    "HEAD": "HEAD",
    "lock": "lock",
    "index-key": "index-key",
    "manifest": "MANIFEST-*",
    "sealed": "sealed/*.seg",
    "active": "active/*1.act",
    "checkpoint": "checkpoints/*",
}
# A flip in these is always found, by an error, a problem of `verify` or a note of what is degraded; the others hold
# nothing that an answer comes from.
EVIDENCE = ("LEDGER", "manifest", "sealed", "active", "checkpoint")
STRIDE = 1 if os.environ.get("LEDGER_DEEP") else 9
_ZEROS = re.compile(rb"\x00{65,}")


class Original:
    """A ledger of one sealed and one active segment, and all that it answers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with Ledger(path) as log:
            keys.create(log.origin, path)
            for step in range(3):
                log.append(event(step))
            log.append_many([event(step, 300) for step in range(3, 20)])
            log.seal()
            for step in range(20, 24):
                log.append(event(step))
            log.append_many([event(24), event(25)])
            log.checkpoint()
            self.answers = answers(log)
        self.files = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}

    def restore(self) -> None:
        """Put every file back into its inode, so that `lock` stays what its digest says."""
        for path in self.path.rglob("*"):
            if path.is_file() and path not in self.files:
                path.unlink()
        for path, data in self.files.items():
            if not path.exists() or path.read_bytes() != data:
                path.write_bytes(data)
        write_lock_digest(Paths(self.path))

    def now(self) -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in self.path.rglob("*") if p.is_file()}


def answers(log: Ledger) -> list[Any]:
    """Everything a reader asks a ledger."""
    size = log.size
    rows = [(i.index, i.kind, i.time_ns, i.payload, log.entry(i.index), log.salt(i.index)) for i in log.entries()]
    return [size, log.root, log.origin, log.fingerprint, list(log), rows]


def offsets(data: bytes) -> Iterator[int]:
    """Every offset of `data`, fewer inside long runs of zeros."""
    skipped: set[int] = set()
    for run in _ZEROS.finditer(data):
        step = 89 if run.end() - run.start() < 8192 else 65_521
        skipped |= set(range(*run.span())) - set(range(*run.span(), step)) - {run.end() - 1}
    return (at for at in range(len(data)) if at not in skipped)


@pytest.fixture
def original(tmp_path: Path) -> Original:
    return Original(tmp_path / "log")


@pytest.mark.parametrize("kind", FILES)
def test_flipped_bit(original: Original, kind: str) -> None:
    """A read-only opening refuses or answers the same, `verify` finds every flip in evidence, and an opening for
    writing refuses with nothing changed, or goes on from all there was."""
    (path,) = original.path.glob(FILES[kind])
    data = original.files[path]
    for number, at in enumerate(offsets(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at * 5 + number) % 8
        path.write_bytes(flipped)
        where = f"bit of byte {at} of {path.name}"
        try:
            with Ledger(original.path, readonly=True) as log:
                assert answers(log) == original.answers, where
                report = log.verify(require="L1")
                found = bool(report.problems or report.degraded)
        except LedgerError:
            found = True
        assert original.now() == original.files | {path: bytes(flipped)}, f"a reader wrote: {where}"
        assert found or kind not in EVIDENCE, f"not found: {where}"
        if number % STRIDE == 0:
            write_to(original, where)
        path.write_bytes(data)


def write_to(original: Original, where: str) -> None:
    before = original.now()
    try:
        log = Ledger(original.path, create=False)
    except LedgerError:
        after = original.now()
        changed = {p for p in before | after if before.get(p) != after.get(p) and p.name != "lock"}
        assert not changed, where
        return
    with contextlib.suppress(LedgerError), log:  # a read may meet the damage that the append did not
        receipt = log.append({"new": 1})
        assert receipt.index >= original.answers[0], where
        assert log[receipt.index] == {"new": 1}
        assert list(log)[:-1] == original.answers[4], where
    original.restore()
