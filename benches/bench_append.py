"""Durable appends: one, in batches, packed, by threads, by tasks. Each checks that what it stored is there."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from benches.stores import pack
from benches.workload import Event
from ledger import AsyncLedger, Ledger
from ledger.encoding.arrays import packed_array

__all__: list[str] = []


def test_single_append(benchmark: Any, path: Path, listed: list[Event]) -> None:
    """One event, one sync."""
    with Ledger(path) as ledger:
        receipt = benchmark.pedantic(ledger.append, args=(listed[0],), rounds=200, warmup_rounds=5)
        assert ledger[receipt.index] == listed[0]


@pytest.mark.parametrize("size", [100, 1000])
def test_batch_append(benchmark: Any, path: Path, listed: list[Event], size: int) -> None:
    """`size` dicts, one sync."""
    batch = listed[:size]
    with Ledger(path) as ledger:
        receipts = benchmark.pedantic(ledger.append_many, args=(batch,), rounds=20, warmup_rounds=1)
        assert len(receipts) == size
        assert [ledger[receipt.index] for receipt in receipts] == batch


def test_packed_append(benchmark: Any, path: Path, listed: list[Event]) -> None:
    """1000 events that are packed already, one sync."""
    buffer = packed_array([pack(event) for event in listed[:1000]])
    with Ledger(path) as ledger:
        receipts = benchmark.pedantic(ledger.append_packed, args=(buffer,), rounds=20, warmup_rounds=1)
        assert [ledger[receipt.index] for receipt in receipts] == listed[:1000]


def test_eight_threads(benchmark: Any, path: Path, listed: list[Event]) -> None:
    """Eight threads, 25 events each, one event a call."""

    def work() -> None:
        threads = [
            threading.Thread(target=lambda part: [ledger.append(event) for event in part], args=(listed[at : at + 25],))
            for at in range(0, 200, 25)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with Ledger(path) as ledger:
        benchmark.pedantic(work, rounds=1)
        assert sorted(event["seq"] for event in ledger) == list(range(200))


def test_sixty_four_tasks(benchmark: Any, path: Path, listed: list[Event]) -> None:
    """64 tasks, 10 events each, each awaits its event."""

    async def work() -> None:
        async with AsyncLedger(str(path)) as log:

            async def task(part: list[Event]) -> None:
                for event in part:
                    await log.append(event)

            await asyncio.gather(*(task(listed[at : at + 10]) for at in range(0, 640, 10)))

    benchmark.pedantic(lambda: asyncio.run(work()), rounds=1)
    with Ledger(path, readonly=True) as ledger:
        assert sorted(event["seq"] for event in ledger) == list(range(640))
