"""A second reader of a ledger, in plain Python from docs/format.md alone, to check the first against:

    python -m ledger.reader PATH

    read_ledger → Reading → Entry       docs/format.md §2 … §9: LEDGER, sealed files, active files up to HEAD

Standard library and a zstd, which is `compression.zstd` or the package zstandard; without either the blocks of
sealed files are not opened. Shares no code with what writes a ledger, takes no lock, writes nothing. `main` exits
with 0 all good, 1 corrupt, 2 usage, 3 a file cannot be read, 4 good as far as it was checked, and not all was."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from ledger.errors import CorruptionError
from ledger.reader_parts import (
    BlockFacts,
    Decompress,
    File,
    Tree,
    block_records,
    crc32c,
    decompressor,
    numbered,
    siphash24,
)
from ledger.verify import VerificationError, leaf_hash, parse_checkpoint, parse_note

__all__ = ["Entry", "Reading", "main", "read_ledger"]

ZERO, ALIGN, BATCHES, HEADER = bytes(32), 512, 8192, 4096
NO_SEGMENT = 1 << 64  # above every segment number: no slot of HEAD is sound
ENTRY = struct.Struct("<BBBBI16sQQ32s32s")
BATCH = struct.Struct("<4sHHIIQQQIIIIQ")
ACTIVE = struct.Struct("<8sHHI32sQQ32s32s16s32sQ16sQQQQIIII2048sQ")
HEAD = struct.Struct("<8sQ16sQQQQQIIqQ32sII")
FOOTER = struct.Struct("<8s32sQQQQQQ32s32s32s32sQ32s32s32sIIQQQ")
MANIFEST = struct.Struct("<8sQ32sII32s")
TRAILER = struct.Struct("<4sIQQQ32s")
ROW = struct.Struct("<IIIB3s32s32s")
LEDGER_KEYS = {"format", "nonce", "origin", "created", "limits", "keys", "index_key", "predecessor"}


class Entry(NamedTuple):
    """One entry: `entry` is its 104 hashed bytes, `leaf_hash` the SHA-256 of 0x00 and these."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    kind: int
    time_ns: int
    payload: bytes
    entry: bytes
    salt: bytes
    leaf_hash: bytes


class _Head:
    """The newest sound slot of HEAD (§5); with none, every batch is read and HEAD counts as not checked."""

    def __init__(self, reading: Reading) -> None:
        self.file = File(reading.path / "HEAD")
        self.segment, self.synced_end, self.synced_size, self.at = NO_SEGMENT, 0, 0, 0
        self.written: tuple[object, ...] = ()
        self.file.same(0, "length", self.file.length, 8192)
        newest = -1
        for at in (0, 4096):
            slot = self.file.take(at, 4096)
            fields = HEAD.unpack_from(slot)
            peaks = slot[136 : 136 + 32 * min(fields[13], 64)]
            if fields[0] == b"LGHEAD1\0" and fields[1] % 2 == at // 4096 and crc32c(slot[:132] + peaks) == fields[14]:
                if fields[1] > newest:
                    newest, self.segment, self.synced_end, self.synced_size = fields[1], fields[3], fields[6], fields[7]
                    self.at, self.written = at, (fields[5], *fields[11:14], peaks)
            elif any(slot):
                reading.unchecked.append(f"HEAD: the slot at offset {at} is not sound")
        if newest < 0:
            reading.unchecked.append("HEAD: no sound slot, all batches were read")

    def check(self, reading: Reading) -> None:
        """What the slot says of the entries read up to synced_end."""
        if self.segment == NO_SEGMENT:
            return
        passed = self.segment < len(reading.seals)  # HEAD is a lower bound; its segment was sealed since
        reached = reading.size >= self.synced_size if passed else reading.size == self.synced_size
        self.file.need(reached, self.at + 64, f"{self.synced_size} entries are acknowledged, {reading.size} there")
        if self.written[0] == reading.size:
            peaks = [peak for _, peak in reading.tree.peaks]
            own = (reading.size, reading.time, reading.leaf, len(peaks), b"".join(peaks))
            self.file.need(self.written == own, self.at + 88, "time, leaf hash or peaks of the last entry")


# ---- a ledger -----------------------------------------------------------------------------------


class Reading:
    """The entries of a ledger at rest, to be iterated once; `size`, `root` and `unchecked` grow with it."""

    def __init__(self, path: Path) -> None:
        self.path, self.unchecked, self.tree = path, list[str](), Tree()
        file = File(path / "LEDGER")
        file.need(44 <= file.length <= 4096, 0, f"{file.length} bytes long")
        self.identity = file.take(0, file.length)
        self.fingerprint = self.identity[-32:]
        file.same(file.length - 32, "F", sha256(self.identity[:-32]).digest(), self.fingerprint)
        file.same(0, "magic", self.identity[:8], b"\x89LGL\r\n\x1a\n")
        self.described: dict[str, Any] = file.unpack(8, self.identity[8:-32])
        file.need(isinstance(self.described, dict) and self.described.keys() >= LEDGER_KEYS, 8, "keys are missing")
        file.same(8, "major version", self.described["format"][0], 1)
        if (path / "index-key").exists():
            key = File(path / "index-key")
            file.same(8, "SHA-256 of index-key", sha256(key.take(0, key.length)).digest(), self.described["index_key"])
        self.leaf = self.fingerprint
        self.time: int | None = 0  # None after entries that could not be read
        self.seals: list[list[Any]] = []  # of each sealed segment: what its row in the manifest must begin with
        self.expected: dict[int, list[tuple[File, bytes]]] = {}  # size → who names a root of it

    @property
    def size(self) -> int:
        """Entries read by now."""
        return self.tree.size

    @property
    def root(self) -> bytes:
        """The RFC 6962 root of these."""
        return self.tree.root()

    def __iter__(self) -> Iterator[Entry]:
        head, active = _Head(self), dict(numbered(self.path / "active", ".act"))
        self._read_checkpoints()
        for number, path in numbered(self.path / "sealed", ".seg"):
            file = File(path, number)
            file.same(0, "segment", number, len(self.seals))
            yield from self._sealed(file)
        self._check_manifests()
        for number in sorted(number for number in active if number >= len(self.seals)):
            file = File(active[number], number)
            if number <= head.segment and not (head.segment == NO_SEGMENT and file.is_blank(BATCHES)):
                yield from self._active(file, head)
            elif not file.is_blank(BATCHES):
                self.unchecked.append(f"{file.path.name}: not acknowledged by HEAD")
        head.check(self)
        for size, named in self.expected.items():
            for file, _ in named:
                file.need(bool(self.unchecked), 0, f"a checkpoint of {size} entries; the ledger ends at {self.size}")
                self.unchecked.append(f"{file.path.name}: the root at its size was not computed")

    def _entry(self, file: File, at: int, kind: int, flags: int, time: int, payload: bytes, seed: bytes) -> Entry:
        """The next entry, whose stored fields stand at offset `at`."""
        index = self.size
        file.need(kind <= 1 and flags == (time < (self.time or 0)), at, f"entry {index}: kind {kind}, flags {flags}")
        if index:
            value = file.unpack(at, payload)
            file.need(isinstance(value, dict), at, f"entry {index} is no map")
            if kind == 1 and value.get("note") == "sealed":
                named = [value.get(key) for key in ("segno", "base", "count", "seal_hash", "root")]
                known = [[row[0], row[1], row[2], row[4], row[5]] for row in self.seals if row[0] == named[0]]
                file.need([named] == known, at, "the note of a seal is not what was sealed")
        else:
            file.need(kind == 1 and payload == self.identity, at, "entry 0 is not LEDGER")
        pair = sha256(b"\x03" + seed + (index >> 1).to_bytes(8, "little")).digest()
        salt = pair[16:] if index & 1 else pair[:16]
        commitment = sha256(b"\x02" + salt + payload).digest()
        packed = ENTRY.pack(1, kind, 1, flags, len(payload), self.fingerprint, index, time, commitment, self.leaf)
        self.leaf, self.time = leaf_hash(packed), time
        return Entry(index, kind, time, payload, packed, salt, self.leaf)

    def _push(self, level: int, found: bytes) -> None:
        self.tree.push(level, found)
        for file, root in self.expected.pop(self.size, ()):
            file.same(0, f"root at size {self.size}", root, self.root)

    # -- active files

    def _active(self, file: File, head: _Head) -> Iterator[Entry]:
        seed, salt, batch_max = self._active_header(file)
        at, incarnation = BATCHES, 0
        last = file.segment == head.segment
        end = head.synced_end if last else file.length
        while at < end and (last or any(file.take(at, 64))):
            entries, at, incarnation = self._batch(file, at, salt, seed, incarnation, batch_max)
            yield from entries
        if last:
            file.same(at, "end of the batches that HEAD covers", at, end)
        if not file.is_blank(at):
            file.need(last, at, "bytes after the end of a closed file")
            self.unchecked.append(f"{file.path.name}: bytes from offset {at} on, not acknowledged")

    def _active_header(self, file: File) -> tuple[bytes, bytes, int]:
        data = file.take(0, HEADER)
        file.same(HEADER, "second header", file.take(HEADER, HEADER), data)
        magic, major, _, align, f, segment, base, root, leaf, salt, seed, _, _, length, *rest = ACTIVE.unpack_from(data)
        event_max, incompatible, _, peaks, stored, time = rest[3:]
        file.same(0, "magic", (magic, major, align), (b"\x89LGA\r\n\x1a\n", 1, ALIGN))
        file.same(4056, "SHA-256 of the header", sha256(data[:4056]).digest(), data[4056:4088])
        file.same(4088, "CRC32C", crc32c(data[:4088]), int.from_bytes(data[4088:4092], "little"))
        file.need(not any(data[2304:4056] + data[4092:]) and not incompatible, 236, "flags or reserved bytes")
        found = (f, segment, base, root, leaf, length, time, peaks, stored)
        own = [peak for _, peak in self.tree.peaks]
        time_before = time if self.time is None else self.time
        file.same(16, "what the header says", found, (
            self.fingerprint, file.segment, self.size, self.root, self.leaf, file.length, time_before,
            len(own), b"".join(own).ljust(2048, b"\0")))  # fmt: skip
        self.time = time
        return seed, salt, event_max

    def _batch(
        self, file: File, at: int, key: bytes, seed: bytes, incarnation: int, event_max: int
    ) -> tuple[list[Entry], int, int]:
        head = file.take(at, 64)
        magic, version, zero, body_bytes, count, base, synced, time, now, zero2, crc, zero3, mac = BATCH.unpack(head)
        place = struct.pack("<QQ", file.segment, at)
        file.same(at + 56, "SipHash", siphash24(key, place + head[:56]), mac)
        file.same(at, "batch header", (magic, version, zero, zero2, zero3), (b"LGB1", 1, 0, 0, 0))
        file.same(at + 16, "base index", base, self.size)
        file.need(count > 0 and 32 <= body_bytes <= 80 << 20 and synced <= at and now >= incarnation, at, "bounds")
        end = at + 64 + body_bytes + -(64 + body_bytes) % ALIGN
        data = file.take(at + 64, end - at - 64)
        file.same(at + 48, "CRC32C", crc32c(data), crc)
        entries, offset = [], 0
        for _ in range(count):
            file.need(offset + 8 <= body_bytes - 32, at + 64 + offset, "a record past the body")
            size, kind, flags, zero = struct.unpack_from("<IBBH", data, offset)
            pad = -size % 8
            payload, padding = data[offset + 8 : offset + 8 + size], data[offset + 8 + size : offset + 8 + size + pad]
            whole = size <= event_max and offset + 8 + size + pad <= body_bytes - 32 and not zero and not any(padding)
            file.need(whole, at + 64 + offset, "a record that breaks its bounds")
            entries.append(self._entry(file, at + 64 + offset, kind, flags, time, payload, seed))
            self._push(0, self.leaf)
            offset += 8 + size + pad
        file.same(at + 64 + offset, "leaf hash after the records", data[offset:body_bytes], self.leaf)
        file.need(len(data[offset:body_bytes]) == 32 and not any(data[body_bytes:]), at, "padding")
        return entries, end, now

    # -- sealed files

    def _sealed(self, file: File) -> Iterator[Entry]:
        base, leaf_before, seal_before = self.size, self.leaf, self.seals[-1][4] if self.seals else ZERO
        self.tree.made = {}
        at = file.length - 808
        footer = file.take(at, 744)
        seal = sha256(footer).digest()
        trailer = (b"LGT1", 744, at, file.length, file.segment, seal)
        file.same(at + 744, "trailer", TRAILER.unpack(file.take(at + 744, 64)), trailer)
        header, dictionary, blocks, rows, nodes, withheld, seed = self._sections(file, footer, at)
        start = struct.pack("<8sHHI32sQQQ", b"\x89LGS\r\n\x1a\n", 1, 0, 0, self.fingerprint, file.segment, base, 0)
        start = start[:10] + header[10:12] + start[12:] + bytes(508 - len(start))
        file.same(0, "header", header, start + crc32c(header[:508]).to_bytes(4, "little"))
        sound = not withheld and len(seed) == 32 and len(rows) > 0 and len(rows) % ROW.size == 0
        file.need(sound, at + 352, "lengths of the sections")
        fields = FOOTER.unpack_from(footer)
        end, facts = base + fields[4], BlockFacts(file, seed, 512 + len(dictionary))
        decompress = decompressor(dictionary)
        for number, row in enumerate(ROW.iter_unpack(rows)):
            yield from self._block(
                facts, at - len(rows + nodes + seed) + number * ROW.size, end, blocks, row, decompress
            )
        if decompress is None:
            self.unchecked.append(f"{file.path.name}: what is inside its blocks: there is no zstd here")
            facts.events, facts.times, facts.root = fields[5], list(fields[6:8]), fields[11]
            self.leaf, self.time = fields[9], None
        root = facts.root or facts.alone.root()
        file.same(at, "footer", fields[:17] + fields[18:], (
            b"LGFOOT1\0", self.fingerprint, file.segment, base, self.size - base, facts.events,
            min(facts.times), max(facts.times), leaf_before, self.leaf, seal_before, root, end, self.root,
            fields[14], ZERO, 7, 0, len(rows) // ROW.size, facts.raw_bytes))  # fmt: skip
        file.same(at, "end of the blocks", facts.offset, 512 + len(dictionary + blocks))
        made = b"".join(b"".join(self.tree.made.get(level, ())) for level in range(8, 64))
        file.same(at - len(nodes + seed), "nodes", nodes, made)
        if decompress is not None:
            file.same(at, "levels of the blocks", bytes(row[3] for row in ROW.iter_unpack(rows)), facts.levels(base))
        self.seals.append([file.segment, base, end - base, file.length, seal, root])

    def _sections(self, file: File, footer: bytes, end: int) -> list[bytes]:
        parts, offset = list[bytes](), 0
        for kind, row in enumerate(struct.iter_unpack("<IIQQ32s", footer[352:])):
            file.same(end + 352 + 56 * kind, "section", row[:3], (kind, 0, offset))
            part = file.take(offset, row[3])
            file.same(offset, f"SHA-256 of section {kind}", sha256(part).digest(), row[4])
            parts.append(part)
            offset += len(part)
        file.same(end, "end of the sections", offset, end)
        file.need(len(parts[0]) == 512, 0, "the header is not 512 bytes long")
        return parts

    def _block(
        self, facts: BlockFacts, at: int, end: int, blocks: bytes, row: tuple[Any, ...], decompress: Decompress | None
    ) -> list[Entry]:
        """The entries of the block whose row stands at `at`: none where there is no zstd."""
        packed_bytes, raw_bytes, crc, level, zero, leaf, root = row
        file, offset, count = facts.file, facts.offset, 1 << level
        first = offset - facts.first
        frame = blocks[first : first + packed_bytes]
        file.need(level <= 7 and zero == bytes(3) and self.size % count == 0 and self.size + count <= end, at, "row")
        file.need(len(frame) == packed_bytes and crc32c(frame) == crc, offset, "length or CRC32C of the block")
        facts.offset, facts.raw_bytes = offset + packed_bytes, facts.raw_bytes + raw_bytes
        if decompress is None:
            self._push(level, root)
            return []
        file.same(at + 16, "leaf hash before the block", leaf, self.leaf)
        try:
            stored = block_records(decompress(frame, raw_bytes), count)
        except (ValueError, struct.error) as error:
            file.fail(offset, f"block: {error}")
        entries, tree = [], Tree()
        for kind, flags, time, payload in stored:
            entries.append(self._entry(file, offset, kind, flags, time, payload, facts.seed))
            for one in (tree, facts.alone):
                one.push(0, self.leaf)
            self._push(0, self.leaf)
            facts.times.append(time)
            facts.ends.append((facts.ends[-1] if facts.ends else 0) + len(payload))
            facts.events += kind == 0
        file.same(at + 48, "root of the block", root, tree.root())
        return entries

    # -- what stands beside the segments

    def _read_checkpoints(self) -> None:
        """Note the root that each stored checkpoint names, to be compared on reaching its size."""
        for path in sorted((self.path / "checkpoints").glob("[0-9]" * 20 + "." + "[0-9a-f]" * 8)):
            file = File(path)
            note = file.take(0, file.length)
            file.same(0, "SHA-256 in the file's name", path.name[21:], sha256(note).hexdigest()[:8])
            try:
                checkpoint = parse_checkpoint(parse_note(note)[0])
            except VerificationError as error:
                file.fail(0, str(error))
            named = (checkpoint.origin, checkpoint.size)
            file.same(0, "origin and size", named, (self.described["origin"], int(path.name[:20])))
            self.expected.setdefault(checkpoint.size, []).append((file, checkpoint.root))

    def _check_manifests(self) -> None:
        """Each manifest that is kept, against the sealed files just read and the manifest before it."""
        before: dict[int, bytes] = {}
        for path in sorted(self.path.glob("MANIFEST-" + "[0-9]" * 20)):
            file, generation = File(path), int(path.name[9:])
            data = file.take(0, file.length)
            magic, number, link, length, zero, digest = MANIFEST.unpack(file.take(0, MANIFEST.size))
            found = (magic, number, length, zero, digest)
            body = data[MANIFEST.size :]
            own = (b"LGMANI1\0", generation, len(body), 0, sha256(data[:56] + body).digest())
            file.same(0, "header", found, own)
            file.same(16, "hash of the manifest before", link, before.get(generation - 1, link))
            before[generation] = sha256(data).digest()
            rows = file.unpack(MANIFEST.size, body)["segments"]
            file.same(MANIFEST.size, "rows", [row[:7] for row in rows], [[*row, 0] for row in self.seals[: len(rows)]])


def read_ledger(path: str | os.PathLike[str]) -> Reading:
    """Begin to read the ledger at `path`; iterate over the result once for its entries, which checks all.

    Raises `CorruptionError` with file and offset at the first rule that is broken, OSError for a file that cannot
    be read. Entries come a block or a batch at a time, each after its checksums, links and subtree root held; what
    ties them to the rest (footers, checkpoints, HEAD) is checked by the end. Not for a ledger that is written."""
    return Reading(Path(path))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code is explained at the top."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m ledger.reader PATH", file=sys.stderr)
        return 2
    try:
        reading = read_ledger(arguments[0])
        payload_bytes = sum(len(entry.payload) for entry in reading)
    except CorruptionError as error:
        print(f"corrupt: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 3
    print(f"size {reading.size}\nroot {reading.root.hex()}\nF    {reading.fingerprint.hex()}")
    print(f"checked: LEDGER, HEAD, {len(reading.seals)} sealed files, active files, {payload_bytes} payload bytes")
    for what in reading.unchecked:
        print(f"not checked: {what}")
    return 4 if reading.unchecked else 0


if __name__ == "__main__":
    sys.exit(main())
