"""Hashes and checksums in C: every kernel that this CPU runs gives what plain Python gives.

LEDGER_KERNEL=auto|portable|python (or a kernel by name) runs the suite over that one alone; python
is the oracle itself, which then answers to the published vectors."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger._native import ffi, lib

VECTORS = Path(__file__).parents[1] / "vectors"
MASK = 2**64 - 1
COUNTS = (0, 1, 2, 3, 4, 5, 1000)


def pattern(size: int, start: int = 0) -> bytes:
    """Bytes without a short period, so that a misplaced block shows."""
    return bytes((i * 7 + (i >> 8) * 13 + start) & 255 for i in range(size))


def rotate(x: int, count: int) -> int:
    return (x << count | x >> (64 - count)) & MASK


class Oracle:
    """Each function as its source defines it; `lead` and `gap` are for C, where places matter."""

    def sha256(self, data: bytes, lead: int = 0) -> bytes:
        return hashlib.sha256(data).digest()

    def crc32c(self, data: bytes, crc: int = 0, lead: int = 0) -> int:
        """Bit by bit: RFC 3720 appendix B.4, reflected."""
        rest = crc ^ 0xFFFFFFFF
        for byte in data:
            rest ^= byte
            for _ in range(8):
                rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
        return rest ^ 0xFFFFFFFF

    def siphash24(self, key: bytes, data: bytes, lead: int = 0) -> int:
        """Section 2 of the SipHash paper."""
        k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
        a, b = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
        c, d = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573

        def rounds(count: int) -> None:
            nonlocal a, b, c, d
            for _ in range(count):
                a = (a + b) & MASK
                b = rotate(b, 13) ^ a
                a = rotate(a, 32)
                c = (c + d) & MASK
                d = rotate(d, 16) ^ c
                a = (a + d) & MASK
                d = rotate(d, 21) ^ a
                c = (c + b) & MASK
                b = rotate(b, 17) ^ c
                c = rotate(c, 32)

        padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
        for at in range(0, len(padded), 8):
            word = int.from_bytes(padded[at : at + 8], "little")
            d ^= word
            rounds(2)
            a ^= word
        c ^= 0xFF
        rounds(4)
        return a ^ b ^ c ^ d

    def fixed(self, messages: list[bytes], gap: int = 0) -> list[bytes]:
        return [hashlib.sha256(message).digest() for message in messages]

    def nodes(self, pairs: bytes, in_place: bool = False) -> bytes:
        starts = range(0, len(pairs), 64)
        return b"".join(hashlib.sha256(b"\1" + pairs[at : at + 64]).digest() for at in starts)

    def commitments(self, salts: list[bytes], payloads: list[bytes], stride: int = 32) -> list[bytes]:
        pairs = zip(salts, payloads, strict=True)
        return [hashlib.sha256(b"\2" + salt + payload).digest() for salt, payload in pairs]

    def salts(self, seed: bytes, begin: int, count: int) -> list[bytes]:
        both = (
            hashlib.sha256(b"\3" + seed + (i >> 1).to_bytes(8, "little")).digest() for i in range(begin, begin + count)
        )
        return [s[16:] if i & 1 else s[:16] for i, s in enumerate(both, begin)]


class Core(Oracle):
    """The same through the C core, `lead` bytes off the alignment that malloc gives."""

    def __init__(self) -> None:
        self._alive: list[Any] = []

    def place(self, data: bytes, lead: int = 0) -> Any:
        buffer = ffi.new("uint8_t[]", lead + max(len(data), 1))
        ffi.memmove(buffer + lead, data, len(data))
        self._alive = [*self._alive[-3:], buffer]
        return buffer + lead

    def sha256(self, data: bytes, lead: int = 0) -> bytes:
        out = ffi.new("uint8_t[32]")
        lib.ledger_sha256(self.place(data, lead), len(data), out)
        return bytes(out)

    def crc32c(self, data: bytes, crc: int = 0, lead: int = 0) -> int:
        return int(lib.ledger_crc32c(crc, self.place(data, lead), len(data)))

    def siphash24(self, key: bytes, data: bytes, lead: int = 0) -> int:
        return int(lib.ledger_siphash24(key, self.place(data, lead), len(data)))

    def fixed(self, messages: list[bytes], gap: int = 0) -> list[bytes]:
        size = len(messages[0]) if messages else 41
        out = ffi.new("uint8_t[]", 32 * len(messages))
        packed = self.place(b"".join(m + bytes(gap) for m in messages), lead=1)
        lib.ledger_sha256_fixed(packed, size + gap, size, len(messages), out)
        return split(bytes(out), 32)

    def nodes(self, pairs: bytes, in_place: bool = False) -> bytes:
        source = self.place(pairs, lead=3)
        target = source if in_place else ffi.new("uint8_t[]", len(pairs) // 2)
        lib.ledger_sha256_nodes(source, len(pairs) // 64, target)
        return bytes(ffi.buffer(target, len(pairs) // 2))

    def commitments(self, salts: list[bytes], payloads: list[bytes], stride: int = 32) -> list[bytes]:
        ends = [0]
        for payload in payloads:
            ends.append(ends[-1] + len(payload))
        out = ffi.new("uint8_t[]", stride * len(payloads))
        lib.ledger_sha256_commitments(
            self.place(b"".join(salts), lead=1),
            self.place(b"".join(payloads)),
            ends,
            [len(payload) for payload in payloads],
            len(payloads),
            out,
            stride,
        )
        rows = split(bytes(out), stride)
        assert all(row[32:] == bytes(stride - 32) for row in rows)
        return [row[:32] for row in rows]

    def salts(self, seed: bytes, begin: int, count: int) -> list[bytes]:
        out = ffi.new("uint8_t[]", 16 * count)
        lib.ledger_sha256_salts(seed, begin, count, out)
        return split(bytes(out), 16)


def split(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


ORACLE = Oracle()


def kernels() -> list[str]:
    chosen = os.environ.get("LEDGER_KERNEL")
    if chosen:
        return [chosen]
    before = ffi.string(lib.ledger_kernel_name())
    names = ("auto", "sha-ni", "sse4.2", "portable", "python")
    usable = [n for n in names if n == "python" or lib.ledger_kernel_select(n.encode()) == 0]
    assert lib.ledger_kernel_select(before) == 0
    return usable


@pytest.fixture(scope="module", params=kernels())
def kernel(request: pytest.FixtureRequest) -> Iterator[Oracle]:
    if request.param == "python":
        yield ORACLE
        return
    before = ffi.string(lib.ledger_kernel_name())
    assert lib.ledger_kernel_select(request.param.encode()) == lib.LEDGER_OK
    yield Core()
    assert lib.ledger_kernel_select(before) == lib.LEDGER_OK


def cavp(name: str) -> list[tuple[int, bytes, str]]:
    text = (VECTORS / "sha256" / name).read_text()
    found = re.findall(r"Len = (\d+)\s+Msg = (\w+)\s+MD = (\w+)", text)
    return [(int(bits), bytes.fromhex(message), digest) for bits, message, digest in found]


@pytest.mark.parametrize(("name", "count"), [("SHA256ShortMsg.rsp", 65), ("SHA256LongMsg.rsp", 64)])
def test_nist_messages(kernel: Oracle, name: str, count: int) -> None:
    """All messages of NIST's CAVP files have the digests that the files give."""
    cases = cavp(name)
    assert len(cases) == count
    for bits, message, digest in cases:
        assert kernel.sha256(message[: bits // 8]).hex() == digest


def test_nist_monte_carlo(kernel: Oracle) -> None:
    """A hundred thousand hashes, each of the three before it, end where NIST's file says."""
    text = (VECTORS / "sha256" / "SHA256Monte.rsp").read_text()
    seed = bytes.fromhex(re.findall(r"Seed = (\w+)", text)[0])
    digests = re.findall(r"MD = (\w+)", text)
    assert len(digests) == 100
    for digest in digests:
        a = b = c = seed
        for _ in range(1000):
            a, b, c = b, c, kernel.sha256(a + b + c)
        assert c.hex() == digest
        seed = c


def test_every_length_at_every_alignment(kernel: Oracle) -> None:
    """SHA-256 and CRC32C do not depend on where the bytes lie, at any length up to five blocks."""
    for size in range(301):
        data = pattern(size)
        lead = size % 17
        assert kernel.sha256(data, lead) == ORACLE.sha256(data)
        assert kernel.crc32c(data, lead=lead) == ORACLE.crc32c(data)


@given(data=st.binary(max_size=300), lead=st.integers(0, 16))
def test_any_bytes_anywhere(kernel: Oracle, data: bytes, lead: int) -> None:
    """SHA-256 and SipHash of any bytes at any alignment are those of plain Python."""
    assert kernel.sha256(data, lead) == ORACLE.sha256(data)
    assert kernel.siphash24(bytes(range(16)), data, lead) == ORACLE.siphash24(bytes(range(16)), data)


def test_rfc3720_checksums(kernel: Oracle) -> None:
    """The CRC32C values of RFC 3720 appendix B.4 come out."""
    for case in json.loads((VECTORS / "crc32c" / "rfc3720.json").read_text()):
        assert kernel.crc32c(bytes.fromhex(case["hex"])) == int(case["crc32c"], 16), case["name"]


@given(first=st.binary(max_size=80), second=st.binary(max_size=80))
def test_checksum_goes_on_from_a_checksum(kernel: Oracle, first: bytes, second: bytes) -> None:
    """The CRC32C of two pieces is the second's, begun with the first's."""
    whole = ORACLE.crc32c(first + second)
    assert kernel.crc32c(second, kernel.crc32c(first), lead=1) == whole


def test_siphash_of_the_paper(kernel: Oracle) -> None:
    """The example of the SipHash paper's appendix A: key 00..0f, message 00..0e."""
    assert kernel.siphash24(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5


@given(key=st.binary(min_size=16, max_size=16), size=st.integers(0, 600))
@example(key=bytes(16), size=255)
@example(key=bytes(16), size=256)
def test_siphash_of_any_key(kernel: Oracle, key: bytes, size: int) -> None:
    """The key's every byte counts, and sizes above 255 count modulo 256, as the paper has it."""
    assert kernel.siphash24(key, pattern(size)) == ORACLE.siphash24(key, pattern(size))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("size", [0, 41, 55, 56, 64, 65, 105, 119, 120, 300])
def test_messages_of_one_size(kernel: Oracle, count: int, size: int) -> None:
    """Four abreast, messages get the hash each has alone, in order, whatever lies between."""
    messages = [pattern(size, i) for i in range(count)]
    expected = ORACLE.fixed(messages)
    assert kernel.fixed(messages) == expected
    assert kernel.fixed(messages, gap=7) == expected


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("in_place", [False, True])
def test_node_hashes(kernel: Oracle, count: int, in_place: bool) -> None:
    """A level of the tree is SHA-256(1 || left || right), also written over the level below."""
    pairs = pattern(64 * count)
    assert kernel.nodes(pairs, in_place) == ORACLE.nodes(pairs)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("begin", [0, 1, 2, 7, 2**32 - 3, 2**63 - 1001])
def test_salts_from_an_even_or_odd_index(kernel: Oracle, begin: int, count: int) -> None:
    """Two neighbours share a hash; a range may begin or end between them."""
    seed = pattern(32)
    assert kernel.salts(seed, begin, count) == ORACLE.salts(seed, begin, count)


@pytest.mark.parametrize("count", COUNTS)
def test_commitments_of_mixed_sizes(kernel: Oracle, count: int) -> None:
    """Lanes that end at different times never mix messages: empty, long, or at any border."""
    sizes = (0, 377, 38, 39, 47, 48, 5000, 1, 485, 486, 487, 0, 116, 40_000, 503, 504)
    payloads = [pattern(sizes[i % len(sizes)] + i % 5, i) for i in range(count)]
    salts = [pattern(16, i) for i in range(count)]
    expected = ORACLE.commitments(salts, payloads)
    assert kernel.commitments(salts, payloads) == expected
    assert kernel.commitments(salts, payloads, stride=104) == expected


@given(sizes=st.lists(st.one_of(st.integers(0, 600), st.integers(0, 9000)), max_size=12))
def test_commitments_of_any_sizes(kernel: Oracle, sizes: list[int]) -> None:
    """In any order of long and short, each commitment is that of its own salt and payload."""
    payloads = [pattern(size, i) for i, size in enumerate(sizes)]
    salts = [pattern(16, 3 * i) for i in range(len(sizes))]
    assert kernel.commitments(salts, payloads) == ORACLE.commitments(salts, payloads)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("lib.ledger_sha256(b'abc', 3, out)", hashlib.sha256(b"abc").digest()),
        ("lib.ledger_sha256_nodes(bytes(256), 4, out)", ORACLE.nodes(bytes(256))),
        ("out[0] = lib.ledger_crc32c(0, b'123456789', 9) >> 24", b"\xe3"),
    ],
)
def test_first_call_of_a_process(call: str, expected: bytes) -> None:
    """Whichever function is called first chooses the kernel, and its answer is right already."""
    script = (
        "from ledger._core import ffi, lib; out = ffi.new('uint8_t[128]');"
        f"{call}; print(bytes(out).hex(), ffi.string(lib.ledger_kernel_name()).decode())"
    )
    printed = subprocess.check_output([sys.executable, "-c", script], text=True)
    found, name = printed.split()
    assert bytes.fromhex(found)[: len(expected)] == expected
    assert name in ("sha-ni", "sse4.2", "portable")


def test_unknown_kernel_is_refused() -> None:
    """A name that is no kernel changes nothing and says so."""
    before = lib.ledger_kernel_name()
    for name in (b"", b"avx1024", b"AUTO", ffi.NULL):
        assert lib.ledger_kernel_select(name) == lib.LEDGER_USAGE
    assert lib.ledger_kernel_name() == before


def test_every_status_has_its_own_words() -> None:
    """Names are those of the enum, texts are all different, and a number outside has words too."""
    enum = ffi.typeof("ledger_status").relements
    numbers = sorted(enum.values())
    assert numbers == list(range(len(enum)))
    for name, number in enum.items():
        assert ffi.string(lib.ledger_status_name(number)) == name.removeprefix("LEDGER_").encode()
    assert len({ffi.string(lib.ledger_status_text(number)) for number in numbers}) == len(numbers)
    for number in (-1, len(numbers), 2**31 - 1, -(2**31)):
        assert ffi.string(lib.ledger_status_name(number)) == b"?"
        assert ffi.string(lib.ledger_status_text(number)) == b"a number that is no status"
