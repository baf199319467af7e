"""The name of every object of an archive, made from numbers and hashes and read back strictly. Pure.

    <prefix>/<ledger id>/genesis                         the bytes of LEDGER
                        /index-key                       the 16 bytes of the file of that name
                        /seg/<segno:020>.seg             a sealed file
                        /idx/<segno:020>.idx             its search index; no retention
                        /ckpt/<size:020>.<8 hex>         a checkpoint; hex of the note's SHA-256
                        /man/<n:020>                     a signed archive manifest

Names say the segment's number and not its hash: a ledger that was forked or rolled back meets its own
name taken by other bytes, instead of living beside the other. Where a stranger took a name of ours, the
object goes under `squatted`: 8 hex digits of its own hash more, then 16, … 64, until a name is free. What
is at a name counts only as far as a signed manifest says so. No prefix is known here: targets have it.
Bytes: docs/format.md, "Archive"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ledger.errors import UsageError

__all__ = ["KINDS", "Key", "checkpoint", "folder", "genesis", "index", "index_key", "manifest", "parse", "segment"]

KINDS: Final = ("genesis", "index-key", "seg", "idx", "ckpt", "man")

_ROUNDS_MAX = 8  # 64 hex digits: the whole hash
_NAME = re.compile(
    r"(?P<id>[0-9a-f]{32})/(?:(?P<single>genesis|index-key)(?:\.(?P<single_hex>[0-9a-f]+))?"
    r"|(?P<file>seg|idx)/(?P<segno>[0-9]{20})(?:\.(?P<file_hex>[0-9a-f]+))?\.(?P<suffix>seg|idx)"
    r"|ckpt/(?P<size>[0-9]{20})\.(?P<ckpt_hex>[0-9a-f]+)"
    r"|man/(?P<n>[0-9]{20})(?:\.(?P<man_hex>[0-9a-f]+))?)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Key:
    """What a name says. `number`: segment, size or manifest number; 0 for the single objects. `digest`: the
    hex digits in it, "" where there are none."""

    ledger_id: bytes
    kind: str
    number: int = 0
    digest: str = ""

    def __str__(self) -> str:
        """The name, below the target's prefix."""
        start = f"{self.ledger_id.hex()}/"
        tail = f".{self.digest}" if self.digest else ""
        if self.kind in ("genesis", "index-key"):
            return f"{start}{self.kind}{tail}"
        suffix = f".{self.kind}" if self.kind in ("seg", "idx") else ""
        return f"{start}{self.kind}/{self.number:020}{tail}{suffix}"

    def squatted(self, digest: bytes, rounds: int) -> Key:
        """The name to take when a stranger's object is at this one. `digest`: 32 bytes, the seal hash of a
        segment, else the SHA-256 of the object; `rounds`: 1 for the first try. Raises `UsageError` after the
        eighth (a checkpoint's name has the first 8 digits anyway: the seventh), when no name is left."""
        rounds += self.kind == "ckpt"
        if not 1 <= rounds <= _ROUNDS_MAX:
            raise UsageError(f"every name for {self} is taken by others; nothing was shipped under it")
        return Key(self.ledger_id, self.kind, self.number, digest.hex()[: 8 * rounds])


def genesis(ledger_id: bytes) -> Key:
    """LEDGER's bytes: who the ledger claims to be."""
    return Key(ledger_id, "genesis")


def index_key(ledger_id: bytes) -> Key:
    """The index key; LEDGER holds its hash."""
    return Key(ledger_id, "index-key")


def segment(ledger_id: bytes, segno: int) -> Key:
    """A sealed file."""
    return Key(ledger_id, "seg", segno)


def index(ledger_id: bytes, segno: int) -> Key:
    """The search index of a segment."""
    return Key(ledger_id, "idx", segno)


def checkpoint(ledger_id: bytes, size: int, digest: bytes) -> Key:
    """A checkpoint of `size` entries; `digest` is the SHA-256 of the signed note. Two heads of one size have
    two names, and both stay: evidence."""
    return Key(ledger_id, "ckpt", size, digest.hex()[:8])


def manifest(ledger_id: bytes, n: int) -> Key:
    """The archive manifest number n, from 0."""
    return Key(ledger_id, "man", n)


def folder(ledger_id: bytes, kind: str = "") -> str:
    """The prefix of all names of a ledger, or of those of one kind with numbers."""
    return f"{ledger_id.hex()}/{kind}{'/' if kind else ''}"


def parse(name: str) -> Key | None:
    """The key that has exactly this name, or None: a foreign one."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    kind = found["single"] or found["file"] or ("ckpt" if found["size"] else "man")
    number = int(found["segno"] or found["size"] or found["n"] or 0)
    digest = found["single_hex"] or found["file_hex"] or found["ckpt_hex"] or found["man_hex"] or ""
    good = len(digest) % 8 == 0 and len(digest) <= 64 and number < 1 << 64
    if not good or (kind == found["file"] and kind != found["suffix"]):
        return None
    return Key(bytes.fromhex(found["id"]), kind, number, digest)
