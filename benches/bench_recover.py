"""Opening: clean, and after the death of the writer."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from benches.workload import Event
from ledger import Ledger

__all__: list[str] = []


def _die_after_appending(path: Path, batches: list[list[Event]]) -> None:
    child = os.fork()
    if child == 0:
        try:
            ledger = Ledger(path)
            for batch in batches:
                ledger.append_many(batch)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_open_clean(benchmark: Any, path: Path, listed: list[Event]) -> None:
    """A ledger that was closed, its events in sealed segments."""
    with Ledger(path) as ledger:
        ledger.append_many(listed)
        ledger.seal()
        root = ledger.root

    def work() -> bytes:
        with Ledger(path) as ledger:
            return ledger.root

    assert benchmark(work) == root


def test_open_after_kill(benchmark: Any, path: Path, listed: list[Event]) -> None:
    """The writer was killed with everything unsealed: nothing acknowledged is lost."""
    _die_after_appending(path, [listed[at : at + 1000] for at in range(0, 10_000, 1000)])

    def work() -> list[Event]:
        with Ledger(path) as ledger:
            return list(ledger)

    assert benchmark.pedantic(work, rounds=1) == listed[:10_000]
