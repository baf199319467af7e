# SPDX-License-Identifier: Apache-2.0
"""A plain object store in memory with versions and locks, keys for statements, and a ledger to ship."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ledger import Ledger
from ledger.archive.policy import Policy
from ledger.archive.shipper import Shipper
from ledger.archive.source import Source
from ledger.archive.target import Lock, Receipt, Version
from ledger.errors import ObjectExistsError, ObjectMissingError, RetentionError
from ledger.note import NoteSigner
from ledger.verify import VerificationError, parse_note, verify_note

DAY_S = 86_400
YEAR_S = 365 * DAY_S
STRENGTH = {"GOVERNANCE": 1, "COMPLIANCE": 2}


class FakeTarget:
    """What docs say of S3 with Object Lock, as far as the shipper needs it. `now` is its clock."""

    def __init__(self, url: str = "memory:fake", now: int | None = None) -> None:
        self.url, self.now = url, now or int(time.time()) + 60
        self.store: dict[str, list[tuple[Version, bytes]]] = {}
        self.count = 0
        self.lock = threading.RLock()

    def server_time(self) -> int:
        return self.now

    def capabilities(self) -> Any:
        return None

    def add(self, key: str, data: bytes, lock: Lock | None = None, *, marker: bool = False) -> str:
        """What any client with the right to write can do."""
        with self.lock:
            self.count += 1
            version = f"v{self.count}"
            made = Version(key, version, len(data), hashlib.sha256(data).digest(), self.now, True, marker, lock, False)
            older = [(replace(v, latest=False), d) for v, d in self.store.get(key, [])]
            self.store[key] = [*older, (made, data)]
            return version

    def put(
        self,
        key: str,
        data: bytes | Path,
        sha256: bytes,
        lock: Lock | None,
        *,
        hold: bool = False,
        if_absent: bool = True,
    ) -> Receipt:
        body = data if isinstance(data, bytes) else data.read_bytes()
        assert hashlib.sha256(body).digest() == sha256
        with self.lock:
            there = self.store.get(key, [])
            if if_absent and there and not there[-1][0].marker:
                raise ObjectExistsError(f"{key} is there")
            if lock is not None and lock.until <= self.now:
                raise RetentionError(f"{lock.until} has passed")
            version = self.add(key, body, lock)
        return Receipt(key, version, sha256, len(body), lock, hold, self.now)

    def _find(self, key: str, version: str | None) -> tuple[Version, bytes]:
        there = self.store.get(key, [])
        for found in there:
            if version == found[0].version or (version is None and found[0].latest):
                if found[0].marker:
                    break
                return found
        raise ObjectMissingError(f"{key} version {version} is not there")

    def stat(self, key: str, version: str | None = None) -> Version:
        return self._find(key, version)[0]

    def read(self, key: str, version: str | None = None, begin: int = 0, length: int | None = None) -> bytes:
        data = self._find(key, version)[1]
        begin = begin if begin >= 0 else max(0, len(data) + begin)
        return data[begin:] if length is None else data[begin : begin + length]

    def versions(self, prefix: str) -> Iterator[Version]:
        for key in sorted(self.store):
            if key.startswith(prefix):
                yield from [v for v, _ in self.store[key]]

    def change(self, key: str, version: str, **fields: Any) -> None:
        self.store[key] = [(replace(v, **fields) if v.version == version else v, d) for v, d in self.store[key]]

    def extend(self, key: str, version: str, lock: Lock) -> None:
        old = self._find(key, version)[0].lock
        if old is not None and (old.until > lock.until or STRENGTH[old.mode] > STRENGTH[lock.mode]):
            raise RetentionError("cannot be shortened")
        self.change(key, version, lock=lock)

    def hold(self, key: str, version: str, on: bool) -> None:
        self.change(key, version, hold=on)

    def delete_marker(self, key: str, version: str) -> None:
        [(found, _)] = [pair for pair in self.store[key] if pair[0].version == version]
        assert found.marker
        rest = [pair for pair in self.store[key] if pair[0].version != version]
        self.store[key] = [*rest[:-1], (replace(rest[-1][0], latest=True), rest[-1][1])] if rest else []


class Statements:
    """A statements key, and its two halves as the archive wants them."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.signer = NoteSigner.generate(f"{origin}/statements")

    def sign(self, kind: str, body: bytes) -> bytes:
        from ledger.note import sign_note

        return sign_note(f"sealedger/{kind}/v1 {self.origin}\n{body.decode()}", [self.signer]).encode()

    def open(self, data: bytes, kind: str) -> bytes:
        try:
            note = data.decode()
        except UnicodeDecodeError:
            raise VerificationError("not text") from None
        verify_note(note, [self.signer.key])
        first, _, body = parse_note(note)[0].partition("\n")
        if first != f"sealedger/{kind}/v1 {self.origin}":
            raise VerificationError("another statement")
        return body.encode()


@dataclass
class OwnerOf:
    """Notes go into the ledger; marks are kept to be looked at."""

    log: Ledger
    marks: dict[int, dict[str, Any]] = field(default_factory=dict)

    def append_note(self, note: dict[str, Any]) -> None:
        self.log.append_note(note)

    def checkpoint(self) -> None:
        self.log.checkpoint()

    def root_at(self, size: int) -> bytes | None:
        return self.log.root_at(size) if size <= self.log.size else None

    def mark_shipped(self, receipts: dict[int, dict[str, Any]]) -> None:
        self.marks.update(receipts)


class Clock:
    """Time that passes when somebody sleeps or sets it, on the target as here."""

    def __init__(self, now: float, target: FakeTarget | None = None) -> None:
        self.target = target
        self.slept: list[float] = []
        self.now = now

    @property
    def now(self) -> float:
        return self._now

    @now.setter
    def now(self, value: float) -> None:
        self._now = value
        if self.target is not None:
            self.target.now = int(value)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def sealed_ledger(path: Path, segments: int = 3, events: int = 20, **options: Any) -> Ledger:
    """A ledger with a key and so many sealed segments."""
    log = Ledger(path, new_key=True, name="test", segment_bytes_max=1 << 17, **options)
    for number in range(segments):
        log.append_many([{"event_type": "t", "n": number * events + i, "text": "x" * 50} for i in range(events)])
        log.seal()
    return log


def shipper_of(
    log: Ledger,
    target: Any,
    statements: Statements,
    clock: Clock,
    owner: Any = None,
    concurrency: int = 1,
    mode: str = "COMPLIANCE",
    name: str = "one",
    conditional: bool = True,
) -> Shipper:
    return Shipper(
        Source(log.paths),
        target,
        name,
        Policy(mode, YEAR_S, concurrency=concurrency),
        owner or OwnerOf(log),
        statements.sign,
        statements.open,
        clock=clock,
        sleep=clock.sleep,
        random=lambda: 0.5,
        conditional=conditional,
    )
