"""One small life of a ledger, and what must hold after it was cut short anywhere.

Run as a program (`python workload.py PATH ACKS`), it writes a line to ACKS after each acknowledgement, by one
write(2) to a descriptor: what the operating system has, a kill of this process cannot take back."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ledger.engine import Ledger
from ledger.storage.create import write_lock_digest
from ledger.storage.paths import Paths
from tests.model import oracle

__all__ = ["Acknowledge", "check", "copy_as_original", "event", "live", "read_acknowledged"]

Event = dict[str, Any]
Acknowledge = Callable[[int, Event], None]


def event(step: int, blob_bytes: int = 0) -> Event:
    """The event of a step, which no other step equals."""
    return {"step": step, "text": f"€{step}" * (step % 7), "blob": b"%d," % step * (blob_bytes // 4)}


def live(path: Path, acknowledge: Acknowledge) -> None:
    """Create, append singles and batches, roll by fullness and by seal, and go on after a reopening."""
    with Ledger(path, segment_bytes_max=1 << 16) as log:
        for step in range(3):
            acknowledge(log.append(event(step)).index, event(step))
        batch = [event(step) for step in range(3, 40)]
        for receipt, one in zip(log.append_many(batch), batch, strict=True):
            acknowledge(receipt.index, one)
        for step in range(40, 42):  # the second does not fit: the first file is closed, a next one built
            acknowledge(log.append(event(step, 700_000)).index, event(step, 700_000))
        log.seal()
        acknowledge(log.append(event(42)).index, event(42))
    with Ledger(path) as log:
        log.seal()
        acknowledge(log.append(event(43)).index, event(43))


def check(path: Path, acknowledged: Mapping[int, Event], *, absent: tuple[Event, ...] = ()) -> None:
    """Open what is left for writing: nothing acknowledged is lost or changed, no index is missing, `absent` are
    not stored, all hashes are as an independent reading has them, and the ledger takes events again."""
    with Ledger(path) as log:
        new = {"step": -1}
        assert log[log.append(new).index] == new
        for index, one in acknowledged.items():
            assert log[index] == one, f"index {index}"
        size = log.size  # upkeep may add notes of segments that it seals meanwhile
        items = list(log.entries(0, size))
        assert [item.index for item in items] == list(range(size))
        stored = list(log)
        for one in absent:
            assert one not in stored
        steps = [one["step"] for one in stored]
        assert len(steps) == len(set(steps)), "an event is stored twice"
        rows = [(item.kind, item.time_ns, log.salt(item.index), item.payload) for item in items]
        entries, leaves = oracle.rebuild(log.fingerprint, rows)
        assert [log.entry(item.index) for item in items] == entries
        assert log.root_at(size) == oracle.tree_root(leaves)
        report = log.verify(require="L1")
        assert report.ok, report.problems
        log.seal()
        newest = log.segments[-1]["segno"]  # a file after it is one that upkeep prepared
        oldest = min(Paths(path).list_active().found)
        assert oldest == newest, "a seal that was cut short is finished by the next"


def copy_as_original(source: Path, target: Path) -> Path:
    """A copy of a ledger that takes itself for the original, as the disk after a crash would."""
    shutil.copytree(source, target)
    write_lock_digest(Paths(target))
    return target


def read_acknowledged(acks: Path) -> dict[int, Event]:
    """What the lines of ACKS promise; a last line without its end was never a promise."""
    lines = acks.read_text().split("\n")[:-1] if acks.exists() else []
    promised = (json.loads(line) for line in lines)
    return {index: event(step, blob_bytes) for index, step, blob_bytes in promised}


def main(path: str, acks: str) -> None:
    """Live at `path`, writing (index, step, blob bytes) lines to `acks`."""
    out = os.open(acks, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def acknowledge(index: int, one: Event) -> None:
        blob_bytes = 700_000 if one["blob"] else 0
        os.write(out, json.dumps([index, one["step"], blob_bytes]).encode() + b"\n")

    live(Path(path), acknowledge)


if __name__ == "__main__":
    main(*sys.argv[1:])
