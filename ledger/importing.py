"""Import an NDJSON file: resumable, because how far it came is a note in the same batch as the events."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any, BinaryIO

from ledger.encoding import event as events
from ledger.encoding import json_lines
from ledger.engine import Ledger
from ledger.errors import EnvironmentFailure, EventError, UsageError

__all__ = ["import_lines"]

_BATCH_BYTES_MAX = 32 << 20


def import_lines(path: Path, source: Path, batch: int = 1000) -> dict[str, Any]:
    """Append every line of `source` (NDJSON; .gz and .zst by their content; `-` is standard input) to the ledger.

    A file is known by its absolute path and its first event. Each batch ends in an "imported" note of its last
    line and a running hash of all events so far, so a second run, also after a bad line was mended, goes on after
    it and nothing is imported twice. A bad line is an `EventError` that names it; what came before is stored.
    `UsageError` when lines that were imported have changed since."""
    with Ledger(path) as log:
        if str(source) == "-":
            return _Import(log, None, batch).run(sys.stdin.buffer)
        try:
            stream = source.open("rb")
        except OSError as error:
            raise EnvironmentFailure(f"cannot open {source}: {error.strerror}; nothing was imported") from error
        with stream:
            return _Import(log, source, batch).run(stream)


class _Import:
    """One run over one file."""

    def __init__(self, log: Ledger, source: Path | None, batch: int) -> None:
        self._log = log
        self._source = source
        self._batch = batch
        self._name = ""
        self._digest = b""  # of all events up to here: SHA-256(digest before ‖ payload)
        self._skip_line, self._skip_digest = 0, b""
        self.imported = self.skipped = self.last_line = 0

    def run(self, stream: BinaryIO) -> dict[str, Any]:
        group: list[bytes] = []
        size = 0
        try:
            for line in json_lines.read(stream):
                payload = _pack(line)
                self._begin(payload)
                self._digest = hashlib.sha256(self._digest + payload).digest()
                self.last_line = line.number
                if line.number <= self._skip_line:
                    self._skip(line.number)
                    continue
                group.append(payload)
                size += len(payload)
                if len(group) >= self._batch or size > _BATCH_BYTES_MAX:
                    self._commit(group)
                    group, size = [], 0
        except EventError as error:
            self._commit(group)
            raise EventError(
                f"{error}; {self.imported} events before it were imported, mend the line and run again",
                path=error.path,
                position=error.position,
            ) from None
        if self.last_line < self._skip_line:
            raise UsageError(f"{self._source} had {self._skip_line} lines when it was imported, now {self.last_line}")
        self._commit(group)
        return {
            "imported": self.imported,
            "skipped_lines": self.skipped,
            "last_line": self.last_line,
            "size": self._log.size,
        }

    def _begin(self, first: bytes) -> None:
        """At the first event: who is this file, and how far did it come?"""
        if self._source is None or self._name:
            return
        text = f"{self._source.absolute()}\n{hashlib.sha256(first).hexdigest()}"
        self._name = hashlib.sha256(text.encode()).hexdigest()
        for item in self._log.entries(1):
            if item.kind == 1:
                note = events.unpack(item.payload)
                if note.get("note") == "imported" and note.get("source") == self._name:
                    self._skip_line, self._skip_digest = note["line"], note["digest"]

    def _skip(self, number: int) -> None:
        self.skipped += 1
        if number == self._skip_line and self._digest != self._skip_digest:
            raise UsageError(
                f"{self._source}: lines up to {number} were imported, and have changed since; nothing was imported now"
            )

    def _commit(self, group: list[bytes]) -> None:
        if not group:
            return
        note = {"note": "imported", "source": self._name, "line": self.last_line, "digest": self._digest}
        self._log.append_imported(group, note if self._name else None)
        self.imported += len(group)


def _pack(line: json_lines.Line) -> bytes:
    try:
        return events.pack(line.event)
    except EventError as error:
        raise EventError(f"line {line.number}: {error}", path=error.path, position=line.number) from None
