"""Verification of a sealed ledger: every byte read and hashed again."""

from __future__ import annotations

from typing import Any

import pytest

from benches.workload import Event
from ledger import Ledger

__all__: list[str] = []


@pytest.mark.parametrize("threads", [1, 2])
def test_verify(benchmark: Any, sealed: Ledger, listed: list[Event], threads: int) -> None:
    """All of it, by one thread and by two."""
    report = benchmark(sealed.verify, threads=threads, require="L1")
    assert report.ok, report.problems
    assert report.size >= len(listed)
    assert report.root == sealed.root.hex()
