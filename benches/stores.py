"""The stores that are measured, behind one interface: ours, the floor, and the peers a user would else take.

Every peer stores, per event, the payload (ormsgpack, as ours) and SHA-256(previous hash ‖ payload), and syncs once
a commit, with one write-ahead log or file as a careful user would set it. Threads share a peer's syncs by a leader
and followers, which is faster for all of them than a lock.

Floor     the payloads alone, pwrite and fdatasync into a file already written: no hash, no index, no recovery
Ours      `Ledger`; its notes have indices too, so the index of event i is looked up in an array
Line      a text file, a line an event: hash in hex, payload in base64; LineAhead with zeros written ahead
Sqlite    the standard library's sqlite3, WAL, synchronous=FULL
Apsw      the same database by apsw
Lmdb      hash ‖ payload under an integer key, appended
Rocks     the same in RocksDB, write-ahead log synced, zstd blocks"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from abc import ABC, abstractmethod
from array import array
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import ormsgpack

from benches.workload import Event
from ledger import AsyncLedger, Ledger
from ledger.encoding.arrays import packed_array

__all__ = ["ChainError", "Floor", "Ours", "Peer", "Store", "pack", "unpack"]

GENESIS = bytes(32)
pack, unpack = ormsgpack.packb, ormsgpack.unpackb


class ChainError(Exception):
    """A stored event does not hash to what was stored with it."""


class Store(ABC):
    """A store at a path; opened when made. Appends are durable when they return."""

    name: str

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def append(self, event: Event) -> None:
        """One event, one sync."""

    @abstractmethod
    def append_many(self, events: list[Event]) -> None:
        """A batch, one sync."""

    @abstractmethod
    def append_packed(self, payloads: list[bytes]) -> None:
        """A batch that is packed already, one sync."""

    def append_shared(self, event: Event) -> None:
        """One event from one of several threads, which share syncs."""
        self.append(event)

    def turn_append(self) -> Callable[[Event], Awaitable[object]]:
        """For tasks of one event loop: an append to await. Here: what the tasks of a turn append is one commit,
        made in the loop, which stands still for it; that is the fastest for tasks that all wait."""
        return _Turn(self).append

    def append_stream(self, events: list[Event]) -> None:
        """All of them, as fast as it goes, durable when it returns."""
        for at in range(0, len(events), 10_000):
            self.append_many(events[at : at + 10_000])

    @abstractmethod
    def get(self, position: int) -> Event:
        """Event number `position`, from 0."""

    def scan(self) -> Iterator[Event]:
        """All events as dicts, in order."""
        return map(unpack, self.raw())

    @abstractmethod
    def raw(self) -> Iterator[bytes]:
        """All payloads, in order."""

    @abstractmethod
    def verify(self, threads: int = 1) -> int:
        """Read and hash everything again; how many events were checked. Raises when anything differs."""

    @abstractmethod
    def settle(self) -> None:
        """What a store does with finished data: seal, checkpoint, compact, cut."""

    @abstractmethod
    def close(self) -> None:
        """Close it; it can be opened again by its class."""

    def disk_bytes(self) -> int:
        """Bytes of all files."""
        files = [self.path] if self.path.is_file() else [f for f in self.path.rglob("*") if f.is_file()]
        return sum(f.stat().st_size for f in files)


class _Turn:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._gathered: list[tuple[Event, asyncio.Future[None]]] = []

    def append(self, event: Event) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if not self._gathered:
            loop.call_soon(self._commit)
        self._gathered.append((event, future))
        return future

    def _commit(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._store.append_many([event for event, _ in gathered])
        for _, future in gathered:
            future.set_result(None)


class Ours(Store):
    """The ledger itself."""

    name = "ours"

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path)
        self.ledger = Ledger(path, **options)
        self._indices = array("Q")

    def append(self, event: Event) -> None:
        self.ledger.append(event)

    def append_many(self, events: list[Event]) -> None:
        self.ledger.append_many(events)

    def append_packed(self, payloads: list[bytes]) -> None:
        self.ledger.append_packed(packed_array(payloads))

    def turn_append(self) -> Callable[[Event], Awaitable[object]]:
        return AsyncLedger(self.ledger).append

    def append_stream(self, events: list[Event]) -> None:
        pending = [self.ledger.submit_many(events[at : at + 1000]) for at in range(0, len(events), 1000)]
        assert sum(len(batch.result()) for batch in pending) == len(events)

    def get(self, position: int) -> Event:
        if position >= len(self._indices):
            self._indices = array("Q", [item.index for item in self.ledger.entries() if item.kind == 0])
        return self.ledger[self._indices[position]]

    def scan(self) -> Iterator[Event]:
        return iter(self.ledger)

    def raw(self) -> Iterator[bytes]:
        return self.ledger.payloads()

    def verify(self, threads: int = 1) -> int:
        report = self.ledger.verify(threads=threads, require="L1")
        if not report.ok:
            raise ChainError("; ".join(report.problems))
        return len(self.ledger)

    def disk_bytes(self) -> int:
        """Without the newest active file: after a seal it holds no event, only room for some."""
        files = [f for f in self.path.rglob("*") if f.is_file() and f.parent.name != "active"]
        return sum(f.stat().st_size for f in files)

    def settle(self) -> None:
        self.ledger.seal()

    def close(self) -> None:
        self.ledger.close()


class Floor(Store):
    """The least that a durable append can cost: bytes written over bytes, one sync."""

    name = "floor"
    capacity = 48 << 20

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        for at in range(0, self.capacity, 1 << 20):
            os.pwrite(self.fd, bytes(1 << 20), at)
        os.fsync(self.fd)
        self.end = 0

    def append(self, event: Event) -> None:
        self._write(pack(event))

    def append_many(self, events: list[Event]) -> None:
        self._write(b"".join([pack(event) for event in events]))

    def append_packed(self, payloads: list[bytes]) -> None:
        self._write(b"".join(payloads))

    def _write(self, data: bytes) -> None:
        if self.end + len(data) > self.capacity:
            self.end = 0  # the same blocks again: what a recycled file costs
        os.pwrite(self.fd, data, self.end)
        os.fdatasync(self.fd)
        self.end += len(data)

    def get(self, position: int) -> Event:
        raise NotImplementedError("the floor keeps no index")

    def raw(self) -> Iterator[bytes]:
        raise NotImplementedError("the floor keeps no frames")

    def verify(self, threads: int = 1) -> int:
        raise NotImplementedError("the floor keeps no hashes")

    def settle(self) -> None:
        os.fdatasync(self.fd)

    def close(self) -> None:
        os.close(self.fd)


class _Waiting:
    __slots__ = ("done", "error", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.done = threading.Lock()
        self.done.acquire()
        self.error: BaseException | None = None


class Peer(Store):
    """What the peers share: the chain, and the group commit of threads."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.head = GENESIS
        self.count = 0
        self._mutex = threading.Lock()
        self._queue: list[_Waiting] = []
        self._led = False

    def _link(self, payloads: list[bytes]) -> list[bytes]:
        head, sha256 = self.head, hashlib.sha256
        hashes = []
        for payload in payloads:
            head = sha256(head + payload).digest()
            hashes.append(head)
        return hashes

    @abstractmethod
    def _commit(self, hashes: list[bytes], payloads: list[bytes]) -> None:
        """Store the rows after the `count` that are there, durable when it returns."""

    @abstractmethod
    def _rows(self) -> Iterator[tuple[bytes, bytes]]:
        """(hash, payload) of all events, in order."""

    def append(self, event: Event) -> None:
        self.append_packed([pack(event)])

    def append_many(self, events: list[Event]) -> None:
        self.append_packed([pack(event) for event in events])

    def append_packed(self, payloads: list[bytes]) -> None:
        hashes = self._link(payloads)
        self._commit(hashes, payloads)
        self.head = hashes[-1]
        self.count += len(payloads)

    def append_shared(self, event: Event) -> None:
        mine = _Waiting(event)
        with self._mutex:
            self._queue.append(mine)
            leads = not self._led
            self._led = True
        if not leads:
            mine.done.acquire()
            if mine.error is not None:
                raise mine.error
            if mine not in self._queue:
                return
        self._lead(mine)

    def _lead(self, mine: _Waiting) -> None:
        """Commit all that wait, `mine` among them, then hand the lead to the first who came meanwhile."""
        with self._mutex:
            group, self._queue = self._queue, []
        error: BaseException | None = None
        try:
            self.append_many([waiting.event for waiting in group])
        except Exception as failure:  # it belongs to all of the group
            error = failure
        with self._mutex:
            heir = self._queue[0] if self._queue else None
            self._led = heir is not None
        for waiting in group:
            waiting.error = error
            if waiting is not mine:
                waiting.done.release()
        if heir is not None:
            heir.done.release()
        if error is not None:
            raise error

    def raw(self) -> Iterator[bytes]:
        return (payload for _, payload in self._rows())

    def verify(self, threads: int = 1) -> int:
        head, count, sha256 = GENESIS, 0, hashlib.sha256
        for stored, payload in self._rows():
            head = sha256(head + payload).digest()
            if head != stored:
                raise ChainError(f"event {count} does not hash to what was stored with it")
            count += 1
        return count
