"""SIGKILL at the n-th call of each kind, for every n, through a whole life of a ledger and through recovery.

strace kills on entry to the call; what a kill after it leaves is what the next call's kill leaves. All kinds
that write are tried at each n; `openat`, mostly of Python's own files, at every 12th unless LEDGER_DEEP is set."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ledger.engine import Ledger
from tests.crash import workload
from tests.crash.workload import check, copy_as_original, event, read_acknowledged

ROOT = Path(__file__).parents[2]
# the kinds that write, and about how many calls of each the workload makes at least: else it was no test of them
CALLS = {
    "pwritev": 30,
    "pwrite64": 1,
    "fdatasync": 12,
    "fsync": 24,
    "link": 6,
    "linkat": 1,
    "unlink": 12,
    "unlinkat": 1,
    "openat": 60,
}
RECOVER = "import sys; from ledger.engine import Ledger; Ledger(sys.argv[1]).close()"


def strace_refusal() -> str:
    """Why strace cannot be used here; "" when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return f"ptrace is refused: {tried.stderr.decode()}" if tried.returncode else ""


REFUSAL = strace_refusal()
pytestmark = pytest.mark.skipif(bool(REFUSAL), reason=REFUSAL or "strace works")


def killed(call: str, nth: int, *program: str) -> bool:
    """Run Python with `program` under the injection; whether the n-th call was there to be killed at."""
    strace = ["strace", "-f", "-o", os.devnull, "-e", f"trace={call}"]
    inject = ["-e", f"inject={call}:signal=SIGKILL:when={nth}"]
    done = subprocess.run(
        [*strace, *inject, sys.executable, *program],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, -9, 137), done.stderr.decode()
    return done.returncode != 0


def for_every_nth(one: Callable[[int], bool], stride: int = 1) -> int:
    """Call `one` with n = 1, 1 + stride, … two at a time, until it says that there is no n-th call."""
    tried = 0
    with ThreadPoolExecutor(2) as pool:
        hits = [True]
        while all(hits):
            hits = list(pool.map(one, (1 + stride * (tried + i) for i in range(6))))
            tried += sum(hits)
    return tried * stride


@pytest.mark.parametrize("call", CALLS)
def test_kill_at_nth_call(tmp_path: Path, call: str) -> None:
    """What was acknowledged before the kill is there after it, and the ledger opens and goes on."""

    def one(nth: int) -> bool:
        path, acks = tmp_path / f"{nth}" / "log", tmp_path / f"{nth}.acks"
        path.parent.mkdir()
        hit = killed(call, nth, workload.__file__, str(path), str(acks))
        acknowledged = read_acknowledged(acks)
        assert hit or len(acknowledged) == 44
        check(path, acknowledged)
        shutil.rmtree(path.parent)
        return hit

    stride = 1 if call != "openat" or os.environ.get("LEDGER_DEEP") else 12
    assert for_every_nth(one, stride) >= CALLS[call]


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of two events whose last write tore: bytes of no batch follow, and HEAD says nothing of them."""
    path = tmp_path_factory.mktemp("torn") / "log"
    with Ledger(path) as log:
        log.append(event(0))
        log.append(event(1))
        end = int(log._open_writer().head().written_end)
    with (path / "active" / f"{0:020}.act").open("r+b") as file:
        file.seek(end)
        file.write(b"\xa5" * 700)
    return path


@pytest.mark.parametrize("call", ["pwritev", "pwrite64", "fdatasync", "fsync", "link", "unlink"])
def test_kill_during_recovery(tmp_path: Path, torn: Path, call: str) -> None:
    """A recovery that is killed is done again: the same entries, the tail in quarantine once, one or two notes."""

    def one(nth: int) -> bool:
        path = copy_as_original(torn, tmp_path / str(nth))
        hit = killed(call, nth, "-c", RECOVER, str(path))
        check(path, {1: event(0), 2: event(1)})
        with Ledger(path) as log:
            notes = [log[item.index]["note"] for item in log.entries(1) if item.kind == 1]
        kept = [file for file in (path / "quarantine").iterdir() if file.suffix == ".bin"]
        assert [file.read_bytes() for file in kept] == [b"\xa5" * 700]
        assert notes.count("recovered") in ((1, 2) if hit else (1,))
        shutil.rmtree(path)
        return hit

    for_every_nth(one)
