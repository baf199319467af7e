/* SPDX-License-Identifier: Apache-2.0 */
/* crc32c.c: CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of frames and blocks.
 *
 * Kernels   SSE4.2 has it as an instruction, eight bytes a step; the portable one looks eight bytes up at a time
 * Tables    tables[k][i] is the checksum's change by byte i followed by k zero bytes. It is linear in i, so a table
 *           is written as its values at 1, 2, 4 ... 128 and the preprocessor adds (xors) up the other 248
 * Owns      the constant tables
 * See       docs/format.md "Batch"; kernels.h; tests/unit/test_kernels.py */
#include "bytes.h"
#include "kernels.h"

#if LEDGER_X86
#include <nmmintrin.h>
#endif

#define BIT(i, bit, value) ((i) & (bit) ? (value) : 0)
#define SUM(i, p, q, r, s, t, u, v, w)                                                                    \
    (BIT(i, 1, p) ^ BIT(i, 2, q) ^ BIT(i, 4, r) ^ BIT(i, 8, s) ^ BIT(i, 16, t) ^ BIT(i, 32, u) ^ BIT(i, 64, v) ^ \
     BIT(i, 128, w))
#define SUM4(i, ...) \
    SUM(i, __VA_ARGS__), SUM(i + 1, __VA_ARGS__), SUM(i + 2, __VA_ARGS__), SUM(i + 3, __VA_ARGS__)
#define SUM16(i, ...) \
    SUM4(i, __VA_ARGS__), SUM4(i + 4, __VA_ARGS__), SUM4(i + 8, __VA_ARGS__), SUM4(i + 12, __VA_ARGS__)
#define SUM64(i, ...) \
    SUM16(i, __VA_ARGS__), SUM16(i + 16, __VA_ARGS__), SUM16(i + 32, __VA_ARGS__), SUM16(i + 48, __VA_ARGS__)
#define TABLE(...) \
    {SUM64(0, __VA_ARGS__), SUM64(64, __VA_ARGS__), SUM64(128, __VA_ARGS__), SUM64(192, __VA_ARGS__)}

static const uint32_t tables[8][256] = {
    TABLE(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78),
    TABLE(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
    TABLE(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
    TABLE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
    TABLE(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
    TABLE(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
    TABLE(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
    TABLE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
};

uint32_t ledger_crc32c_portable(uint32_t crc, const uint8_t *data, size_t size) {
    uint32_t rest = ~crc;
    for (; size >= 8; size -= 8, data += 8) {
        const uint32_t low = rest ^ ledger_load_u32(data);
        const uint32_t high = ledger_load_u32(data + 4);
        rest = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^
               tables[4][low >> 24] ^ tables[3][high & 255] ^ tables[2][high >> 8 & 255] ^
               tables[1][high >> 16 & 255] ^ tables[0][high >> 24];
    }
    for (; size > 0; size--, data++) rest = rest >> 8 ^ tables[0][(rest ^ *data) & 255];
    return ~rest;
}

#if LEDGER_X86
__attribute__((target("sse4.2"))) uint32_t ledger_crc32c_sse42(uint32_t crc, const uint8_t *data, size_t size) {
    uint64_t rest = (uint32_t)~crc;
    for (; size >= 8; size -= 8, data += 8) rest = _mm_crc32_u64(rest, ledger_load_u64(data));
    uint32_t rest32 = (uint32_t)rest;
    if (size >= 4) {
        rest32 = _mm_crc32_u32(rest32, ledger_load_u32(data));
        size -= 4;
        data += 4;
    }
    for (; size > 0; size--, data++) rest32 = _mm_crc32_u8(rest32, *data);
    return ~rest32;
}
#endif

uint32_t ledger_crc32c(uint32_t crc, const uint8_t *data, size_t size) {
    return ledger_kernel_get()->crc32c(crc, data, size);
}
