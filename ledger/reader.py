"""A second reader of a ledger, in plain Python from docs/format.md alone, to check the first against:

    python -m ledger.reader PATH

    sums           crc32c, siphash24                   slow and plain
    MessagePack    unpack                              takes the one exact form of §1 only
    tree           Tree                                RFC 6962, leaves or whole subtrees in order
    a ledger       read_ledger → Reading → Entry       §2 … §9: LEDGER, sealed files, active files, HEAD

Standard library and a zstd, which is `compression.zstd` or the package zstandard; without either the blocks of
sealed files are not opened. Shares no code with what writes a ledger, takes no lock, writes nothing. `main` exits
with 0 all good, 1 corrupt, 2 usage, 3 a file cannot be read, 4 good as far as it was checked, and not all was."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ledger.errors import CorruptionError
from ledger.verify import EMPTY_ROOT, VerificationError, leaf_hash, node_hash, parse_checkpoint

__all__ = ["Entry", "Reading", "Tree", "crc32c", "main", "read_ledger", "siphash24", "unpack"]

ZERO, ALIGN, BATCHES, HEADER, KEPT = bytes(32), 512, 8192, 4096, 64 << 20
ENTRY = struct.Struct("<BBBBI16sQQ32s32s")
BATCH = struct.Struct("<4sHHIIQQQIIIIQ")
ACTIVE = struct.Struct("<8sHHI32sQQ32s32s16s32sQ16sQQQQIIII2048sQ")
HEAD = struct.Struct("<8sQ16sQQQQQIIqQ32sII")
FOOTER = struct.Struct("<8s32sQQQQQQ32s32s32s32sQ32s32s32sIIQQQ")
TRAILER = struct.Struct("<4sIQQQ32s")
ROW = struct.Struct("<IIIB3s32s32s")
M64 = (1 << 64) - 1


# ---- sums ---------------------------------------------------------------------------------------


def _crc_table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (0x82F63B78 if value & 1 else 0) for value in table]
    return table


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    """CRC32C (RFC 3720 §12.1), one table look-up a byte."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & M64


def siphash24(key: bytes, data: bytes) -> int:
    """SipHash-2-4 with a key of 16 bytes."""
    k0, k1 = struct.unpack("<QQ", key)
    v0, v1, v2, v3 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) & 0xFF])
    words = struct.unpack(f"<{len(padded) // 8}Q", padded)
    for word, rounds in (*((word, 2) for word in words), (None, 4)):
        v3, v2 = (v3 ^ word, v2) if word is not None else (v3, v2 ^ 0xFF)
        for _ in range(rounds):
            v0, v2 = (v0 + v1) & M64, (v2 + v3) & M64
            v1, v3 = _rotate(v1, 13) ^ v0, _rotate(v3, 16) ^ v2
            v0, v2 = (_rotate(v0, 32) + v3) & M64, (v2 + v1) & M64
            v1, v3 = _rotate(v1, 17) ^ v2, _rotate(v3, 21) ^ v0
            v2 = _rotate(v2, 32)
        v0 ^= word or 0
    return v0 ^ v1 ^ v2 ^ v3


# ---- MessagePack --------------------------------------------------------------------------------

_INTEGERS = {0xCC: (">B", 128, 256), 0xCD: (">H", 1 << 8, 1 << 16), 0xCE: (">I", 1 << 16, 1 << 32)} | {
    0xCF: (">Q", 1 << 32, 1 << 64), 0xD0: (">b", -(1 << 7), -(1 << 5)), 0xD1: (">h", -(1 << 15), -(1 << 7)),
    0xD2: (">i", -(1 << 31), -(1 << 15)), 0xD3: (">q", -(1 << 63), -(1 << 31)),
}  # fmt: skip
_LENGTHS = {
    0xC4: (">B", 0, "bin"), 0xC5: (">H", 1 << 8, "bin"), 0xC6: (">I", 1 << 16, "bin"),
    0xD9: (">B", 32, "str"), 0xDA: (">H", 1 << 8, "str"), 0xDB: (">I", 1 << 16, "str"),
    0xDC: (">H", 16, "array"), 0xDD: (">I", 1 << 16, "array"), 0xDE: (">H", 16, "map"), 0xDF: (">I", 1 << 16, "map"),
}  # fmt: skip
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
DEPTH_MAX = 32


class _Packed:
    """A cursor over packed bytes. Raises ValueError."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise ValueError("it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def value(self, depth: int = 0) -> Any:
        tag = self.number(">B")
        if tag < 0x80 or tag >= 0xE0:
            return tag if tag < 0x80 else tag - 256
        if tag < 0xC0:
            return self.sized(
                "map" if tag < 0x90 else "array" if tag < 0xA0 else "str", tag & (31 if tag >= 0xA0 else 15), depth
            )
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag in _INTEGERS:
            form, least, end = _INTEGERS[tag]
            return self.bounded(self.number(form), least, end)
        if tag in _LENGTHS:
            form, least, what = _LENGTHS[tag]
            return self.sized(what, self.bounded(self.number(form), least, 1 << 32), depth)
        if tag == 0xCB:
            number = self.number(">d")
            return number if number - number == 0 else self.refuse("a float that is not finite")
        return self.timestamp(tag)

    def sized(self, what: str, count: int, depth: int) -> Any:
        if what in ("bin", "str"):
            data = self.take(count)
            return data if what == "bin" else data.decode()
        if depth == DEPTH_MAX:
            self.refuse(f"more than {DEPTH_MAX} nested maps and arrays")
        if what == "array":
            return [self.value(depth + 1) for _ in range(count)]
        result: dict[str, Any] = {}
        for _ in range(count):
            key = self.value(depth + 1)
            if not isinstance(key, str) or key in result:
                self.refuse("a key that is no string, or comes twice")
            result[key] = self.value(depth + 1)
        return result

    def timestamp(self, tag: int) -> tuple[int, int]:
        """(seconds, nanoseconds), in the shortest of the three forms."""
        size = {0xD6: 4, 0xD7: 8, 0xC7: 12}.get(tag) or self.refuse(f"a value of the type {tag:#x}")
        if (tag == 0xC7 and self.number(">B") != 12) or self.number(">b") != -1:
            self.refuse("an extension")
        if size == 4:
            return self.number(">I"), 0
        nanos, seconds = divmod(self.number(">Q"), 1 << 34) if size == 8 else (self.number(">I"), self.number(">q"))
        shortest = 4 if nanos == 0 and 0 <= seconds < 1 << 32 else 8 if 0 <= seconds < 1 << 34 else 12
        return (seconds, nanos) if shortest == size and nanos < 10**9 else self.refuse("a timestamp in a longer form")

    def bounded(self, number: int, least: int, end: int) -> int:
        return number if least <= number < end else self.refuse("a longer form than it needs")

    def refuse(self, why: str) -> NoReturn:
        raise ValueError(f"{why}, before byte {self.at}")


def unpack(data: bytes) -> Any:
    """The value packed in `data`, all of it, in the exact form (docs/format.md §1). ValueError otherwise."""
    packed = _Packed(data)
    value = packed.value()
    return value if packed.at == len(data) else packed.refuse("bytes after the value")


# ---- tree, files --------------------------------------------------------------------------------


class Tree:
    """An RFC 6962 tree that grows by whole subtrees; `made` keeps, by level, the nodes of level 8 and above."""

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[tuple[int, bytes]] = []
        self.made: dict[int, list[bytes]] = {}

    def push(self, level: int, found: bytes) -> None:
        """Append the root of 2^level leaves; the size must be a multiple of 2^level."""
        self.size += 1 << level
        while self.peaks and self.peaks[-1][0] == level:
            found, level = node_hash(self.peaks.pop()[1], found), level + 1
            if level >= 8:
                self.made.setdefault(level, []).append(found)
        self.peaks.append((level, found))

    def root(self) -> bytes:
        """The root (RFC 6962 §2.1). O(log n)."""
        hashes = [found for _, found in self.peaks]
        while len(hashes) > 1:
            right = hashes.pop()
            hashes[-1] = node_hash(hashes[-1], right)
        return hashes[0] if hashes else EMPTY_ROOT


class Entry(NamedTuple):
    """One entry: `entry` is its 104 hashed bytes, `leaf_hash` the SHA-256 of 0x00 and these."""

    index: int
    kind: int
    time_ns: int
    payload: bytes
    entry: bytes
    salt: bytes
    leaf_hash: bytes


class _File:
    """A file to be read in pieces; what is wrong in it is raised with its name and the offset."""

    def __init__(self, path: Path, segment: int | None = None) -> None:
        self.path, self.segment, self.length = path, segment, path.stat().st_size

    def take(self, offset: int, length: int) -> bytes:
        with self.path.open("rb", buffering=0) as stream:
            stream.seek(offset)
            data = stream.read(length) if offset + length <= self.length else b""
        self.need(len(data) == length, offset, f"{length} bytes belong here and the file ends")
        return data

    def need(self, holds: bool, offset: int, why: str) -> None:
        if not holds:
            self.fail(offset, why)

    def fail(self, offset: int, why: str) -> NoReturn:
        raise CorruptionError(f"{self.path}, offset {offset}: {why}", segment=self.segment, offset=offset)

    def same(self, offset: int, what: str, found: object, expected: object) -> None:
        if found != expected:
            shown = [value.hex() if isinstance(value, bytes) else value for value in (found, expected)]
            self.fail(offset, f"{what}: {shown[0]}, not {shown[1]}")

    def unpack(self, offset: int, data: bytes) -> Any:
        try:
            return unpack(data)
        except (ValueError, struct.error) as error:
            self.fail(offset, f"not in the exact MessagePack form: {error}")

    def is_blank(self, offset: int) -> bool:
        step = 1 << 20
        return not any(
            self.take(at, min(step, self.length - at)).strip(b"\0") for at in range(offset, self.length, step)
        )


def _numbered(folder: Path, end: str) -> list[tuple[int, Path]]:
    """The files `<20 digits><end>` of a folder, in order."""
    paths = folder.glob("[0-9]" * 20 + end) if folder.is_dir() else ()
    return sorted((int(path.name[:20]), path) for path in paths)


def _decompressor(dictionary: bytes) -> Callable[[bytes, int], bytes] | None:
    """(frame, raw bytes) → the content of one zstd frame that declares that size; ValueError otherwise."""
    try:
        from compression import zstd
    except ImportError:
        try:
            import zstandard
        except ImportError:
            return None
        given = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        context = zstandard.ZstdDecompressor(dict_data=given)

        def decompress(frame: bytes, size: int) -> bytes:
            try:
                if zstandard.frame_content_size(frame) != size:
                    raise ValueError(f"the zstd frame does not declare {size} bytes")
                return bytes(context.decompress(frame, allow_extra_data=False))
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from None

        return decompress
    shared = zstd.ZstdDict(dictionary) if dictionary else None

    def decompress_standard(frame: bytes, size: int) -> bytes:
        context = zstd.ZstdDecompressor(zstd_dict=shared)
        try:
            if zstd.get_frame_info(frame).decompressed_size != size:
                raise ValueError(f"the zstd frame does not declare {size} bytes")
            data = bytes(context.decompress(frame, size + 1))
        except zstd.ZstdError as error:
            raise ValueError(str(error)) from None
        if not context.eof or context.unused_data:
            raise ValueError("the zstd frame is not the whole block")
        return data

    return decompress_standard


# ---- a ledger -----------------------------------------------------------------------------------


class Reading:
    """The entries of a ledger at rest, to be iterated once; `size`, `root` and `unchecked` grow with it."""

    def __init__(self, path: Path) -> None:
        self.path, self.unchecked, self.tree = path, list[str](), Tree()
        file = _File(path / "LEDGER")
        file.need(44 <= file.length <= 4096, 0, f"{file.length} bytes long")
        self.identity = file.take(0, file.length)
        self.fingerprint = self.identity[-32:]
        file.same(file.length - 32, "F", sha256(self.identity[:-32]).digest(), self.fingerprint)
        file.same(0, "magic", self.identity[:8], b"\x89LGL\r\n\x1a\n")
        described = file.unpack(8, self.identity[8:-32])
        file.need(isinstance(described, dict) and described.get("format", [0])[0] == 1, 8, "no ledger of format 1")
        self.leaf, self.time = self.fingerprint, 0
        self.seals: dict[int, list[Any]] = {}  # segment → its row of the manifest
        self.expected: dict[int, list[tuple[_File, bytes]]] = {}  # size → who names a root of it

    @property
    def size(self) -> int:
        """Entries read by now."""
        return self.tree.size

    @property
    def root(self) -> bytes:
        """The RFC 6962 root of these."""
        return self.tree.root()

    def __iter__(self) -> Iterator[Entry]:
        head, active, number = _Head(self.path / "HEAD"), dict(_numbered(self.path / "active", ".act")), 0
        self._expect_checkpoints()
        for number, path in _numbered(self.path / "sealed", ".seg"):
            yield from self._sealed(_File(path, number), len(self.seals))
        self._check_manifest()
        for number in sorted(number for number in active if number >= len(self.seals)):
            yield from self._active(_File(active[number], number), head)
        head.check(self, number)
        for size, named in self.expected.items():
            for file, root in named:
                file.need(size <= self.size, 0, f"a checkpoint of {size} entries; the ledger ends at {self.size}")
                self.unchecked.append(f"{file.path.name}: its size is inside a block")

    def _entry(self, file: _File, at: int, kind: int, flags: int, time: int, payload: bytes, seed: bytes) -> Entry:
        """The next entry, whose stored fields stand at offset `at`."""
        index = self.size
        file.need(kind <= 1 and flags == (time < self.time), at, f"entry {index}: kind {kind}, flags {flags}")
        if index:
            value = file.unpack(at, payload)
            file.need(isinstance(value, dict), at, f"entry {index} is no map")
            if kind == 1 and value.get("note") == "sealed" and value.get("segno") in self.seals:
                row = self.seals[value["segno"]]
                named = [value.get(key) for key in ("base", "count", "seal_hash")]
                file.same(at, "what a note of the seal says", named, [row[1], row[2], row[4]])
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

    def _active(self, file: _File, head: _Head) -> Iterator[Entry]:
        seed, salt = self._active_header(file)
        last = file.segment == head.segment
        at, incarnation = BATCHES, 0
        end = head.synced_end if last else file.length
        while at < end and (last or any(file.take(at, 64))):
            entries, at, incarnation = self._batch(file, at, salt, seed, incarnation)
            yield from entries
        if last:
            file.same(at, "end of the batches that HEAD covers", at, end)
        if not file.is_blank(at):
            file.need(last or file.segment == head.segment_next, at, "bytes after the end of a closed file")
            self.unchecked.append(f"{file.path.name}: bytes from offset {at}, not acknowledged")
