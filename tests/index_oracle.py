# SPDX-License-Identifier: Apache-2.0
"""A search index of one granule, plainly: hashlib and msgpack, nothing of ours. Slow, and short enough to be believed.

Follows docs/format.md "Search index": which paths are indexed, what a term is, its leaf, the root, the descriptor."""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import msgpack

__all__ = ["TIME_KEYS", "OracleGranule", "event_time", "root_of", "tokens", "unpack"]

PATHS_MAX, PATH_BYTES_MAX, STEPS_MAX, PAIRS_MAX = 256, 1024, 8191, 1 << 22
Path = tuple[str | None, ...]


def unpack(payload: bytes) -> Any:
    """As packed: strings that are no Unicode never occur, timestamps stay timestamps."""
    return msgpack.unpackb(payload, strict_map_key=False, timestamp=0)


def pack(value: Any) -> bytes:
    """The one exact form."""
    return msgpack.packb(value)


def leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Every scalar, and every empty map or array, below an event, in reading order."""
    if isinstance(value, dict):
        below = [(key, item) for key, item in value.items()]
    elif isinstance(value, list):
        below = [(None, item) for item in value]
    else:
        below = []
    if not below and path:
        yield path, value
    for key, item in below:
        yield from leaves(item, (*path, key))


def root_of(messages: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, level by level; an odd last node moves up."""
    level = [hashlib.sha256(b"\0" + m).digest() for m in messages]
    if not level:
        return hashlib.sha256(b"").digest()
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + ([level[-1]] if len(level) % 2 else [])
    return level[0]


def tokens(text: str) -> list[str]:
    """Tokenizer ascii-fold/1."""
    found = re.findall(rb"[0-9A-Za-z_\x80-\xff]+", text.encode())
    return [re.sub(rb"[A-Z]", lambda m: m[0].lower(), token).decode() for token in found]


class OracleGranule:
    """Terms of a granule: `events` are (payload or None for a note) by row."""

    def __init__(
        self, payloads: Sequence[bytes | None], key: bytes, *, paths_max: int = PATHS_MAX, pairs_max: int = PAIRS_MAX
    ) -> None:
        self.key, self.paths_max, self.pairs_max = key, paths_max, pairs_max
        self.count, self.event_count = len(payloads), sum(p is not None for p in payloads)
        self.steps: set[Path] = {()}
        self.paths: list[Path] = []
        self.dropped: set[Path] = set()
        self.capped = False
        self.present: dict[Path, set[int]] = {}
        self.values: dict[Path, dict[bytes, set[int]]] = {}
        self.held: dict[Path, int] = {}  # pairs
        for row, payload in enumerate(payloads):
            if payload is not None:
                for path, value in leaves(unpack(payload), ()):
                    self._add(path, value, row)

    def _add(self, path: Path, value: Any, row: int) -> None:
        if not self._list(path):
            self.capped = True
            return
        self.present[path].add(row)
        if isinstance(value, dict | list):
            return
        rows = self.values[path].setdefault(pack(value), set())
        if row in rows:
            return
        if sum(self.held.values()) == self.pairs_max:
            largest = max((p for p in self.paths if p not in self.dropped), key=lambda p: self.held[p])
            self.dropped.add(largest)
            self.capped = True
            self.values[largest] = {}
            self.held[largest] = 0
        if path not in self.dropped:
            rows.add(row)
            self.held[path] += 1

    def _list(self, path: Path) -> bool:
        """Is the path listed? It becomes so when it is new, every step to it is short, and there is room."""
        for end in range(1, len(path) + 1):
            step = path[:end]
            if step not in self.steps:
                size = sum(len(pack(element)) for element in step)
                if len(self.paths) == self.paths_max or len(self.steps) > STEPS_MAX or size > PATH_BYTES_MAX:
                    return False
                self.steps.add(step)
        if path not in self.present:
            if len(self.paths) == self.paths_max:
                return False
            self.paths.append(path)
            self.present[path], self.values[path], self.held[path] = set(), {}, 0
        return path not in self.dropped

    @property
    def indexed(self) -> list[Path]:
        """The paths of the descriptor."""
        return [path for path in self.paths if path not in self.dropped]

    def term_key(self, path: Path, *value: bytes) -> bytes:
        """K of a value, or without one of a path that exists."""
        elements = b"".join(pack(element) for element in path)
        count = len(path) + len(value)
        header = bytes([0x90 | count]) if count < 16 else b"\xdc" + struct.pack(">H", count)
        prefix = b"\x10" if value else b"\x11"
        return hashlib.sha256(prefix + self.key + header + elements + b"".join(value)).digest()

    def terms(self) -> list[tuple[bytes, list[int]]]:
        """(K, rows) in order of K."""
        found = [(self.term_key(path), sorted(self.present[path])) for path in self.indexed]
        for path in self.indexed:
            found += [(self.term_key(path, v), sorted(rows)) for v, rows in self.values[path].items() if rows]
        return sorted(found)

    def term_root(self, seed: bytes) -> bytes:
        """The RFC 6962 root over the leaves."""
        messages = []
        for k, rows in self.terms():
            listed = struct.pack(f"<{len(rows)}H", *rows)
            if len(rows) > 16:
                listed = hashlib.sha256(listed).digest()
            salt = hashlib.sha256(b"\x12" + seed + k).digest()[:16]
            messages.append(salt + k + struct.pack("<I", len(rows)) + listed)
        return root_of(messages)


TIME_KEYS = ("timestamp", "@timestamp", "eventTime", "time", "created_at")
_RFC_3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


def event_time(event: dict[str, Any]) -> int | None:
    """What the first of the keys whose value is a time says, ns; None: no key says a time."""
    times = (_time_of(event[key]) for key in TIME_KEYS if key in event)
    return next((time for time in times if time is not None and -(1 << 63) <= time < 1 << 63), None)


def _time_of(value: Any) -> int | None:
    if isinstance(value, msgpack.Timestamp):
        return int(value.seconds) * 10**9 + int(value.nanoseconds)
    if isinstance(value, int | float) and not isinstance(value, bool):
        factor = next((f for limit, f in ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3)) if value < limit), 1)
        return math.floor(Fraction(value) * factor)
    return _time_of_text(value) if isinstance(value, str) else None


def _time_of_text(text: str) -> int | None:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    east = int(match[9] or 0) * 3600 + int(match[10] or 0) * 60
    if not 1678 <= year <= 2261 or second > 60 or int(match[9] or 0) > 23 or int(match[10] or 0) > 59:
        return None
    try:
        moment = datetime(year, month, day, hour, minute, tzinfo=UTC)
    except ValueError:
        return None
    seconds = round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) + second
    return (seconds - (-east if match[8] == "-" else east)) * 10**9 + int((match[7] or "0").ljust(9, "0"))
