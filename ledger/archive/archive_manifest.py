"""The signed list of what an archive holds: its text to a value and back. Pure.

A statement `sealedger/manifest/v1 <origin>` under the statements key, whose body is one line of JSON in one
form: ASCII, keys sorted, no spaces. Number n names the manifest before it by hash and version, so the chain of
them cannot be cut in the middle, and the time of signing, so silence shows.

Rows are not repeated for ever: `rows` are the objects first listed in manifests (since, n], and `since` names
the manifest that has the list up to there, by number, key, version and hash; -1 for none. The whole list at n
is that of `since` and these rows. A writer may choose any `since`; `choose_since` repeats all rows while they are
few, and then reads take O(log n) manifests and a row is written O(log n) times.

What a manifest says of an object is the truth about it: of several versions under a key, the oldest with this
SHA-256. docs/format.md, "Archive"."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ledger.errors import CorruptionError

__all__ = ["KIND", "ROWS_REPEATED_MAX", "ArchiveManifest", "Link", "Open", "Row", "Sign", "choose_since"]

KIND: Final = "manifest"
ROWS_REPEATED_MAX: Final = 1024

Sign = Callable[[str, bytes], bytes]  # (kind, body) → the signed statement
Open = Callable[[bytes, str], bytes]  # (statement, kind) → its body, verified; raises VerificationError


@dataclass(frozen=True, slots=True)
class Row:
    """One object. `version` and `sha256` say which bytes; `until` (whole UTC seconds, 0 with `mode` None) for how
    long no one can delete them. A segment also has its number, its range of indexes, its own root and seal hash;
    an index the number; others zeros and ""."""

    key: str
    version: str
    sha256: str
    length: int
    mode: str | None
    until: int
    segno: int = 0
    base: int = 0
    count: int = 0
    root: str = ""
    seal_hash: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """An earlier manifest: number, key, version and the SHA-256 of the signed text."""

    n: int
    key: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ArchiveManifest:
    """Number `n`, signed at `time` (UTC seconds). `checkpoint`: the newest signed note that was shipped before it,
    whole, "" for none. `previous` None only for n = 0; `since` None when `rows` are all rows."""

    n: int
    time: int
    previous: Link | None
    since: Link | None
    checkpoint: str
    rows: tuple[Row, ...]

    def body(self) -> bytes:
        """The line that is signed."""
        value = {
            "n": self.n,
            "time": self.time,
            "previous": _fields(self.previous),
            "since": _fields(self.since),
            "checkpoint": self.checkpoint,
            "rows": [_fields(row) for row in self.rows],
        }
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"

    @classmethod
    def from_body(cls, data: bytes) -> ArchiveManifest:
        """Read a body that was verified. `CorruptionError` when it is not in the one form."""
        try:
            value = json.loads(data)
            found = cls(
                value["n"],
                value["time"],
                None if value["previous"] is None else Link(**value["previous"]),
                None if value["since"] is None else Link(**value["since"]),
                value["checkpoint"],
                tuple(Row(**row) for row in value["rows"]),
            )
            same = found.body() == data and found._holds()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _bad(str(error)) from error
        if not same:
            raise _bad("its fields are not in the one form")
        return found

    def _holds(self) -> bool:
        """The types of all fields, and the rules between them."""
        numbers = [self.n, self.time]
        texts = [self.checkpoint]
        for row in self.rows:
            numbers += [row.length, row.until, row.segno, row.base, row.count]
            texts += [row.key, row.version, row.root, row.seal_hash]
        links = [link for link in (self.previous, self.since) if link is not None]
        numbers += [link.n for link in links]
        texts += [text for link in links for text in (link.key, link.version)]
        digests = [row.sha256 for row in self.rows] + [link.sha256 for link in links]
        return (
            all(type(number) is int and 0 <= number < 1 << 63 for number in numbers)
            and all(type(text) is str for text in texts)
            and all(len(bytes.fromhex(digest)) == 32 for digest in digests)
            and all(row.mode in (None, "COMPLIANCE", "GOVERNANCE") for row in self.rows)
            and (self.n == 0) == (self.previous is None)
            and (self.previous is None or self.previous.n == self.n - 1)
            and (self.since is None or self.since.n < self.n)
        )


def choose_since(n: int, rows_total: int) -> int:
    """Up to which manifest number `n` leaves the rows to an earlier one; -1: it repeats all of them.

    Above `ROWS_REPEATED_MAX` rows in all, that is n with its lowest set bit cleared, counted from 1."""
    if rows_total <= ROWS_REPEATED_MAX:
        return -1
    place = n + 1
    return (place & (place - 1)) - 1


def _fields(value: Row | Link | None) -> dict[str, Any] | None:
    return None if value is None else {name: getattr(value, name) for name in value.__slots__}


def _bad(what: str) -> CorruptionError:
    return CorruptionError(f"this is no archive manifest: {what}. The archive is not affected; older ones hold")
