"""The queue of one target: `ship/<target>.log`, what was decided, sent and found for each object.

Records go to the end, each framed, with a checksum, and synced before it counts (but for `put`):

    opened     whose ledger and which target this is
    intent     name, sha256, length, lock: what will be sent; for a manifest also which objects it is first to list
    put        under which key and version the target took it
    verified   key, version, lock and checksum as re-read from the target; the only receipt that counts
    noted      the ledger has a note of this manifest
    forgotten  an intent whose bytes are lost and that never arrived: as if it had not been
    reconciled all that the target's manifests list was asked for; until then nothing is sent

A crash after `intent` sends the same bytes under the same lock again; after `put` it re-reads that version.
A torn end is cut off when the log is opened; a damaged record with a sound one after it is refused. Losing
the file is harmless: the shipper finds its objects on the target and writes it anew [SHIP-1].

The open log holds a lock on its file, so one live shipper serves a target. Any thread may write.
Bytes: docs/format.md, "Archive"."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ledger.archive.frames import frame, records, sound_from
from ledger.errors import CorruptionError, EnvironmentFailure, LockedError, UsageError
from ledger.storage.files import sync_folder, translated
from ledger.storage.paths import Paths

__all__ = ["Intent", "Journal", "Progress", "Put", "Verified"]

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Intent:
    """What will be sent. `mode` None: no lock. `until` in whole UTC seconds; `lists`: of a manifest, the names of
    the objects that no manifest before lists; `facts`: of a segment, base, count, root and seal hash (hex)."""

    sha256: bytes
    length: int
    mode: str | None
    until: int
    lists: list[str] = field(default_factory=list)
    facts: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Put:
    """The target took it."""

    key: str
    version: str


@dataclass(frozen=True, slots=True)
class Verified:
    """A receipt, re-read from the target. `checksum`: the SHA-256 found there."""

    key: str
    version: str
    mode: str | None
    until: int
    checksum: bytes
    checked_at: int


@dataclass(slots=True)
class Progress:
    """How far one object is."""

    intent: Intent
    put: Put | None = None
    verified: Verified | None = None
    noted: bool = False


@dataclass(slots=True)
class Journal:
    """An open log. `progress`: by the object's plain name, in the order of the intents. `dropped_bytes`: of a
    torn end, cut off at opening. Close it; a second one on the same file is a `LockedError`."""

    path: Path
    fingerprint: bytes
    url: str
    progress: dict[str, Progress] = field(default_factory=dict)
    dropped_bytes: int = 0
    reconciled: bool = False
    _fd: int = -1
    _number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        with translated(f"opening {self.path}; nothing was shipped, nothing was lost"):
            self.path.parent.mkdir(exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(self.path, flags, 0o644)
        try:
            self._take()
            self._load()
        except BaseException:
            self.close()
            raise

    def _take(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"{self.path} is held: another process ships to {self.url}. It goes on; this one did nothing"
            ) from None
        if not os.path.samestat(os.fstat(self._fd), os.stat(self.path)):
            raise LockedError(f"{self.path} was rewritten by another process at this moment; nothing was done")

    def _load(self) -> None:
        with open(self._fd, "rb", closefd=False) as file:
            data = file.read()
        end = 0
        for record, after in records(data):
            self._apply(record, end)
            end, self._number = after, self._number + 1
        if sound_from(data, end):
            raise CorruptionError(
                f"{self.path} is damaged at byte {end}, and sound records follow. Nothing was shipped or lost: move "
                "the file away, and the next run finds on the target what was shipped",
                offset=end,
                evidence="a later record is sound",
            )
        self.dropped_bytes = len(data) - end
        if self.dropped_bytes:
            os.ftruncate(self._fd, end)
            os.fsync(self._fd)
        if not self._number:
            self._write(self._opened())
            sync_folder(self.path.parent)
            sync_folder(self.path.parent.parent)

    def _apply(self, record: dict[str, Any], offset: int) -> None:
        try:
            kind = record.pop("type")
            if (kind == "opened") != (self._number == 0):
                raise ValueError(f"a record {kind} as number {self._number}")
            if kind == "opened":
                self._check_owner(record)
                return
            if kind == "reconciled":
                self.reconciled = True
                return
            name = record.pop("name")
            if kind == "intent":
                self.progress[name] = Progress(Intent(**record))
            elif kind == "put":
                self.progress[name].put = Put(**record)
            elif kind == "verified":
                self.progress[name].verified = Verified(**record)
            elif kind == "noted":
                self.progress[name].noted = True
            elif kind == "forgotten":
                del self.progress[name]
            else:
                raise ValueError(f"a record {kind!r}")
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, UsageError):
                raise
            raise CorruptionError(
                f"{self.path} holds at byte {offset} what no shipper writes ({error}). Nothing was shipped or lost: "
                "move the file away, and the next run finds on the target what was shipped",
                offset=offset,
            ) from error

    def _check_owner(self, record: dict[str, Any]) -> None:
        if record["format"] != FORMAT:
            raise UsageError(f"{self.path} has format {record['format']}; this version reads {FORMAT}: use a newer one")
        if record["fingerprint"] != self.fingerprint or record["url"] != self.url:
            raise UsageError(
                f"{self.path} belongs to the ledger {record['fingerprint'].hex()} and {record['url']}, not to "
                f"{self.fingerprint.hex()} and {self.url}; nothing was shipped"
            )

    # ---- writing --------------------------------------------------------------------------------

    def intend(self, name: str, intent: Intent) -> None:
        """Decide what will be sent, durable when it returns; it stands through every retry. Again for the same
        object only with `put` and `verified` forgotten: its version was lost or is not the one it must be."""
        self._write(_record(name, intent))
        self.progress[name] = Progress(intent)

    def record_put(self, name: str, put: Put) -> None:
        """The target answered, or its version was found there. Not synced: without it the version is found again."""
        self._write(_record(name, put), sync=False)
        self.progress[name].put = put

    def record_verified(self, name: str, receipt: Verified) -> None:
        """The version was re-read and is what was intended. Durable when it returns."""
        self._write(_record(name, receipt))
        self.progress[name].verified = receipt

    def record_noted(self, name: str) -> None:
        """The ledger's note of this manifest is durable. Durable when it returns."""
        self._write({"type": "noted", "name": name})
        self.progress[name].noted = True

    def forget(self, name: str) -> None:
        """The intent counts no more. Durable when it returns."""
        self._write({"type": "forgotten", "name": name})
        del self.progress[name]

    def record_reconciled(self) -> None:
        """What the target has is known. Durable when it returns."""
        self._write({"type": "reconciled"})
        self.reconciled = True

    def rewrite(self, keep: Callable[[str], bool]) -> None:
        """Write the log anew with the last state of the names that `keep` says, and no more: what is left out is
        as if it had never been shipped. Durable when it returns; a crash leaves the old log or the new one."""
        kept = {name: progress for name, progress in self.progress.items() if keep(name)}
        temporary = Paths.temporary(self.path)
        with self._lock, translated(f"rewriting {self.path}; it stays as it was, nothing was lost"):
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            new = os.open(temporary, flags, 0o644)
            try:
                fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
                number = 0
                with open(new, "ab", closefd=False) as out:
                    for record in self._states(kept):
                        out.write(frame(number, record))
                        number += 1
                os.fsync(new)
                os.rename(temporary, self.path)
                sync_folder(self.path.parent)
            except BaseException:
                os.close(new)
                self.close()  # which of the two files has the name is not known here
                raise
            self._fd, old = new, self._fd
            os.close(old)
            self.progress, self._number = kept, number

    def _states(self, kept: dict[str, Progress]) -> Iterator[dict[str, Any]]:
        """The records that give `kept`."""
        yield self._opened()
        if self.reconciled:
            yield {"type": "reconciled"}
        for name, progress in kept.items():
            for part in (progress.intent, progress.put, progress.verified):
                if part is not None:
                    yield _record(name, part)
            if progress.noted:
                yield {"type": "noted", "name": name}

    def _opened(self) -> dict[str, Any]:
        return {"type": "opened", "format": FORMAT, "fingerprint": self.fingerprint, "url": self.url}

    @property
    def is_open(self) -> bool:
        """False after `close` and after a failed write."""
        return self._fd >= 0

    def _write(self, record: dict[str, Any], *, sync: bool = True) -> None:
        """One record at the end. After a failure the handle is closed: what is on disk is a torn end,
        which the next opening cuts off."""
        with self._lock:
            self._write_locked(record, sync)

    def _write_locked(self, record: dict[str, Any], sync: bool) -> None:
        if self._fd < 0:
            raise EnvironmentFailure(
                f"{self.path} is closed: a write to it failed before. Open it anew; nothing was lost"
            )
        data = memoryview(frame(self._number, record))
        try:
            with translated(f"writing {self.path}; the object stays in the queue, nothing was lost"):
                while data:
                    data = data[os.write(self._fd, data) :]
                if sync:
                    os.fdatasync(self._fd)
        except BaseException:
            self.close()
            raise
        self._number += 1

    def close(self) -> None:
        """Close the file and give up its lock. Harmless twice."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1


def _record(name: str, part: Intent | Put | Verified) -> dict[str, Any]:
    fields = {field: getattr(part, field) for field in type(part).__slots__}
    return {"type": type(part).__name__.lower(), "name": name, **fields}
