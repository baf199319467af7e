"""Small ledgers of sealed segments, and forged ones, for tests of what reads them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgpack
from hypothesis import strategies as st

from ledger._native import crc32c
from ledger.encoding.segment import SECTIONS, Footer, Section
from ledger.storage.seal import build_segment
from ledger.storage.sealed import Border, SealedSegment
from tests.active_builder import ActiveBuilder

__all__ = ["Batch", "SealedLedger", "batches", "forge", "root_of", "sections_of", "with_frame"]


@dataclass(frozen=True)
class Batch:
    """Events of one batch."""

    payloads: Sequence[bytes]
    time: int
    kind: int = 0


class SealedLedger:
    """Sealed files in a folder, made from batches: one list of batches a segment."""

    def __init__(self, folder: Path, segments: Sequence[Sequence[Batch]]) -> None:
        self.folder = folder
        self.builder = ActiveBuilder()
        self.fingerprint = self.builder.fingerprint
        self.footers: list[Footer] = []
        self.actives: list[bytes] = []
        self.times_before: list[int] = []
        for segment in segments:
            self._seal(segment)

    def _seal(self, segment: Sequence[Batch]) -> None:
        self.times_before.append(self.builder.time_before)
        for batch in segment:
            self.builder.append(batch.payloads, batch.time, batch.kind)
        self.actives.append(self.builder.close())
        out = io.BytesIO()
        self.footers.append(
            build_segment(
                self.actives[-1],
                out,
                previous_seal_hash=self.footers[-1].seal_hash if self.footers else bytes(32),
                time_before=self.times_before[-1],
            )
        )
        self.path(len(self.footers) - 1).write_bytes(out.getvalue())

    def path(self, segno: int) -> Path:
        """The sealed file of a segment."""
        return self.folder / f"{segno:020}.seg"

    def open(self, segno: int) -> SealedSegment:
        """The segment, with what a ledger knows of it."""
        return SealedSegment(self.path(segno), segno, fingerprint=self.fingerprint)

    def borders(self) -> list[Border]:
        """What holds before each segment and after the last, by verifying them."""
        borders = [Border.start(self.fingerprint)]
        for segno in range(len(self.footers)):
            with self.open(segno) as segment:
                borders.append(segment.verify(borders[-1], threads=1).after)
        return borders


@st.composite
def batches(draw: st.DrawFn, count_max: int = 400) -> list[Batch]:
    """One to `count_max` events and notes: payloads of many sizes, times in any order."""
    left, made = draw(st.integers(1, count_max)), []
    salt = draw(st.integers(0, 1 << 32))
    while left:
        count = min(left, draw(st.integers(1, 150)))
        size = draw(st.sampled_from([0, 1, 30, 300, 900]))
        payloads = [msgpack.packb({"n": salt + i, "text": "x" * size}) for i in range(count)]
        time = draw(st.integers(0, (1 << 64) - 1))
        made.append(Batch(payloads, time, draw(st.sampled_from([0, 0, 0, 1]))))
        left -= count
    return made


def root_of(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1 by its own recursion, over leaf hashes."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else hashlib.sha256().digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root_of(leaves[:half]) + root_of(leaves[half:])).digest()


# ---- forging: what someone can do who recomputes every hash in the file -------------------------


def sections_of(data: bytes, footer: Footer) -> dict[str, bytes]:
    """The sections of a file, by name."""
    return {
        name: data[section.offset : section.offset + section.length]
        for name, section in zip(SECTIONS, footer.sections, strict=True)
    }


def forge(path: Path, footer: Footer, sections: dict[str, bytes]) -> Footer:
    """Write the sections with a footer and trailer that agree with them; returns that footer."""
    place, table = 0, []
    for name in SECTIONS:
        data = sections[name]
        table.append(Section(place, len(data), hashlib.sha256(data).digest()))
        place += len(data)
    forged = replace(footer, sections=tuple(table))
    body = b"".join(sections[name] for name in SECTIONS)
    path.write_bytes(body + forged.encode() + forged.trailer())
    return forged


def with_frame(sections: dict[str, bytes], frame: bytes) -> dict[str, bytes]:
    """The sections of a one-block file, with another frame and a row that agrees with it."""
    row = bytearray(sections["rows"])
    row[0:4] = len(frame).to_bytes(4, "little")
    row[8:12] = crc32c(frame).to_bytes(4, "little")
    return sections | {"blocks": frame, "rows": bytes(row)}
