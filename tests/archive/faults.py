# SPDX-License-Identifier: Apache-2.0
"""Faults to order: a target that loses answers and is attacked between two calls, a journal that dies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ledger.archive.journal import Journal
from ledger.archive.target import Lock, Receipt, Version
from ledger.errors import AccessRefusedError, ThrottledError, UnavailableError
from tests.archive.fakes import FakeTarget


class Killed(BaseException):
    """The process ends here."""


FAULTS = ("none", "refused connection", "lost answer", "throttled", "denied", "killed before", "killed after")
ATTACKS = ("marker", "overwrite")


class FaultyTarget:
    """Passes calls on, each with the next fault of `plan`; when it is used up, all goes well. An attack changes the
    key of a put after the put."""

    def __init__(self, inner: FakeTarget) -> None:
        self.inner, self.url = inner, inner.url
        self.plan: list[str] = []

    def _call(self, act: Callable[[], Any], key: str | None = None) -> Any:
        fault = self.plan.pop(0) if self.plan else "none"
        if fault == "refused connection":
            raise UnavailableError("refused")
        if fault == "throttled":
            raise ThrottledError("slow down")
        if fault == "denied":
            raise AccessRefusedError("not allowed")
        if fault == "killed before":
            raise Killed
        result = act()
        if fault == "lost answer":
            raise UnavailableError("reset")
        if fault == "killed after":
            raise Killed
        if key is not None and fault in ATTACKS:
            self.inner.add(key, b"", marker=True) if fault == "marker" else self.inner.add(key, b"other")
        return result

    def put(self, key: str, data: bytes | Path, sha256: bytes, lock: Lock | None, **options: Any) -> Receipt:
        return self._call(lambda: self.inner.put(key, data, sha256, lock, **options), key)

    def stat(self, key: str, version: str | None = None) -> Version:
        return self._call(lambda: self.inner.stat(key, version))

    def read(self, key: str, version: str | None = None, begin: int = 0, length: int | None = None) -> bytes:
        return self._call(lambda: self.inner.read(key, version, begin, length))

    def versions(self, prefix: str) -> Iterator[Version]:
        return self._call(lambda: iter(list(self.inner.versions(prefix))))

    def server_time(self) -> int:
        return self._call(self.inner.server_time)

    def extend(self, key: str, version: str, lock: Lock) -> None:
        self._call(lambda: self.inner.extend(key, version, lock))


@contextmanager
def dying_journal(writes: int, lost_bytes: int) -> Iterator[None]:
    """The process ends in the write after `writes` whole ones, of which then `lost_bytes` never got to the disk;
    0: right after it."""
    true_write = Journal._write_locked
    left = [writes]

    def write(self: Journal, record: dict[str, Any], sync: bool) -> None:
        true_write(self, record, sync)
        left[0] -= 1
        if left[0] < 0:
            size = self.path.stat().st_size
            os.truncate(self.path, max(0, size - lost_bytes))
            raise Killed

    with patch.object(Journal, "_write_locked", write):
        yield


@contextmanager
def dying_after(kind: str, type_: str) -> Iterator[list[str]]:
    """The process ends right after the first record of this type for an object of this kind; gives its name."""
    true_write = Journal._write_locked
    names: list[str] = []

    def write(self: Journal, record: dict[str, Any], sync: bool) -> None:
        true_write(self, record, sync)
        if record["type"] == type_ and f"/{kind}/" in record.get("name", ""):
            names.append(record["name"])
            raise Killed

    with patch.object(Journal, "_write_locked", write):
        yield names
