"""Import an NDJSON file: resumable, because how far it came is a note in the same batch as the events."""

from __future__ import annotations

import hashlib
import os
import sys
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from ledger.encoding import event as events
from ledger.encoding import json_lines
from ledger.engine import Ledger
from ledger.errors import EnvironmentFailure, EventError

__all__ = ["import_lines"]

_BATCH_BYTES_MAX = 32 << 20


def import_lines(path: Path, source: Path, batch: int = 1000) -> dict[str, Any]:
    """Append every line of `source` (NDJSON; .gz and .zst by their content; `-` is standard input) to the ledger.

    A file is known by its absolute path, size and the hash of its first 64 KiB. After each batch an "imported"
    note with the last line number is durable in the same batch, so a second run of the same file goes on after
    it and nothing is imported twice. A bad line is an `EventError` that names it; what came before is stored."""
    with Ledger(path) as log:
        if str(source) == "-":
            return _import(log, sys.stdin.buffer, None, 0, batch)
        try:
            stream = source.open("rb")
        except OSError as error:
            raise EnvironmentFailure(f"cannot open {source}: {error.strerror}; nothing was imported") from error
        with stream:
            name = _name(stream, source)
            return _import(log, stream, name, _last_line(log, name), batch)


def _name(stream: BinaryIO, source: Path) -> str:
    start = stream.read(1 << 16)
    stream.seek(0)
    size = os.fstat(stream.fileno()).st_size
    text = f"{source.absolute()}\n{size}\n{hashlib.sha256(start).hexdigest()}"
    return hashlib.sha256(text.encode()).hexdigest()


def _last_line(log: Ledger, name: str) -> int:
    """The last line of this file that is in the ledger."""
    last = 0
    for item in log.entries():
        if item.kind == 1 and item.index > 0:
            note = events.unpack(item.payload)
            if note.get("note") == "imported" and note.get("source") == name:
                last = max(last, note["line"])
    return last


def _import(log: Ledger, stream: BinaryIO, name: str | None, skip: int, batch: int) -> dict[str, Any]:
    imported = last = 0
    lines = (line for line in json_lines.read(stream) if line.number > skip)
    while True:
        group, failure, size = [], None, 0
        try:
            for line in islice(lines, batch):
                payload = _pack(line)
                group.append(payload)
                last, size = line.number, size + len(payload)
                if size > _BATCH_BYTES_MAX:
                    break
        except EventError as error:
            failure = error
        if group:
            log.append_imported(group, {"note": "imported", "source": name, "line": last} if name else None)
            imported += len(group)
        if failure is not None:
            raise EventError(
                f"{failure}; {imported} events before it are stored, run again after mending the line",
                path=failure.path,
                position=failure.position,
            )
        if not group:
            return {"imported": imported, "skipped_lines": skip, "last_line": last or skip, "size": log.size}


def _pack(line: json_lines.Line) -> bytes:
    try:
        return events.pack(line.event)
    except EventError as error:
        raise EventError(f"line {line.number}: {error}", path=error.path, position=line.number) from None
