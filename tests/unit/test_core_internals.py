"""What csrc/ keeps to itself below its API: SHA-256 in blocks and streams (sha256.h), and bytes.h.

The extension does not export these, so they are compiled once more, with a few lines that reach
the inline ones."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from cffi import FFI
from hypothesis import example, given
from hypothesis import strategies as st

CSRC = Path(__file__).parents[2] / "csrc"
SOURCES = [CSRC / "cpu.c", CSRC / "crc32c.c", *sorted(CSRC.glob("sha256*.c"))]
U64 = st.integers(0, 2**64 - 1)

DECLARATIONS = """
typedef struct { uint32_t h[8]; } ledger_sha256_state;
typedef struct {
    ledger_sha256_state state;
    uint64_t size;
    uint8_t block[64];
} ledger_sha256_stream;
int ledger_kernel_select(const char *name);
void ledger_sha256_start(ledger_sha256_state *state);
void ledger_sha256_blocks(ledger_sha256_state *state, const uint8_t *blocks, size_t block_count);
void ledger_sha256_blocks4(ledger_sha256_state *const *states, const uint8_t *const *blocks,
                           size_t block_count);
void ledger_sha256_emit(const ledger_sha256_state *state, uint8_t *hash);
void ledger_sha256_stream_start(ledger_sha256_stream *stream);
void ledger_sha256_stream_add(ledger_sha256_stream *stream, const uint8_t *data, size_t size);
void ledger_sha256_stream_end(ledger_sha256_stream *stream, uint8_t *hash);
_Bool add(uint64_t a, uint64_t b, uint64_t *sum);
uint64_t align(uint64_t value, uint64_t alignment);
void copy(uint8_t *target, const uint8_t *source);
void copy_be(uint8_t *target, const uint8_t *source);
"""

REACH = """
#include "bytes.h"
_Bool add(uint64_t a, uint64_t b, uint64_t *sum) { return ledger_add_u64(a, b, sum); }
uint64_t align(uint64_t value, uint64_t alignment) { return ledger_align_up(value, alignment); }
void copy(uint8_t *target, const uint8_t *source) {
    ledger_store_u16(target, ledger_load_u16(source));
    ledger_store_u32(target + 2, ledger_load_u32(source + 2));
    ledger_store_u64(target + 6, ledger_load_u64(source + 6));
}
void copy_be(uint8_t *target, const uint8_t *source) {
    uint64_t value = ledger_load_be_u64(source);
    ledger_store_u64(target, value);
    ledger_store_be_u64(target + 8, value);
    ledger_store_u32(target + 16, ledger_load_be_u32(source));
}
"""


@pytest.fixture(scope="module")
def internals(tmp_path_factory: pytest.TempPathFactory) -> tuple[FFI, Any]:
    folder = tmp_path_factory.mktemp("internals")
    (folder / "reach.c").write_text(REACH)
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    flags = ["-std=c11", "-O2", "-shared", "-fPIC", f"-I{CSRC}", "-o", str(folder / "internals.so")]
    sources = [*map(str, SOURCES), str(folder / "reach.c")]
    subprocess.run([*compiler, *flags, *sources], check=True)
    ffi = FFI()
    ffi.cdef(DECLARATIONS)
    return ffi, ffi.dlopen(str(folder / "internals.so"))


@given(sizes=st.lists(st.integers(0, 200), max_size=12))
@example(sizes=[])
@example(sizes=[64, 64])
@example(sizes=[1, 63, 1, 62, 1, 0, 128, 55])
def test_stream_in_pieces(internals: tuple[FFI, Any], sizes: list[int]) -> None:
    """A message in pieces of any size has the hash of the whole."""
    ffi, lib = internals
    stream, out, whole = ffi.new("ledger_sha256_stream *"), ffi.new("uint8_t[32]"), b""
    lib.ledger_sha256_stream_start(stream)
    for number, size in enumerate(sizes):
        piece = bytes((number + i) & 255 for i in range(size))
        lib.ledger_sha256_stream_add(stream, piece, size)
        whole += piece
    lib.ledger_sha256_stream_end(stream, out)
    assert bytes(out) == hashlib.sha256(whole).digest()


@pytest.mark.parametrize("name", [b"auto", b"portable"])
@pytest.mark.parametrize("block_count", [0, 1, 2, 33])
def test_four_streams_of_blocks(internals: tuple[FFI, Any], name: bytes, block_count: int) -> None:
    """Four streams in one call are four calls of one, from any states, at any alignment."""
    ffi, lib = internals
    assert lib.ledger_kernel_select(name) == 0
    data = bytes((i * i >> 3) & 255 for i in range(4 * (64 * block_count + 64)))
    buffer = ffi.from_buffer("uint8_t[]", data)
    together = [ffi.new("ledger_sha256_state *") for _ in range(4)]
    alone = [ffi.new("ledger_sha256_state *") for _ in range(4)]
    starts = [buffer + i * (64 * block_count + 7) for i in range(4)]
    for i in range(4):
        for state in (together[i], alone[i]):
            lib.ledger_sha256_start(state)
            lib.ledger_sha256_blocks(state, buffer, i % 2)
        lib.ledger_sha256_blocks(alone[i], starts[i], block_count)
    lib.ledger_sha256_blocks4(together, starts, block_count)
    assert [list(state.h) for state in together] == [list(state.h) for state in alone]


def test_blocks_are_the_compression_of_the_standard(internals: tuple[FFI, Any]) -> None:
    """ "abc", padded by hand, gives the digest of FIPS 180-4's example."""
    ffi, lib = internals
    state, out = ffi.new("ledger_sha256_state *"), ffi.new("uint8_t[32]")
    lib.ledger_sha256_start(state)
    lib.ledger_sha256_blocks(state, b"abc\x80" + bytes(59) + b"\x18", 1)
    lib.ledger_sha256_emit(state, out)
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert bytes(out).hex() == expected


@given(a=U64, b=U64)
@example(a=2**64 - 1, b=0)
@example(a=2**64 - 1, b=1)
@example(a=2**63, b=2**63)
def test_sums_never_wrap(internals: tuple[FFI, Any], a: int, b: int) -> None:
    """A sum that fits is given; one that does not is refused and nothing is written."""
    ffi, lib = internals
    total = ffi.new("uint64_t *", 42)
    fits = a + b < 2**64
    assert lib.add(a, b, total) == fits
    assert total[0] == (a + b if fits else 42)


@given(value=st.integers(0, 2**63), power=st.integers(0, 12))
def test_align_up(internals: tuple[FFI, Any], value: int, power: int) -> None:
    """The least multiple of a power of two that is not below the value."""
    _, lib = internals
    aligned = lib.align(value, 2**power)
    assert aligned % 2**power == 0
    assert 0 <= aligned - value < 2**power


@given(data=st.binary(min_size=14, max_size=14))
def test_bytes_come_back_in_their_order(internals: tuple[FFI, Any], data: bytes) -> None:
    """What a store writes its load reads; little and big endian are each other's reverse."""
    ffi, lib = internals
    out = ffi.new("uint8_t[20]")
    lib.copy(out, data)
    assert bytes(out)[:14] == data
    lib.copy_be(out, data)
    assert bytes(out) == data[7::-1] + data[:8] + data[3::-1]
