"""The sum of the parts: which file holds an index, and reads from any of them, while others write and seal.

A reader keeps the descriptors it has: a file that was sealed and unlinked under it stays readable, so each
acknowledged entry is seen exactly once, from the active file or the sealed one [READ-1]."""

from __future__ import annotations

import bisect
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

from ledger._native import ffi, lib
from ledger.encoding.block import Block
from ledger.encoding.identity import Identity
from ledger.errors import CorruptionError
from ledger.storage.active import ActiveSegment
from ledger.storage.files import read_file
from ledger.storage.identity_file import file_fault
from ledger.storage.paths import Paths
from ledger.storage.recover import Finding, examine, newest_active, refuse
from ledger.storage.sealed import SealedSegment
from ledger.storage.stub import EvictedSegment, Fetch
from ledger.storage.writer import Writer
from ledger.verify import node_hash

__all__ = ["Item", "Store"]

Segment = ActiveSegment | SealedSegment


class Item(NamedTuple):
    """One entry as it is read."""

    index: int  # type: ignore[assignment]  # an entry's index, not the tuple's method
    kind: int
    time_ns: int
    payload: bytes


class Store:
    """Reads a ledger. With a `writer` it follows what is acknowledged; without one (read-only) it follows
    HEAD, takes no lock and writes nothing."""

    def __init__(self, paths: Paths, identity: Identity, writer: Writer | None, *, salvage: bool = False) -> None:
        self.paths = paths
        self.identity = identity
        self.writer = writer
        self.salvage = salvage
        self.fetch: Fetch | None = None
        self.degraded: list[str] = []
        self._lock = threading.RLock()
        self._segments: list[Segment] = []
        self._bases: list[int] = []
        self._size = 0
        _stores.add(self)
        if fault := file_fault(paths, identity):
            self.note_degraded(fault)
        self.refresh()

    # ---- what there is ------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Entries acknowledged, as of the last refresh."""
        return self._size

    def segments(self) -> list[Segment]:
        """The open segments in order, as of the last refresh."""
        with self._lock:
            return list(self._segments)

    def describe(self) -> list[dict[str, Any]]:
        """Number, base, end and state of each segment, now."""
        self.refresh()
        result = []
        for segment in self.segments():
            active = isinstance(segment, ActiveSegment)
            end = segment.size if isinstance(segment, ActiveSegment) else segment.end
            state = "active" if active else "evicted" if isinstance(segment, EvictedSegment) else "sealed"
            result.append({"segno": segment.segno, "base": segment.base, "end": end, "state": state})
        return result

    def count_events(self) -> int:
        """Entries of kind 0, now."""
        self.refresh()
        total = 0
        for segment in self.segments():
            if isinstance(segment, ActiveSegment):
                total += sum(segment.row(i).kind == 0 for i in range(segment.base, segment.size))
            else:
                total += segment.footer.event_count
        return total

    def refresh(self) -> int:
        """Catch up with what is acknowledged now; returns the size. Cost: a read of HEAD, and of what is new."""
        with self._lock:
            for _ in range(100):
                head = self._head()
                try:
                    size = self._catch_up(int(head.segno), int(head.synced_end))
                except FileNotFoundError:
                    continue  # sealed and unlinked between the listing and the open: look again
                self._size = max(self._size, size)
                return self._size
            raise CorruptionError(f"{self.paths.root}: segments vanish faster than they can be opened")

    def _head(self) -> Any:
        """HEAD, and for a reader whose HEAD is damaged, what the newest file itself proves."""
        if self.writer is not None:
            return self.writer.head()
        head = ffi.new("ledger_head *")
        data = read_file(self.paths.head)
        good = len(data) == 8192 and lib.ledger_head_parse(data, head) == lib.LEDGER_OK
        if good and head.valid_slots == 2:
            return head
        finding = self.examine(head if good else None)
        if finding.evidence and not self.salvage:
            raise refuse(self.paths, finding)
        if (good and head.generation > 1) or not good:
            self.note_degraded("HEAD is damaged: the newest batches were found by reading the active file")
        if not good or (finding.segno, finding.end) > (head.segno, head.synced_end):
            head.segno, head.synced_end = finding.segno, finding.end
        return head

    def examine(self, head: Any = None) -> Finding:
        """What recovery would find in the newest active file now; changes nothing."""
        segment = ActiveSegment(self.paths.active(newest_active(self.paths)), self.identity.fingerprint)
        try:
            return examine(self.paths, segment, head)
        finally:
            segment.close()

    def note_degraded(self, text: str) -> None:
        """Keep what is wrong and stops nothing, once, for `stats()` and verification."""
        if text not in self.degraded:
            self.degraded.append(text)

    def _catch_up(self, segno: int, end: int) -> int:
        last = self._segments[-1] if self._segments else None
        if isinstance(last, ActiveSegment) and last.segno < segno:
            self._finish(last)
        begin = 0 if last is None else last.segno + 1
        sealed = set(self.paths.list_sealed().found) if begin <= segno else set()
        stubs = set(self.paths.list_stubs().found) - sealed if begin <= segno else set()
        for number in range(begin, segno + 1):
            if number in sealed or number in stubs:
                segment: Segment = self._open_sealed(number, number in stubs)
            else:
                segment = self._open_active(number)
                if number < segno:
                    self._finish(segment)
            self._add(segment)
        newest = self._segments[-1]
        if isinstance(newest, ActiveSegment) and newest.segno == segno:
            self._read_on(newest, end)
        return newest.size if isinstance(newest, ActiveSegment) else newest.end

    def _open_sealed(self, number: int, evicted: bool) -> SealedSegment:
        if evicted:
            path = self.paths.stub(number)
            return EvictedSegment(path, number, fingerprint=self.identity.fingerprint, fetch=self.fetch)
        return SealedSegment(self.paths.sealed(number), number, fingerprint=self.identity.fingerprint)

    def _open_active(self, number: int) -> ActiveSegment:
        try:
            segment = ActiveSegment(self.paths.active(number), self.identity.fingerprint)
        except FileNotFoundError:
            if number in self.paths.list_sealed().found:
                raise
            raise CorruptionError(
                f"segment {number} is missing: neither {self.paths.active(number)} nor "
                f"{self.paths.sealed(number)} exists. Segments before it are safe; nothing was changed",
                segment=number,
            ) from None
        if segment.good_headers == 1:
            self.note_degraded(f"one of the two header copies of segment {number} is damaged; the other serves")
        return segment

    def _finish(self, segment: ActiveSegment) -> None:
        """Read a closed file to its end, which must be a clean one."""
        stop = segment.scan_to(int(segment.header.file_bytes))
        if stop != lib.LEDGER_STOP_ZERO and not self.salvage:
            raise CorruptionError(
                f"{segment.path} is closed, yet it is damaged at offset {segment.end}: entries from index "
                f"{segment.size} on may be lost; those before are safe. Nothing was changed",
                segment=segment.segno,
                offset=segment.end,
                index=segment.size,
                evidence="a later segment was begun",
            )

    def _read_on(self, segment: ActiveSegment, end: int) -> None:
        try:
            segment.refresh(end)
        except CorruptionError as error:
            if not self.salvage:
                raise
            self.note_degraded(str(error))

    def _add(self, segment: Segment) -> None:
        expected = 0
        if self._segments:
            last = self._segments[-1]
            expected = last.size if isinstance(last, ActiveSegment) else last.end
        if segment.base != expected:
            raise CorruptionError(
                f"{segment.path} begins at index {segment.base}, where {expected} is next; nothing was changed",
                segment=segment.segno,
                index=expected,
            )
        self._segments.append(segment)
        self._bases.append(segment.base)

    def attach(self, fetch: Fetch) -> None:
        """Read evicted segments through `fetch` from now on."""
        with self._lock:
            self.fetch = fetch
            for segment in self._segments:
                if isinstance(segment, EvictedSegment):
                    segment.fetch = fetch

    def replace_sealed(self, segment: SealedSegment) -> None:
        """A segment was sealed, or evicted: serve it from that file from now on. Who reads the old one goes on."""
        with self._lock:
            for at, old in enumerate(self._segments):
                evicts = isinstance(segment, EvictedSegment) and not isinstance(old, EvictedSegment)
                if old.segno == segment.segno and (isinstance(old, ActiveSegment) or evicts):
                    self._segments[at] = segment
                    if isinstance(old, SealedSegment):  # its space is free when the last reader has let go of it
                        weakref.finalize(old, os.close, old._fd)

    def renew_locks(self) -> None:
        """In a forked child: another thread of the parent may have held them [FORK-1]."""
        self._lock = threading.RLock()
        for segment in self._segments:
            segment.renew_lock()

    def close(self) -> None:
        """Close every file. Reads still running in other threads fail with `EnvironmentFailure`."""
        with self._lock:
            for segment in self._segments:
                segment.close()
            self._segments.clear()
            self._bases.clear()

    # ---- reads --------------------------------------------------------------------------------------

    def _locate(self, index: int) -> Segment:
        if not 0 <= index < self._size and not 0 <= index < self.refresh():
            raise IndexError(f"index {index} of {self._size}")
        with self._lock:
            return self._segments[bisect.bisect_right(self._bases, index) - 1]

    def payload(self, index: int) -> bytes:
        """The payload at `index`. One read, from the cache or the disk; a block's decompression when sealed."""
        return self._locate(index).payload(index)

    def entry(self, index: int) -> tuple[bytes, bytes]:
        """The 104 hashed bytes, rebuilt from what is stored, and the salt."""
        return self._locate(index).entry(index)

    def leaf_hash(self, index: int) -> bytes:
        """SHA-256(0x00 ‖ entry)."""
        return self._locate(index).leaf_hash(index)

    def items(self, begin: int, end: int) -> Iterator[Item]:
        """Entries [begin, end) in order, read ahead in blocks of some MiB."""
        at = begin
        while at < end:
            segment = self._locate(at)
            if isinstance(segment, ActiveSegment):
                stop = min(end, segment.size)
                yield from map(Item._make, segment.items(at, stop))
            else:
                stop = min(end, segment.end)
                yield from map(Item._make, segment.iter_items(at, stop))
            at = stop

    def blocks(self, begin: int, end: int) -> Iterator[Block]:
        """Blocks, in order, that hold the entries [begin, end); those at the ends may hold others too."""
        at = begin
        while at < end:
            segment = self._locate(at)
            stop = min(end, segment.size if isinstance(segment, ActiveSegment) else segment.end)
            yield from segment.blocks(at, stop)
            at = stop

    def payloads(self, begin: int, end: int) -> Iterator[list[bytes]]:
        """The payloads of the events (kind 0) among entries [begin, end), in order, up to 128 a list."""
        at = begin
        while at < end:
            segment = self._locate(at)
            stop = min(end, segment.size if isinstance(segment, ActiveSegment) else segment.end)
            yield from segment.iter_payloads(at, stop)
            at = stop

    def node(self, level: int, i: int) -> bytes:
        """The root of leaves [i·2^level, (i+1)·2^level), RFC 6962 §2.1; the callback of `ledger.merkle.tree`."""
        begin, end = i << level, (i + 1) << level
        segment = self._locate(end - 1)
        if isinstance(segment, SealedSegment) and (begin >= segment.base or level >= 8):
            return segment.node(level, i)
        if isinstance(segment, ActiveSegment) and begin >= segment.base:
            leaves = bytearray(segment.leaf_hashes(begin, end))
            root = ffi.new("uint8_t[32]")
            lib.ledger_leaves_root(ffi.from_buffer("uint8_t[]", leaves), end - begin, root)
            return bytes(root)
        return node_hash(self.node(level - 1, 2 * i), self.node(level - 1, 2 * i + 1))


_stores: weakref.WeakSet[Store] = weakref.WeakSet()


def _renew_all() -> None:
    for store in list(_stores):
        store.renew_locks()


os.register_at_fork(after_in_child=_renew_all)
