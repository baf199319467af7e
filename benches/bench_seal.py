"""Sealing: the active file becomes compressed blocks with their tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benches.workload import Event
from ledger import Ledger

__all__: list[str] = []


def test_seal(benchmark: Any, path: Path, listed: list[Event]) -> None:
    """All events of a fresh ledger are sealed, and still there."""
    with Ledger(path) as ledger:
        ledger.append_many(listed)
        benchmark.pedantic(ledger.seal, rounds=1)
        assert {segment["state"] for segment in ledger.segments[:-1]} == {"sealed"}
        assert list(ledger) == listed
