"""The list of sealed segments to bytes and back. Pure; storage replaces the file atomically.

Everything in it can be rebuilt from the segments and the notes, so a damaged one is worth an older
one and a warning, never a lost segment. See docs/format.md §8."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from ledger.errors import CorruptionError

__all__ = ["EVICTED", "LOCAL", "SHIPPED", "Manifest", "ManifestRow"]

LOCAL: Final = 0  # the segment's file is here
SHIPPED: Final = 1  # here, and an archive manifest lists verified copies: `receipts`
EVICTED: Final = 2  # here is its stub; the blocks are where `receipts` say

_FRAME = struct.Struct("<8sQ32sII32s")
_MAGIC = b"LGMANI1\0"
_CHECKED = 56  # bytes of the frame that its hash covers
_BODY_BYTES_MAX = 256 << 20
_FIELDS = 8


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One sealed segment. `receipts`: a map for each verified copy: `target`, `url`, `key`, `version`, `mode`,
    `until`, `manifest` (the number of the archive manifest that lists it)."""

    segno: int
    base: int
    count: int
    file_bytes: int
    seal_hash: bytes
    segment_root: bytes
    state: int = LOCAL
    receipts: list[Any] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The first index after the segment."""
        return self.base + self.count

    def fields(self) -> list[Any]:
        """The row as the file has it."""
        numbers = [self.segno, self.base, self.count, self.file_bytes]
        return [*numbers, self.seal_hash, self.segment_root, self.state, self.receipts]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A generation of the list; its rows ascend without a gap, from segment 0 and index 0 on."""

    generation: int
    previous: bytes  # SHA-256 of the file of the generation before; zero for the first
    rows: tuple[ManifestRow, ...]

    def encode(self) -> bytes:
        """The bytes of the file."""
        body: bytes = msgpack.packb({"segments": [row.fields() for row in self.rows]})
        start = _FRAME.pack(_MAGIC, self.generation, self.previous, len(body), 0, bytes(32))
        return start[:_CHECKED] + hashlib.sha256(start[:_CHECKED] + body).digest() + body

    @classmethod
    def decode(cls, data: bytes, generation: int) -> Manifest:
        """Read the file of that generation. Raises `CorruptionError`; the generation before, or the
        segments themselves, hold the same facts."""
        if len(data) < _FRAME.size or data[:8] != _MAGIC:
            raise _corrupt(generation, "it does not begin as a manifest does")
        _, number, previous, body_bytes, zero, digest = _FRAME.unpack_from(data)
        body = data[_FRAME.size :]
        if body_bytes != len(body) or body_bytes > _BODY_BYTES_MAX:
            raise _corrupt(generation, f"it declares {body_bytes} bytes and has {len(body)}")
        if hashlib.sha256(data[:_CHECKED] + body).digest() != digest:
            raise _corrupt(generation, "its checksum differs")
        if zero or number != generation:
            raise _corrupt(generation, f"it names generation {number}")
        return cls(generation, previous, _decode_rows(body, generation))


def _decode_rows(body: bytes, generation: int) -> tuple[ManifestRow, ...]:
    try:
        value = msgpack.unpackb(body, strict_map_key=True)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise _corrupt(generation, f"its body cannot be read ({error})") from error
    if not isinstance(value, dict) or list(value) != ["segments"]:
        raise _corrupt(generation, "its body is not the list of segments")
    segments = value["segments"]
    if not isinstance(segments, list) or not all(map(_is_row, segments)):
        raise _corrupt(generation, "a row has the wrong shape")
    rows = tuple(ManifestRow(*row) for row in segments)
    end = 0
    for segno, row in enumerate(rows):
        if row.segno != segno or row.base != end:
            raise _corrupt(generation, f"row {segno} does not follow the row before")
        end = row.end
    return rows


def _is_row(row: object) -> bool:
    if not isinstance(row, list) or len(row) != _FIELDS:
        return False
    segno, base, count, file_bytes, seal_hash, root, state, receipts = row
    numbers = (segno, base, count, file_bytes, state)
    return (
        all(type(number) is int and number >= 0 for number in numbers)
        and count >= 1
        and all(type(value) is bytes and len(value) == 32 for value in (seal_hash, root))
        and isinstance(receipts, list)
    )


def _corrupt(generation: int, what: str) -> CorruptionError:
    return CorruptionError(
        f"manifest {generation}: {what}. Nothing is lost: an older manifest or the segments "
        "themselves hold the same facts, and the next seal writes a new one",
        evidence=f"manifest: {what}",
    )
