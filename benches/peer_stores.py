"""The peers: a text file, sqlite3, apsw, LMDB, RocksDB; see `benches.stores` for what each of them stores."""

from __future__ import annotations

import os
import sqlite3
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import lmdb
import rocksdict

from benches.stores import Floor, Ours, Peer, Store, unpack
from benches.workload import Event

__all__ = ["PEERS", "STORES", "Apsw", "Line", "LineAhead", "Lmdb", "Rocks", "Sqlite"]


class Line(Peer):
    """A text file, appended to and synced."""

    name = "jsonl"
    ahead = 0

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.written = self.end = os.fstat(self.fd).st_size
        self._offsets: list[int] | None = None if self.end else [0]
        begin = max(0, self.end - self.ahead - (1 << 16))
        tail = os.pread(self.fd, self.end - begin, begin).rstrip(b"\0")  # zeros: it was not closed
        self.end = begin + len(tail)
        if tail:
            at = tail.rindex(b'{"h":"') + 6
            self.head = bytes.fromhex(tail[at : at + 64].decode())

    def _commit(self, hashes: list[bytes], payloads: list[bytes]) -> None:
        lines = [
            b'{"h":"%b","e":"%b"}\n' % (link.hex().encode(), b2a_base64(payload, newline=False))
            for link, payload in zip(hashes, payloads, strict=True)
        ]
        data = b"".join(lines)
        stop = self.end + len(data)
        if len(data) < self.ahead >> 4 and stop > self.written:
            os.pwrite(self.fd, bytes(self.ahead), self.end)
            self.written = self.end + self.ahead
        os.pwrite(self.fd, data, self.end)
        os.fdatasync(self.fd)
        if self._offsets is not None:
            at = self.end
            for line in lines:
                at += len(line)
                self._offsets.append(at)
        self.end, self.written = stop, max(stop, self.written)

    def _lines(self) -> Iterator[bytes]:
        with open(self.path, "rb", buffering=1 << 20) as file:
            for line in file:
                if line[0] == 0:
                    return
                yield line

    def _rows(self) -> Iterator[tuple[bytes, bytes]]:
        for line in self._lines():
            yield bytes.fromhex(line[6:70].decode()), a2b_base64(line[77:-3])

    def raw(self) -> Iterator[bytes]:
        return (a2b_base64(line[77:-3]) for line in self._lines())

    def get(self, position: int) -> Event:
        if self._offsets is None:
            self._offsets = [0]
            for line in self._lines():
                self._offsets.append(self._offsets[-1] + len(line))
        begin, end = self._offsets[position], self._offsets[position + 1]
        event: Event = unpack(a2b_base64(os.pread(self.fd, end - begin, begin)[77:-3]))
        return event

    def settle(self) -> None:
        os.ftruncate(self.fd, self.end)
        self.written = self.end

    def close(self) -> None:
        self.settle()
        os.close(self.fd)


class LineAhead(Line):
    """The same with our own trick: small commits go into zeros written ahead, as a sync is then free of metadata;
    large ones extend the file. The zeros are cut off at close."""

    name = "jsonl+zeros"
    ahead = 1 << 20


_TABLE = "create table if not exists e (seq integer primary key, hash blob not null, payload blob not null)"
_PRAGMAS = (
    "pragma journal_mode=wal",
    "pragma synchronous=full",
    "pragma cache_size=-65536",
    "pragma mmap_size=1073741824",
)
_INSERT = "insert into e values (?,?,?)"
_LAST = "select seq, hash from e order by seq desc limit 1"


class Sqlite(Peer):
    """sqlite3; one connection, used by one thread at a time."""

    name = "sqlite3"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.db: Any = self._connect()
        for pragma in _PRAGMAS:
            self.db.execute(pragma).fetchall()
        self.db.execute(_TABLE)
        last = self.db.execute(_LAST).fetchone()
        if last is not None:
            self.count, self.head = last[0] + 1, last[1]

    def _connect(self) -> Any:
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)

    def _commit(self, hashes: list[bytes], payloads: list[bytes]) -> None:
        rows = zip(range(self.count, self.count + len(payloads)), hashes, payloads, strict=True)
        if len(payloads) == 1:
            self.db.execute(_INSERT, next(rows))
            return
        self.db.execute("begin immediate")
        self.db.executemany(_INSERT, rows)
        self.db.execute("commit")

    def _rows(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.db.execute("select hash, payload from e order by seq"))

    def raw(self) -> Iterator[bytes]:
        return (row[0] for row in self.db.execute("select payload from e order by seq"))

    def get(self, position: int) -> Event:
        row = self.db.execute("select payload from e where seq=?", (position,)).fetchone()
        event: Event = unpack(row[0])
        return event

    def settle(self) -> None:
        self.db.execute("pragma wal_checkpoint(truncate)").fetchall()

    def close(self) -> None:
        self.db.close()


class Apsw(Sqlite):
    """The same statements through apsw."""

    name = "apsw"

    def _connect(self) -> Any:
        return apsw.Connection(str(self.path))


class Lmdb(Peer):
    """LMDB: big-endian keys, appended; both syncs of a commit on."""

    name = "lmdb"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.env = lmdb.open(str(path), map_size=8 << 30, max_dbs=0)
        with self.env.begin() as txn, txn.cursor() as cursor:
            if cursor.last():
                self.count = int.from_bytes(cursor.key()) + 1
                self.head = bytes(cursor.value()[:32])

    def _commit(self, hashes: list[bytes], payloads: list[bytes]) -> None:
        with self.env.begin(write=True) as txn:
            if len(payloads) == 1:
                txn.put(self.count.to_bytes(8), hashes[0] + payloads[0], append=True)
                return
            keys = [position.to_bytes(8) for position in range(self.count, self.count + len(payloads))]
            values = [link + payload for link, payload in zip(hashes, payloads, strict=True)]
            with txn.cursor() as cursor:
                cursor.putmulti(list(zip(keys, values, strict=True)), append=True)

    def _values(self) -> Iterator[bytes]:
        with self.env.begin() as txn, txn.cursor() as cursor:
            yield from cursor.iternext(keys=False, values=True)

    def _rows(self) -> Iterator[tuple[bytes, bytes]]:
        return ((value[:32], value[32:]) for value in self._values())

    def raw(self) -> Iterator[bytes]:
        return (value[32:] for value in self._values())

    def get(self, position: int) -> Event:
        with self.env.begin() as txn:
            event: Event = unpack(txn.get(position.to_bytes(8))[32:])
        return event

    def settle(self) -> None:
        self.env.sync(True)

    def close(self) -> None:
        self.env.close()


class Rocks(Peer):
    """RocksDB through rocksdict: raw bytes, zstd, log synced at each commit."""

    name = "rocksdict"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_compression_type(rocksdict.DBCompressionType.zstd())
        self.db = rocksdict.Rdict(str(path), options)
        sync = rocksdict.WriteOptions()
        sync.sync = True
        self.db.set_write_options(sync)
        self._sync = sync
        last = self.db.iter()
        last.seek_to_last()
        if last.valid():
            self.count, self.head = int.from_bytes(last.key()) + 1, last.value()[:32]

    def _commit(self, hashes: list[bytes], payloads: list[bytes]) -> None:
        if len(payloads) == 1:
            self.db[self.count.to_bytes(8)] = hashes[0] + payloads[0]
            return
        batch = rocksdict.WriteBatch(raw_mode=True)
        for position, link, payload in zip(
            range(self.count, self.count + len(payloads)), hashes, payloads, strict=True
        ):
            batch.put(position.to_bytes(8), link + payload)
        self.db.write(batch, self._sync)

    def _rows(self) -> Iterator[tuple[bytes, bytes]]:
        return ((value[:32], value[32:]) for value in self.db.values())

    def get(self, position: int) -> Event:
        event: Event = unpack(self.db[position.to_bytes(8)][32:])
        return event

    def settle(self) -> None:
        self.db.flush()
        self.db.compact_range(None, None)

    def close(self) -> None:
        self.db.close()


PEERS: list[type[Peer]] = [Line, LineAhead, Sqlite, Apsw, Lmdb, Rocks]
STORES: list[type[Store]] = [Ours, Floor, *PEERS]
