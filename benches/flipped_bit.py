"""One bit of a write-ahead log flipped in event 500 of 1000, then opened as after a crash: who notices?

`python -m benches.flipped_bit` prints, for each store, how many events it still gives and what it said. The events
were all acknowledged as durable before the flip, so any number below 1000 that comes without an error is a silent
loss. Each store is killed (not closed), so its log is what the disk holds; then the bit is flipped, then it is opened
and read to the end, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from binascii import b2a_base64
from dataclasses import dataclass
from pathlib import Path

from benches.peer_stores import STORES
from benches.stores import Store, pack
from benches.workload import Event, events

__all__ = ["COUNT", "Outcome", "main", "outcome"]

COUNT = 1000
FLIPPED = 500
_KINDS: dict[str, type[Store]] = {kind.name: kind for kind in STORES if kind.name != "floor"}


@dataclass(frozen=True)
class Outcome:
    """What a store did with the flipped bit."""

    store: str
    file: str
    events: int
    equal: bool
    error: str

    @property
    def silent(self) -> bool:
        """Acknowledged events are gone or changed, and nothing was said."""
        return not self.error and not (self.equal and self.events == COUNT)


def _listed() -> list[Event]:
    """The events, each with a mark to find it by in a file."""
    return [{**event, "mark": f"mark-{position:04d}"} for position, event in enumerate(events(COUNT, "small"))]


def _fill(name: str, path: Path) -> None:
    """Append every event, ten a commit so that no store has cause to empty its log, then die as by a crash."""
    store, listed = _KINDS[name](path), _listed()
    for at in range(0, COUNT, 10):
        store.append_many(listed[at : at + 10])
    os.kill(os.getpid(), signal.SIGKILL)


def _read(name: str, path: Path) -> None:
    """Open, read everything, verify; print what came as JSON."""
    count, equal, error = 0, True, ""
    try:
        store = _KINDS[name](path)
        listed = _listed()
        for event in store.scan():
            equal = equal and count < COUNT and event == listed[count]
            count += 1
        store.verify()
    except Exception as failure:  # any error is an answer here: it is what the table shows
        error = f"{type(failure).__name__}: {failure}"
    print(json.dumps({"events": count, "equal": equal, "error": error}))


def _flip(name: str, path: Path) -> str:
    """Flip the lowest bit in the mark of event 500, in the largest log that has it; the file's name."""
    mark = f"mark-{FLIPPED:04d}".encode()
    if name == "jsonl":
        payload = b2a_base64(pack(_listed()[FLIPPED]), newline=False)
        mark = payload[8:40]
    holding = [file for file in path.parent.rglob("*") if file.is_file() and mark in file.read_bytes()]
    file = max(holding, key=lambda file: ("wal" in file.name, file.suffix == ".log", file.stat().st_size))
    data = bytearray(file.read_bytes())
    data[data.rindex(mark) + len(mark) - 1] ^= 1
    file.write_bytes(data)
    return file.name


def _step(step: str, name: str, path: Path) -> str:
    command = [sys.executable, "-m", "benches.flipped_bit", "--step", step, name, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != (-signal.SIGKILL if step == "fill" else 0):
        raise RuntimeError(f"{step} of {name} failed: {done.stderr}")
    return done.stdout


def outcome(name: str, folder: Path) -> Outcome:
    """Fill, kill, flip, open and read the store `name` in a folder of its own."""
    path = folder / name / "data"
    path.parent.mkdir()
    _step("fill", name, path)
    file = _flip(name, path)
    return Outcome(name, file, **json.loads(_step("read", name, path)))


def main(arguments: list[str]) -> int:
    """Print the table."""
    if arguments[:1] == ["--step"]:
        {"fill": _fill, "read": _read}[arguments[1]](arguments[2], Path(arguments[3]))
        return 0
    print(f"one bit flipped in event {FLIPPED} of {COUNT}, all of them acknowledged as durable\n")
    print(f"{'store':10} {'file':14} {'events':>6}  {'verdict':11} what it said")
    with tempfile.TemporaryDirectory(prefix=".flip-", dir=Path.cwd()) as folder:
        for name in _KINDS:
            found = outcome(name, Path(folder))
            verdict = "SILENT LOSS" if found.silent else "noticed" if found.error else "intact"
            said = found.error.replace(folder, "").splitlines()[0][:110] if found.error else "nothing"
            print(f"{found.store:10} {found.file[-14:]:14} {found.events:6}  {verdict:11} {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
