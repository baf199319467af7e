"""Reads: one event, all as dicts, all as bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benches.stores import pack
from benches.workload import Event
from ledger import Ledger

__all__: list[str] = []


def test_get_sealed(benchmark: Any, sealed: Ledger, listed: list[Event]) -> None:
    """100 events by index, far apart, from sealed blocks."""
    indices = [item.index for item in sealed.entries() if item.kind == 0][:: len(listed) // 100]
    got = benchmark(lambda: [sealed[index] for index in indices])
    assert got == listed[:: len(listed) // 100]


def test_get_unsealed(benchmark: Any, path: Path, listed: list[Event]) -> None:
    """100 events by index, from the active file."""
    with Ledger(path) as ledger:
        base = ledger.append_many(listed[:1000]).base
        got = benchmark(lambda: [ledger[base + position] for position in range(0, 1000, 10)])
        assert got == listed[:1000:10]


def test_scan_to_dicts(benchmark: Any, sealed: Ledger, listed: list[Event]) -> None:
    """Every event as a dict."""
    assert benchmark(lambda: list(sealed)) == listed


def test_raw_payloads(benchmark: Any, sealed: Ledger, listed: list[Event]) -> None:
    """Every event as bytes."""
    got = benchmark(lambda: [item.payload for item in sealed.entries() if item.kind == 0])
    assert got == [pack(event) for event in listed]
