"""Many processes, threads and forks on one ledger: one chain, no gaps, nothing acknowledged lost or twice.

LEDGER_DEEP has each of the four processes append 10,000 events instead of 1,000."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.engine import Ledger
from tests.many import appender
from tests.many.appender import OPEN_ANEW, acknowledged
from tests.model import oracle

ROOT = Path(__file__).parents[2]
COUNT = 10_000 if os.environ.get("LEDGER_DEEP") else 1_000


def check_chain(log: Ledger) -> list[dict[str, Any]]:
    """All hashes recomputed; the events."""
    size = log.size
    items = list(log.entries(0, size))
    assert [item.index for item in items] == list(range(size))
    rows = [(i.kind, i.time_ns, log.salt(i.index), i.payload) for i in items]
    _, leaves = oracle.rebuild(log.fingerprint, rows)
    assert log.root_at(size) == oracle.tree_root(leaves)
    assert log.verify(require="L1").ok
    return list(log)


def start(path: Path, name: str) -> subprocess.Popen[bytes]:
    arguments = [appender.__file__, str(path), f"{path}.{name}", name, str(COUNT)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, *arguments], env=environment, stderr=subprocess.PIPE)


@pytest.mark.parametrize("kills", [0, 12])
def test_four_processes(tmp_path: Path, kills: int) -> None:
    """Four writers append at once, some of them killed and started again: every acknowledged event is where its
    line says, batches are not interleaved, and an event stands twice only if its acknowledgement was cut off. A writer
    in its sync while another recovers after a kill may be told that its batch is unknown: never without a kill."""
    path = tmp_path / "log"
    Ledger(path, segment_entries_max=COUNT).close()  # a few rolls on the way
    dice, killed, doubtful = random.Random(kills), 0, 0
    running = {name: start(path, name) for name in "abcd"}
    while running:
        for name, process in list(running.items()):
            if killed < kills and process.poll() is None:
                time.sleep(dice.uniform(0.02, 0.25))
                process.send_signal(signal.SIGKILL)
            if process.poll() is not None or killed < kills:
                _, errors = process.communicate()
                unknown = process.returncode == OPEN_ANEW and killed > 0
                assert process.returncode in (0, -signal.SIGKILL) or unknown, errors.decode()
                killed += process.returncode == -signal.SIGKILL
                doubtful += process.returncode != 0
                del running[name]
                if process.returncode != 0:
                    running[name] = start(path, name)
        time.sleep(0.02)
    assert killed >= min(kills, 1), "all was done before the first kill"
    with Ledger(path) as log:
        events = check_chain(log)
        counts = Counter((event["name"], event["n"]) for event in events)
        for name in "abcd":
            lines = acknowledged(Path(f"{path}.{name}"))
            assert all(log[index] == {"name": name, "n": n} for index, n in lines)
            assert {n for _, n in lines} == set(range(COUNT))
        assert set(counts) == {(name, n) for name in "abcd" for n in range(COUNT)}
        assert sum(counts.values()) - len(counts) <= 3 * doubtful


def test_eight_threads(tmp_path: Path) -> None:
    """Threads that share a handle get distinct indices, and each its own events in its own order."""
    indices: dict[int, list[int]] = {}

    def work(log: Ledger, thread: int) -> None:
        indices[thread] = [log.append({"thread": thread, "n": n}).index for n in range(200)]

    with Ledger(tmp_path / "log", segment_entries_max=300) as log:
        threads = [threading.Thread(target=work, args=(log, thread)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(check_chain(log)) == 1600
        for thread, mine in indices.items():
            assert mine == sorted(mine)
            assert [log[index] for index in mine] == [{"thread": thread, "n": n} for n in range(200)]
        assert len({index for mine in indices.values() for index in mine}) == 1600


def in_child(work: Callable[[], None]) -> None:
    """Fork, run `work`, and fail when it does."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_fork_with_an_open_handle(tmp_path: Path) -> None:
    """A child appends through the handle it inherited, closes it, and the parent's goes on unaffected."""
    with Ledger(tmp_path / "log") as log:
        log.append({"who": "parent", "n": 0})

        def work() -> None:
            for n in range(20):
                log.append({"who": "child", "n": n})
            log.close()

        in_child(work)
        log.append({"who": "parent", "n": 1})
        events = check_chain(log)
    child = [{"who": "child", "n": n} for n in range(20)]
    assert events == [{"who": "parent", "n": 0}, *child, {"who": "parent", "n": 1}]


def test_fork_while_threads_append(tmp_path: Path) -> None:
    """A fork at any moment of other threads' appends leaves the child able to append, and no lock behind."""
    with Ledger(tmp_path / "log") as log:
        stop = threading.Event()

        def work() -> None:
            n = 0
            while not stop.is_set():
                log.append({"who": "parent", "n": n})
                n += 1

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for n in range(10):
                in_child(lambda n=n: log.append({"who": "child", "n": n}))  # type: ignore[misc]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        events = check_chain(log)
    assert [e["n"] for e in events if e["who"] == "child"] == list(range(10))


def test_child_that_never_uses_the_handle(tmp_path: Path) -> None:
    """A child that lives on idle holds no lock of its parent's, whatever the parent was doing."""
    with Ledger(tmp_path / "log") as log:
        log.append({"n": 0})
        release, wait = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(wait)
            os.read(release, 1)
            os._exit(0)
        os.close(release)
        try:
            log.append({"n": 1})
            with Ledger(tmp_path / "log") as other:
                other.append({"n": 2})
                other.seal()
        finally:
            os.close(wait)
            os.waitpid(child, 0)
        assert [e["n"] for e in check_chain(log)] == [0, 1, 2]
