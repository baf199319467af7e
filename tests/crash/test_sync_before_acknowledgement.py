"""The order of system calls: at each acknowledgement all that it rests on has been synced, data and names [ACK-1].

A kill cannot show a forgotten sync, since the kernel keeps what was written; the trace of the calls does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash import workload
from tests.crash.test_kill_at_syscall import REFUSAL, ROOT

pytestmark = pytest.mark.skipif(bool(REFUSAL), reason=REFUSAL or "strace works")

CALLS = "pwritev,pwrite64,write,fdatasync,fsync,link,linkat,unlink,unlinkat"
# 12 fdatasync(5</log/active/0.act>) = 0 | 12 fdatasync(5</log/…> <unfinished ...> | 12 <... fdatasync resumed>) = 0
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_FILE = re.compile(r"^\d+<([^>]*)>")
_NAME = re.compile(r'"([^"]*)"')


def finished_calls(trace: Path) -> Iterator[tuple[str, str]]:
    """(name, arguments) of each call that succeeded, in the order in which they returned."""
    begun: dict[tuple[str, str], str] = {}
    for line in trace.read_text(errors="replace").splitlines():
        if match := _CALL.match(line):
            pid, name, rest = match.groups()
            if rest.endswith("<unfinished ...>"):
                begun[pid, name] = rest
                continue
        elif match := _RESUMED.match(line):
            pid, name, end = match.groups()
            rest = begun.pop((pid, name)) + end
        else:
            continue
        if not re.search(r"= -1 E\w+", rest):
            yield name, rest


def linked_folder(name: str, arguments: str) -> str:
    """The folder in which a call made a name."""
    if name == "link":
        return os.path.dirname(_NAME.findall(arguments)[1])
    return re.findall(r"\d+<([^>]*)>", arguments)[1]


def traced_life(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Name, file ("" if the first argument is none) and arguments of each call in a life of a ledger."""
    trace = folder / "trace"
    strace = ["strace", "-f", "-y", "-s", "300", "-o", str(trace), "-e", f"trace={CALLS}"]
    program = [sys.executable, workload.__file__, str(folder / "log"), str(folder / "acks")]
    subprocess.run([*strace, *program], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    for name, arguments in finished_calls(trace):
        match = _FILE.match(arguments)
        yield name, match[1] if match else "", arguments


def test_all_is_synced_before_it_is_acknowledged(tmp_path: Path) -> None:
    """No acknowledgement while bytes of an active file, or the name of any file, wait for a sync."""
    unsynced: set[str] = set()
    acknowledged = writes = names = 0
    for name, file, arguments in traced_life(tmp_path):
        if name in ("pwritev", "pwrite64") and file.endswith(".act"):
            unsynced.add(file)
            writes += 1
        elif name in ("link", "linkat") and (folder := linked_folder(name, arguments)).endswith("active"):
            unsynced.add(folder)
            names += 1
        elif name in ("fsync", "fdatasync"):
            unsynced.discard(file)
        elif name == "write" and file == str(tmp_path / "acks"):
            assert not unsynced, f"acknowledgement {acknowledged} rests on what no sync covers"
            acknowledged += 1
    assert acknowledged == 44
    assert writes >= 8
    assert names >= 2


def test_sealed_file_is_durable_before_the_active_one_goes(tmp_path: Path) -> None:
    """An active file is unlinked only when the sealed one, its name and the manifest are on the disk [SEAL-5]."""
    unsynced: set[str] = set()
    gone = 0
    for name, file, arguments in traced_life(tmp_path):
        if name == "write" and file.startswith(str(tmp_path / "log")):
            unsynced.add(file)
        elif name == "link" and "/active/" not in arguments:
            unsynced.add(linked_folder(name, arguments))
        elif name in ("fsync", "fdatasync"):
            unsynced.discard(file)
        elif name == "unlink" and _NAME.findall(arguments)[0].endswith(".act"):
            assert not unsynced, f"{arguments} while unsynced: {unsynced}"
            gone += 1
    assert gone == 3
