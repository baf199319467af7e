"""Each system call of the core fails in turn, once and from then on; FAULTS: disk full, I/O error, no memory.

The n-th call of a kind is made to fail, for n = 1, 2, … until the workload no longer makes that many."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger._native import lib
from ledger.engine import Ledger
from ledger.errors import (
    DiskFullError,
    DurabilityUnknownError,
    EnvironmentFailure,
    LedgerError,
    PoisonedError,
)
from tests.crash.workload import Event, check, event

pytestmark = pytest.mark.skipif(
    not hasattr(lib, "ledger_fault_arm"), reason="this build has no failing calls (LEDGER_FAULTS)"
)

FAULTS = [
    ("pwritev", errno.EIO),
    ("pwritev", errno.ENOSPC),
    ("fdatasync", errno.EIO),
    ("fdatasync", errno.ENOSPC),
    ("fsync", errno.EIO),
    ("openat", errno.EIO),
    ("openat", errno.EMFILE),
    ("linkat", errno.EIO),
    ("unlinkat", errno.EACCES),
    ("pread", errno.EIO),
    ("random", errno.EIO),
    ("allocate", errno.ENOMEM),
]


class Outcome:
    """What a run with failures promised, and what it said was not stored."""

    def __init__(self) -> None:
        self.acknowledged: dict[int, Event] = {}
        self.absent: list[Event] = []
        self.errors: list[LedgerError] = []

    def append(self, log: Ledger, batch: list[Event]) -> None:
        try:
            receipts = log.append_many(batch)
        except LedgerError as error:
            self.errors.append(error)
            if isinstance(error, (EnvironmentFailure, PoisonedError)):
                self.absent += batch
        else:
            self.acknowledged.update({r.index: e for r, e in zip(receipts, batch, strict=True)})

    def attempt(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except LedgerError as error:
            self.errors.append(error)
            return None


@contextlib.contextmanager
def failing(name: str, nth: int, error: int, *, forever: bool = False, short_bytes: int = 0) -> Iterator[None]:
    assert lib.ledger_fault_arm(name.encode(), nth, error, forever, short_bytes) == lib.LEDGER_OK
    try:
        yield
    finally:
        lib.ledger_fault_arm(b"", 0, 0, 0, 0)


def run(path: Path, name: str, nth: int, error: int, *, forever: bool, short_bytes: int = 0) -> tuple[Outcome, bool]:
    """The outcome, and whether the n-th call was reached."""
    outcome = Outcome()
    with Ledger(path, segment_bytes_max=1 << 16) as log:
        outcome.append(log, [event(step) for step in range(3)])
    with failing(name, nth, error, forever=forever, short_bytes=short_bytes):
        for first in (3, 20):
            log = outcome.attempt(lambda: Ledger(path))
            if log is None:
                continue
            for step in range(first, first + 4):
                outcome.append(log, [event(step)])
            outcome.append(log, [event(step) for step in range(first + 4, first + 10)])
            for step in range(first + 10, first + 12):
                outcome.append(log, [event(step, 700_000 if first == 3 else 0)])
            outcome.attempt(log.seal)
            outcome.append(log, [event(first + 12)])
            outcome.attempt(log.close)
        reached = lib.ledger_fault_count(name.encode()) >= nth
    return outcome, reached


@pytest.mark.parametrize("forever", [False, True], ids=["once", "forever"])
@pytest.mark.parametrize(("name", "error"), FAULTS, ids=[f"{n}-{errno.errorcode[e]}" for n, e in FAULTS])
def test_nth_call_fails(tmp_path: Path, name: str, error: int, forever: bool) -> None:
    """Whichever call fails, only a LedgerError comes out, what was acknowledged stays, and a reopening goes on."""
    nth, reached = 1, True
    while reached:
        outcome, reached = run(tmp_path / str(nth), name, nth, error, forever=forever)
        check(tmp_path / str(nth), outcome.acknowledged, absent=tuple(outcome.absent))
        nth += 1
    assert nth > 2, f"the workload never calls {name}"
    assert not outcome.errors, "nothing failed, yet an error came out"


@pytest.mark.parametrize("short_bytes", [1, 7, 512])
@pytest.mark.parametrize("error", [-1, errno.EINTR], ids=["short", "interrupted"])
def test_write_comes_up_short(tmp_path: Path, error: int, short_bytes: int) -> None:
    """A write that puts down fewer bytes than asked, or is interrupted, is finished: nothing fails."""
    for nth in range(1, 24, 3):
        path = tmp_path / str(nth)
        outcome, _ = run(path, "pwritev", nth, error, forever=False, short_bytes=short_bytes)
        assert not outcome.errors
        check(path, outcome.acknowledged)


@pytest.mark.parametrize("short_bytes", [0, 1, 64, 511])
def test_disk_is_full(tmp_path: Path, short_bytes: int) -> None:
    """A full disk fails the batch whole, also one written in part; the same handle goes on when there is space."""
    with Ledger(tmp_path / "log") as log:
        acknowledged = {log.append(event(0)).index: event(0)}
        size, root = log.size, log.root
        # the shared words stand for the dirty mark, so the first write of an append is that of the batch
        with (
            failing("pwritev", 1, errno.ENOSPC, short_bytes=short_bytes),
            pytest.raises(DiskFullError),
        ):
            log.append(event(1))
        assert (log.size, log.root) == (size, root)
        acknowledged[log.append(event(2)).index] = event(2)
        assert log[size] == event(2), "a failed batch took no index"
    check(tmp_path / "log", acknowledged, absent=(event(1),))


@pytest.mark.parametrize("forever", [False, True], ids=["once", "forever"])
def test_sync_fails(tmp_path: Path, forever: bool) -> None:
    """After a failed sync the handle says so once, then refuses all work, and says so again when it is closed."""
    log = Ledger(tmp_path / "log")
    acknowledged = {log.append(event(0)).index: event(0)}
    with failing("fdatasync", 1, errno.EIO, forever=forever):
        with pytest.raises(DurabilityUnknownError):
            log.append(event(1))
        with pytest.raises(PoisonedError):
            log.append(event(2))
    with pytest.raises(PoisonedError):
        log.append(event(3))
    with pytest.raises(PoisonedError):
        log.close()
    check(tmp_path / "log", acknowledged, absent=(event(2), event(3)))
