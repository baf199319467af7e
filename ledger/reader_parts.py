"""What the second reader computes with, slow and plain (see `ledger.reader`); shares no code with the engine.

sums           crc32c, siphash24      RFC 3720 §12.1; SipHash-2-4
MessagePack    unpack                 takes the one exact form of docs/format.md §1 only
tree           Tree                   RFC 6962, fed with leaves or whole subtrees, in order
zstd           decompressor           of the standard library, else of the package zstandard, else none"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NoReturn

from ledger.errors import CorruptionError
from ledger.verify import EMPTY_ROOT, node_hash

__all__ = [
    "BlockFacts",
    "Decompress",
    "File",
    "Tree",
    "block_records",
    "crc32c",
    "decompressor",
    "numbered",
    "siphash24",
    "unpack",
]

M64 = (1 << 64) - 1
BLOCK_BYTES_MAX = 16 << 10
Decompress = Callable[[bytes, int], bytes]


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


def _sip_round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0, v2 = (v0 + v1) & M64, (v2 + v3) & M64
    v1, v3 = _rotate(v1, 13) ^ v0, _rotate(v3, 16) ^ v2
    v0, v2 = (_rotate(v0, 32) + v3) & M64, (v2 + v1) & M64
    return v0, _rotate(v1, 17) ^ v2, _rotate(v2, 32), _rotate(v3, 21) ^ v0


def siphash24(key: bytes, data: bytes) -> int:
    """SipHash-2-4 with a key of 16 bytes."""
    k0, k1 = struct.unpack("<QQ", key)
    v = (k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573)
    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        v = _sip_round(*_sip_round(v[0], v[1], v[2], v[3] ^ word))
        v = (v[0] ^ word, *v[1:])
    v = (v[0], v[1], v[2] ^ 0xFF, v[3])
    for _ in range(4):
        v = _sip_round(*v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


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


# ---- tree, zstd ---------------------------------------------------------------------------------


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


def decompressor(dictionary: bytes) -> Decompress | None:
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


# ---- files, blocks ------------------------------------------------------------------------------


class File:
    """A file to be read in pieces; what is wrong in it is raised with its name and the offset."""

    def __init__(self, path: Path, segment: int | None = None) -> None:
        self.path, self.segment, self.length = path, segment, path.stat().st_size

    def take(self, offset: int, length: int) -> bytes:
        self.need(0 <= offset <= self.length - length, max(offset, 0), f"{length} bytes belong here and the file ends")
        with self.path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(length)
        self.need(len(data) == length, offset, "the file became shorter")
        return data

    def need(self, holds: bool, offset: int, why: str) -> None:
        if not holds:
            self.fail(offset, why)

    def fail(self, offset: int, why: str) -> NoReturn:
        raise CorruptionError(f"{self.path}, offset {offset}: {why}", segment=self.segment, offset=offset)

    def same(self, offset: int, what: str, found: object, expected: object) -> None:
        """Refuse what differs; of two tuples of the same length, the message shows the first member that does."""
        if found == expected:
            return
        if isinstance(found, tuple) and isinstance(expected, tuple) and len(found) == len(expected):
            found, expected = next(pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1])
        shown = [value.hex() if isinstance(value, bytes) else value for value in (found, expected)]
        self.fail(offset, f"{what}: {shown[0]}, not {shown[1]}"[:400])

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


def numbered(folder: Path, end: str) -> list[tuple[int, Path]]:
    """The files `<20 digits><end>` of a folder, in order."""
    paths = folder.glob("[0-9]" * 20 + end) if folder.is_dir() else ()
    return sorted((int(path.name[:20]), path) for path in paths)


class BlockFacts:
    """What is known of a sealed file while its blocks are read."""

    def __init__(self, file: File, seed: bytes, first: int) -> None:
        self.file, self.seed, self.first, self.offset = file, seed, first, first
        self.raw_bytes, self.events, self.alone, self.root = 0, 0, Tree(), b""
        self.times: list[int] = []
        self.ends: list[int] = []  # sums of the payload bytes

    def levels(self, base: int) -> bytes:
        """The level of each block as §7 wants it: the largest that is aligned, inside, and small enough."""
        starts = list(accumulate((now != before for before, now in pairwise(self.times)), initial=1))
        count, found = len(self.times), bytearray()
        bytes_max = BLOCK_BYTES_MAX << (self.ends[-1] >= 768 * count)
        at = 0
        while at < count:
            level = 7
            while level and ((base + at) % (1 << level) or self.raw(starts, at, at + (1 << level)) > bytes_max):
                level -= 1
            found.append(level)
            at += 1 << level
        return bytes(found)

    def raw(self, starts: list[int], begin: int, end: int) -> int:
        """Raw bytes of a block of the entries [begin, end), counted in the segment; without end past its end."""
        if end > len(starts):
            return 1 << 64
        payloads = self.ends[end - 1] - (self.ends[begin - 1] if begin else 0)
        return 8 + 6 * (end - begin) + 12 * (starts[end - 1] - starts[begin] + 1) + payloads


def block_records(raw: bytes, count: int) -> Iterator[tuple[int, int, int, bytes]]:
    """(kind, entry flags, time, payload) of each entry of an opened block. Raises ValueError, struct.error."""
    found, runs = struct.unpack_from("<II", raw)
    if found != count or not 1 <= runs <= count:
        raise ValueError(f"{found} entries in {runs} runs, where {count} entries belong")
    form = struct.Struct(f"<{count}I{count}s{count}s{runs}I{runs}Q")
    (*fields,) = form.unpack_from(raw, 8)
    sizes, kinds, flags, rest = fields[:count], fields[count], fields[count + 1], fields[count + 2 :]
    lengths, steps, at = rest[:runs], rest[runs:], 8 + form.size
    if min(lengths) < 1 or sum(lengths) != count or 0 in steps[1:] or at + sum(sizes) != len(raw):
        raise ValueError("runs or lengths do not add up")
    sums = accumulate(steps, lambda time, step: (time + step) & M64)
    times = [time for time, length in zip(sums, lengths, strict=True) for _ in range(length)]
    for kind, flag, time, size in zip(kinds, flags, times, sizes, strict=True):
        yield kind, flag, time, raw[at : at + size]
        at += size
