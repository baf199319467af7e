# SPDX-License-Identifier: Apache-2.0
"""The system calls of an append, as the kernel saw them: one write and one sync of the active file a commit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_CALLS = "pwritev,pwritev2,pwrite64,write,writev,fdatasync,fsync,sync_file_range,msync"
_PROGRAM = """
import os, sys
from ledger import Ledger

mode, path = sys.argv[1:]
with Ledger(path) as log:
    log.append({"warm": 1})
    os.write(2, b"BEGIN MARK\\n")
    if mode == "single":
        for n in range(20):
            log.append({"n": n})
    elif mode == "many":
        log.append_many([{"n": n} for n in range(500)])
    else:
        futures = [log.submit({"n": n}) for n in range(500)]
        for future in futures:
            future.result(30)
    os.write(2, b"END MARK\\n")
"""


def trace(tmp_path: Path, mode: str) -> list[tuple[str, str]]:
    """(call, file) between the marks; `file` is the folder's name for active files, else the file's name."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    out = tmp_path / "trace"
    command = [strace, "-f", "-y", "-s", "16", "-e", f"trace={_CALLS}", "-o", str(out)]
    program = [sys.executable, "-c", _PROGRAM, mode, str(tmp_path / "a")]
    root = Path(__file__).resolve().parents[2]
    probe = subprocess.run([*command, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"strace may not trace here: {probe.stderr.decode().strip()[:80]}")
    subprocess.run(
        [*command, *program],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        check=True,
        capture_output=True,
        timeout=60,
    )
    text = out.read_text()
    between = text[text.index("BEGIN MARK") : text.index("END MARK")]
    found = re.findall(r"^\d+ +(\w+)\(\d+<([^>]*)>", between, re.MULTILINE)
    return [(call, "active" if "/active/" in file else Path(file).name) for call, file in found]


def test_a_single_append_is_one_write_and_one_sync(tmp_path: Path) -> None:
    """Twenty appends: twenty times one pwritev, then one fdatasync, of the active file; else only HEAD is written."""
    calls = trace(tmp_path, "single")
    active = [call for call, file in calls if file == "active"]
    assert [call.rstrip("2") for call in active] == ["pwritev", "fdatasync"] * 20
    others = {file for _, file in calls if file not in ("active", "HEAD")}
    assert {file for file in others if not file.startswith(("pipe:", "socket:", "anon_inode:"))} == set()
    assert not any(call in ("fdatasync", "fsync") for call, file in calls if file != "active")


def test_a_batch_is_one_write_and_one_sync(tmp_path: Path) -> None:
    """Five hundred events by `append_many`: one commit."""
    active = [call.rstrip("2") for call, file in trace(tmp_path, "many") if file == "active"]
    assert active == ["pwritev", "fdatasync"]


def test_submitted_events_share_syncs(tmp_path: Path) -> None:
    """Five hundred submitted events: as many writes as syncs, far fewer than events, never two for one commit."""
    active = [call.rstrip("2") for call, file in trace(tmp_path, "submit") if file == "active"]
    assert active == ["pwritev", "fdatasync"] * (len(active) // 2)
    assert 1 <= len(active) // 2 < 500
