"""class Ledger: opens the parts and delegates. The public API of a ledger in this process."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgpack

from ledger.encoding import event as events
from ledger.encoding.arrays import array_length, packed_array
from ledger.errors import ClosedError, EnvironmentFailure, EventError, UsageError
from ledger.signing import Signing
from ledger.storage import sealer
from ledger.storage.active import ActiveSegment
from ledger.storage.create import create as create_ledger
from ledger.storage.identity_file import read_identity, restore
from ledger.storage.paths import Paths
from ledger.storage.place import place_warning
from ledger.storage.recover import Finding, owed_notes
from ledger.storage.store import Store
from ledger.storage.writer import HINT_BEGAN, HINT_CLOCK, HINT_PREPARE, HINT_ROLLED, LOCK_SEAL, Writer
from ledger.types import Limits, Receipt, Receipts, check_limits, interval_ns_of
from ledger.upkeep import Upkeep

if TYPE_CHECKING:
    from ledger.stream import PendingAppend, PendingBatch, Stream

__all__ = ["Ledger"]

Event = Mapping[str, Any]


class Ledger(Signing):
    """A ledger at `path`: created if it is not there (unless `create=False`), else opened. Context manager.

    Several processes and threads may have the same ledger open and append at once. `readonly=True` takes no lock
    and writes nothing; `salvage=True` does the same on a damaged ledger and serves what verifies. For a new one:
    `name` is the first part of its origin, `new_key=True` makes its signing key (as `sealedger init` does), LEDGER
    names that key, and the limits count. `signer`: a `ledger.note.NoteSigner`; by default the key of this origin
    in the key folder. `sync="interval:20ms"` commits once a tick; every append still returns when durable.

    Raises `CorruptionError` (nothing changed), `CopiedLedgerError`, `EnvironmentFailure`, `UsageError`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        readonly: bool = False,
        salvage: bool = False,
        name: str | None = None,
        signer: Any = None,
        new_key: bool = False,
        sync: str = "commit",
        segment_bytes_max: int = 64 << 20,
        segment_entries_max: int = 1_000_000,
        segment_age_max_s: float = 3600,
        event_bytes_max: int = 16 << 20,
    ) -> None:
        self.path = Path(path)
        self.paths = Paths(self.path.absolute())
        self.readonly = readonly or salvage
        self._last: Receipts | None = None
        self._signer = signer
        self._closed = False
        self._stream: Stream | None = None
        self._owed: list[Finding] = []
        limits = Limits(segment_bytes_max, segment_entries_max, segment_age_max_s, event_bytes_max)
        check_limits(limits)
        interval_ns = interval_ns_of(sync)
        try:
            self.identity = read_identity(self.paths)
        except FileNotFoundError:
            if self.readonly or not create:
                raise EnvironmentFailure(f"there is no ledger at {self.path}; nothing was made") from None
            keys = self._first_keys(new_key)
            self.identity = create_ledger(self.paths, name=name or self.path.name or "ledger", limits=limits, keys=keys)
        self._writer: Writer | None = None
        if not self.readonly:
            self._writer = Writer(
                self.paths, self.identity.fingerprint, interval_ns=interval_ns, on_recovered=self._owed.append
            )
        try:
            if self._writer is not None:
                restore(self.paths, self.identity)
            self._store = Store(self.paths, self.identity, self._writer, salvage=salvage)
            self._upkeep = Upkeep(self._do_upkeep)
            self._pay_notes()
        except BaseException:
            if self._writer is not None:
                self._writer.close()
            raise

    def _first_keys(self, new_key: bool) -> Callable[[str], tuple[str, ...]]:
        from ledger.proofs import keys

        return keys.for_new_ledger(self.path, self._signer, new_key=new_key)

    @property
    def last_committed(self) -> Receipt | None:
        """The receipt of the last event that this handle committed."""
        return self._last[-1] if self._last is not None else None

    # ---- append -------------------------------------------------------------------------------------

    def append(self, event: Event) -> Receipt:
        """Append one event. **Durable when it returns**, in the file and in HEAD's acknowledgement.

        Raises `EventError` (with the path in the event; nothing stored), `DiskFullError`, `LockedError` (nothing
        stored), `DurabilityUnknownError`, `PoisonedError`, `ClosedError`. Threads and processes share syncs.
        Cost: one write, one sync, shared by all who append meanwhile. An interrupt (KeyboardInterrupt) may come
        after the commit: `last_committed` and the ledger itself tell."""
        return self._commit(events.encode(event), 1, packed=False, source=lambda _: event)[0]

    def append_many(self, batch: Iterable[Event]) -> Receipts:
        """Append events as one batch: all of them durable when it returns, or none stored. At most 64 MiB."""
        if not (listed := batch if isinstance(batch, list) else list(batch)):
            return Receipts(self.size, 0, b"")
        return self._commit(events.encode_many(listed), len(listed), packed=True, source=listed.__getitem__)

    def append_packed(self, buffer: bytes | bytearray | memoryview) -> Receipts:
        """As `append_many`, from one msgpack array of events, checked to be in the exact form. `bytes` are taken
        as they are; a mutable buffer is copied first."""
        data = bytes(buffer)
        count = array_length(data)
        if count == 0:
            return Receipts(self.size, 0, b"")
        return self._commit(data, count, packed=True, source=None)

    def _commit(
        self, data: bytes, count: int, *, packed: bool, source: Callable[[int], Event] | None, kind: int = 0
    ) -> Receipts:
        writer = self._open_writer()
        try:
            receipts, hints = writer.append(data, count, kind=kind, packed=packed)
        except EventError as error:
            if source is not None and error.position is not None:
                position = error.position if packed else None
                raise events.explain(source(error.position), position=position, cause=error) from None
            raise
        self._last = receipts
        if hints or self._owed:
            self._heed(hints)
        return receipts

    def append_note(self, note: dict[str, Any]) -> Receipt:
        """Append a note: an act of the ledger itself, without personal data; `note["note"]` names its kind
        (docs/format.md §9). For parts of sealedger. Durable when it returns."""
        receipts, hints = self._open_writer().append(msgpack.packb(note), 1, kind=1)
        self._heed_segment(hints)
        return receipts[0]

    def append_imported(self, payloads: list[bytes], note: dict[str, Any] | None) -> Receipts:
        """For `sealedger import`: packed events and a note of how far the import came, in one batch, so that
        neither is there without the other. Durable when it returns."""
        if note is None:
            return self.append_packed(packed_array(payloads))
        array = packed_array([*payloads, msgpack.packb(note)])
        return self._commit(array, len(payloads) + 1, packed=True, source=None, kind=2)

    def submit(self, event: Event) -> PendingAppend:
        """Queue one event and return at once; the future resolves to its `Receipt` when durable. Bounded: with
        64 MiB queued it waits for room. Events of one thread keep their order, with `append` too."""
        return self.stream().submit(event)

    def submit_many(self, batch: list[Event]) -> PendingBatch:
        """Queue events as one batch, all or none, and return at once: pack the next while this one is written."""
        return self.stream().submit_many(batch)

    def stream(self) -> Stream:
        """The submissions of this handle in this process, started when first asked for."""
        from ledger.stream import Stream

        writer = self._open_writer()
        if self._stream is None or self._stream.pid != os.getpid():
            self._stream = Stream(writer, self._heed)
        return self._stream

    # ---- upkeep -------------------------------------------------------------------------------------

    def seal(self) -> int:
        """Close the active segment and seal all closed ones. A no-op with nothing but notes. Returns how many."""
        writer = self._open_writer()
        if self._newest_has_events():
            writer.roll()
        return self._seal_closed()

    def reindex(self, segno: int | None = None) -> dict[int, bytes]:
        """Build the search index of one sealed segment anew from its entries, or of all; index_root by segment number.

        Durable when it returns; a search that is open keeps the index it has. Raises `CorruptionError` for entries
        that are not those a segment commits to, `UsageError` for a segment that is not sealed."""
        from ledger.storage.reindex import reindex

        with self._open_writer().locked(LOCK_SEAL):
            chosen = [segment for segment in self.sealed_segments() if segno in (None, segment.segno)]
            if segno is not None and not chosen:
                raise UsageError(f"segment {segno} is not sealed, or not there; nothing was changed")
            return {segment.segno: reindex(self.paths, self.identity, segment) for segment in chosen}

    def _seal_closed(self) -> int:
        with self._open_writer().locked(LOCK_SEAL):
            return sealer.seal_closed(self._open_store(), self.append_note)

    def _heed(self, hints: int) -> None:
        if hints & HINT_CLOCK:
            now = time.time_ns()
            self.append_note({"note": "clock", "wall_ns": now, "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME)})
        self._heed_segment(hints)
        if self._owed:
            self._pay_notes()

    def _heed_segment(self, hints: int) -> None:
        if hints & (HINT_PREPARE | HINT_ROLLED):
            self._upkeep.wake()
        if hints & HINT_BEGAN:
            self._upkeep.wake_after(self.identity.limits.segment_age_max_s)

    def _do_upkeep(self, asked: bool) -> None:
        """In the background. Asked: the next active file, and the backlog of seals. Else it is time to see whether the
        segment has come of age while nobody appends; one of notes alone stays open [ROLL-2]."""
        if self._writer is None or self._closed:
            return
        if asked:
            self._writer.prepare()
        elif (left := self._writer.roll_old()) is not None:
            if left < math.inf:  # else another process closed it: the next event of this handle gives the hint anew
                self._upkeep.wake_after(left)
            return
        self._seal_closed()

    def _newest_has_events(self) -> bool:
        self._open_store().refresh()
        newest = self._store.segments()[-1]
        return isinstance(newest, ActiveSegment) and any(
            newest.row(i).kind == 0 for i in range(newest.base, newest.size)
        )

    def _pay_notes(self) -> None:
        """Write the "recovered" note that each quarantined tail is owed [REC-3]."""
        if self._writer is None:
            return
        self._owed.clear()
        for note, done in owed_notes(self.paths):
            self.append_note(note)
            done()

    def stats(self) -> dict[str, Any]:
        """Figures of this handle and what is degraded."""
        store = self._open_store()
        result: dict[str, Any] = {
            "size": self.size,
            "segments": len(store.segments()),
            "degraded": list(store.degraded),
            "upkeep_error": self._upkeep.error,
            "place": place_warning(self.paths.root),
        }
        if self._writer is not None:
            result.update(self._writer.stats())
        return result

    def _open_store(self) -> Store:
        if self._closed:
            raise ClosedError(f"{self.path} is closed; what was acknowledged is safe")
        return self._store

    def _open_writer(self) -> Writer:
        if self._closed:
            raise ClosedError(f"{self.path} is closed; what was acknowledged is safe")
        if self._writer is None:
            raise UsageError(f"{self.path} is open for reading only; nothing was written")
        return self._writer

    def close(self) -> None:
        """Commit what was submitted, finish upkeep, close. Raises if a sync had failed. Idempotent."""
        if self._closed:
            return
        self._upkeep.stop()
        try:
            if self._stream is not None:
                self._stream.drain()
        finally:
            self._closed = True
            if self._search is not None:
                self._search.close()
            self._store.close()
            if self._writer is not None:
                self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
