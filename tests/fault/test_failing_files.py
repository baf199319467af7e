"""The calls of Python's own file work fail in turn, in a program of its own: creating, sealing, signing off a manifest.

strace makes the n-th call fail, for n = 1, 2, … until there is none; FAULTS: disk full, I/O error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import workload
from tests.crash.test_kill_at_syscall import REFUSAL, ROOT, for_every_nth
from tests.crash.workload import check, read_acknowledged

pytestmark = pytest.mark.skipif(bool(REFUSAL), reason=REFUSAL or "strace works")

FAULTS = [("fsync", "EIO"), ("link", "EIO"), ("pwrite64", "ENOSPC"), ("mkdir", "EACCES")]


@pytest.mark.parametrize(("call", "error"), FAULTS)
def test_nth_call_fails(tmp_path: Path, call: str, error: str) -> None:
    """The program ends well or with an exception of ours; what it acknowledged is there, and the ledger goes on."""

    def one(nth: int) -> bool:
        path, acks = tmp_path / str(nth), tmp_path / f"{nth}.acks"
        inject = f"inject={call}:error={error}:when={nth}"
        trace = tmp_path / f"{nth}.trace"
        strace = ["strace", "-f", "-o", str(trace), "-e", f"trace={call}", "-e", inject]
        done = subprocess.run(
            [*strace, sys.executable, workload.__file__, str(path), str(acks)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        last = (done.stderr.splitlines() or [""])[-1]
        assert done.returncode == 0 or last.startswith("ledger.errors."), done.stderr
        check(path, read_acknowledged(acks))
        return "(INJECTED)" in trace.read_text()

    assert for_every_nth(one) > 0
