"""Appends that nobody waits for: order, outcome and refusal of each, whoever collects them."""

from __future__ import annotations

import asyncio
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from ledger import Ledger
from ledger.aio import AsyncLedger
from ledger.errors import EventError
from ledger.stream import PendingAppend, PendingBatch


def test_each_outcome_is_its_own(tmp_path: Path) -> None:
    """Single events and batches, submitted by four threads: every receipt names the entry that holds that event."""
    found: list[tuple[dict[str, Any], int]] = []

    def work(log: Ledger, number: int) -> None:
        rng, made = random.Random(number), 0
        waiting: list[tuple[PendingAppend | PendingBatch, list[dict[str, Any]]]] = []
        while made < 600:
            batch = [{"t": number, "i": made + k} for k in range(rng.randrange(1, 40))]
            made += len(batch)
            many = rng.random() < 0.3
            if many:
                waiting.append((log.submit_many(batch), batch))
            else:
                waiting.extend((log.submit(event), [event]) for event in batch)
            while waiting and rng.random() < 0.5:
                pending, sent = waiting.pop(rng.randrange(len(waiting)))
                got = pending.result(30)
                receipts = [got] if isinstance(pending, PendingAppend) else list(got)  # type: ignore[arg-type]
                found.extend(zip(sent, [receipt.index for receipt in receipts], strict=True))  # type: ignore[union-attr]
        for pending, sent in waiting:
            got = pending.result(30)
            receipts = [got] if isinstance(pending, PendingAppend) else list(got)  # type: ignore[arg-type]
            found.extend(zip(sent, [receipt.index for receipt in receipts], strict=True))  # type: ignore[union-attr]

    with Ledger(tmp_path / "log") as log:
        threads = [threading.Thread(target=work, args=(log, n)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(found) == len(log) >= 2400
        assert all(log[index] == event for event, index in found)
        for number in range(4):
            mine = [event["i"] for event in log if event["t"] == number]
            assert mine == sorted(mine), "the events of one thread keep their order"


def test_a_batch_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    """One bad event: its position and path are named, and nothing of the batch is there."""
    with Ledger(tmp_path / "log") as log:
        with pytest.raises(EventError, match=r"x.*nan|nan.*x") as caught:
            log.submit_many([{"a": 1}, {"x": float("nan")}, {"a": 2}])
        assert caught.value.position == 1
        assert log.submit_many([]).result() == [] or len(log.submit_many([]).result()) == 0
        assert [receipt.index for receipt in log.submit_many([{"a": 1}, {"a": 2}]).result()] == [1, 2]
        assert list(log) == [{"a": 1}, {"a": 2}]


def test_a_callback_is_called_once_though_nobody_waits(tmp_path: Path) -> None:
    """Registered before the outcome is known or after it."""
    called: list[PendingAppend] = []
    ready = threading.Event()
    with Ledger(tmp_path / "log") as log:
        pending = log.submit({"a": 1})
        pending.add_done_callback(lambda p: (called.append(p), ready.set()))
        assert ready.wait(10)
        pending.add_done_callback(called.append)
        assert called == [pending, pending]
        assert pending.result().index == 1


def test_a_timeout_leaves_the_event_queued(tmp_path: Path) -> None:
    """The lock is held by somebody else for a moment: the wait ends, the event is stored later."""
    with Ledger(tmp_path / "log", sync="interval:300ms") as log:
        pending = log.submit({"a": 1})
        with pytest.raises(TimeoutError):
            pending.result(0.01)
        assert log[pending.result(10).index] == {"a": 1}


def test_one_bad_event_among_tasks_fails_alone(tmp_path: Path) -> None:
    """What C refuses of a turn's events is refused to the task that brought it; the others are stored."""

    async def run() -> list[Any]:
        async with AsyncLedger(str(tmp_path / "log")) as log:
            events: list[dict[str, Any]] = [{"n": n} for n in range(100)]
            events[7] = {"n": float("inf")}
            events[50] = {"n": {"deep": [float("nan")]}}
            outcomes = await asyncio.gather(*(log.append(event) for event in events), return_exceptions=True)
            for n, outcome in enumerate(outcomes):
                if n in (7, 50):
                    assert isinstance(outcome, EventError)
                else:
                    assert not isinstance(outcome, BaseException)
                    assert log.ledger[outcome.index] == events[n]
            assert "n.deep[0]" in str(outcomes[50]) or "deep" in str(outcomes[50])
            return list(log.ledger)

    assert len(asyncio.run(run())) == 98


def test_a_cancelled_task_takes_nothing_back(tmp_path: Path) -> None:
    """Its event is stored all the same, and the others of its turn hear of theirs."""

    async def run() -> int:
        async with AsyncLedger(str(tmp_path / "log")) as log:
            tasks = [asyncio.create_task(log.append({"n": n})) for n in range(10)]
            await asyncio.sleep(0)
            tasks[3].cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(outcomes[3], asyncio.CancelledError)
            assert sum(isinstance(outcome, BaseException) for outcome in outcomes) == 1
            return len(log.ledger)

    assert asyncio.run(run()) == 10


def test_loops_in_two_threads_and_a_waiting_thread_share_one_ledger(tmp_path: Path) -> None:
    """Whoever collects, each loop resolves its own futures."""
    with Ledger(tmp_path / "log") as log:
        shared = AsyncLedger(log)
        failures: list[BaseException] = []

        def loop(number: int) -> None:
            async def run() -> None:
                async with shared:
                    for turn in range(20):
                        receipts = await asyncio.gather(*(shared.append({"t": number, "i": turn}) for _ in range(7)))
                        assert all(log[receipt.index]["t"] == number for receipt in receipts)

            try:
                asyncio.run(asyncio.wait_for(run(), 60))
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=loop, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for number in range(300):
            assert log[log.submit({"t": 9, "i": number}).result(30).index] == {"t": 9, "i": number}
        for thread in threads:
            thread.join(60)
        assert not failures
        assert len(log) == 2 * 20 * 7 + 300


def test_leaving_resolves_what_is_under_way(tmp_path: Path) -> None:
    """A task still waiting when the ledger closes gets its receipt."""

    async def run() -> int:
        log = AsyncLedger(str(tmp_path / "log"))
        async with log:
            tasks = [asyncio.create_task(log.append({"n": n})) for n in range(50)]
            await asyncio.sleep(0)
        return max([(await task).index for task in tasks])

    assert asyncio.run(run()) == 50
