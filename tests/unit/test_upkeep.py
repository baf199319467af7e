# SPDX-License-Identifier: Apache-2.0
"""What a ledger does in the background: work asked for, work that comes due, and a segment that grows old idle."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ledger import Ledger
from ledger.upkeep import Upkeep
from ledger.verify import parse_checkpoint, parse_note


def until(condition: Callable[[], bool]) -> None:
    """Wait for what must come, however slow the machine is; a test that waits for ever is killed by its runner."""
    while not condition():
        time.sleep(0.01)


def test_work_is_done_when_asked_and_when_due() -> None:
    """Each call says which it was; a time that comes once is work once; stopping ends the thread."""
    calls: list[bool] = []
    upkeep = Upkeep(calls.append)
    upkeep.wake()
    until(lambda: calls == [True])
    upkeep.wake_after(0.01)
    until(lambda: calls == [True, False])
    upkeep.wake_after(3600)
    upkeep.wake()
    until(lambda: calls == [True, False, True])
    upkeep.stop()
    upkeep.wake()
    upkeep.wake_after(0)
    assert calls == [True, False, True]
    assert not any(thread.name == "sealedger-upkeep" for thread in threading.enumerate())


def test_an_error_of_the_work_is_kept_and_ends_nothing() -> None:
    """The next work is done all the same, and takes the error away when it goes well."""
    outcomes = [RuntimeError("bad"), None]
    seen: list[str | None] = []

    def work(asked: bool) -> None:
        seen.append(upkeep.error)
        if (error := outcomes.pop(0)) is not None:
            raise error

    upkeep = Upkeep(work)
    upkeep.wake()
    until(lambda: upkeep.error == "RuntimeError: bad")
    upkeep.wake()
    until(lambda: len(seen) == 2 and upkeep.error is None)
    upkeep.stop()


def test_an_idle_segment_comes_of_age(tmp_path: Path) -> None:
    """With nobody appending it is closed and sealed; notes that follow are left where they are."""
    with Ledger(tmp_path / "a", segment_age_max_s=0.05) as log:
        log.append({"n": 1})
        until(lambda: log.segments[0]["state"] == "sealed")
        assert [log[i].get("note") for i in range(2, log.size)] == ["sealed"]
        time.sleep(0.2)  # several times the age: a segment of notes alone must stay open
        assert [segment["state"] for segment in log.segments] == ["sealed", "active"]
        log.append({"n": 2})
        until(lambda: len(log.segments) == 3 and log.segments[1]["state"] == "sealed")
        assert [event["n"] for event in log] == [1, 2]


def test_submitted_events_age_too(tmp_path: Path) -> None:
    """The hint comes with the commit, whoever led it."""
    with Ledger(tmp_path / "a", segment_age_max_s=0.05) as log:
        log.submit({"n": 1}).result()
        until(lambda: log.segments[0]["state"] == "sealed")


def test_a_young_segment_stays(tmp_path: Path) -> None:
    """The default age is an hour: nothing is closed, and no next file is made, for a few events."""
    with Ledger(tmp_path / "a") as log:
        for n in range(5):
            log.append({"n": n})
        log._do_upkeep(False)
        assert [segment["state"] for segment in log.segments] == ["active"]
        assert len(list((tmp_path / "a" / "active").iterdir())) == 1


def _append_in_child(log: Ledger) -> None:
    log.append({"child": 1})
    until(lambda: log.segments[0]["state"] == "sealed")


def test_a_forked_child_ages_its_own_segment(tmp_path: Path) -> None:
    """The parent's thread is not in the child: its first append starts one."""
    log = Ledger(tmp_path / "a", segment_age_max_s=0.3)
    log._upkeep.wake()
    child = multiprocessing.get_context("fork").Process(target=_append_in_child, args=(log,))
    child.start()
    child.join()
    assert child.exitcode == 0
    log.close()


def test_an_old_segment_is_signed_for_as_any(tmp_path: Path) -> None:
    """A checkpoint beside the background roll covers what is there, and verifies."""
    with Ledger(tmp_path / "a", segment_age_max_s=0.02, new_key=True) as log:
        for n in range(8):
            log.append({"n": n})
            size = parse_checkpoint(parse_note(log.checkpoint())[0]).size
            assert size >= n + 2
        vkey = log.signer().vkey
    with Ledger(tmp_path / "a") as log:
        log.checkpoint()
        assert log.verify(keys=[vkey]).ok
