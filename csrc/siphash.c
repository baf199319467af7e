/* SPDX-License-Identifier: Apache-2.0 */
/* siphash.c: SipHash-2-4, the keyed check of batch headers: without the key no payload can hold a valid header.
 *
 * Rounds    two per eight bytes, four at the end
 * Owns      nothing: a pure function; one implementation, since it reads 72 bytes per batch
 * See       Aumasson and Bernstein, "SipHash: a fast short-input PRF", section 2; docs/format.md "Batch" */
#include "bytes.h"
#include "ledger_core.h"

static inline uint64_t rotate(uint64_t x, int count) {
    return x << count | x >> (64 - count);
}

static inline void rounds(uint64_t v[4], int count) {
    for (int i = 0; i < count; i++) {
        v[0] += v[1], v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0], v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1], v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2], v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

static inline void absorb(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    rounds(v, 2);
    v[0] ^= word;
}

uint64_t ledger_siphash24(const uint8_t key[16], const uint8_t *data, size_t size) {
    const uint64_t k0 = ledger_load_u64(key), k1 = ledger_load_u64(key + 8);
    /* "somepseudorandomlygeneratedbytes" */
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                     k1 ^ 0x7465646279746573};
    uint64_t last = (uint64_t)size << 56; /* the size modulo 256, above up to seven bytes */
    for (; size >= 8; size -= 8, data += 8) absorb(v, ledger_load_u64(data));
    for (size_t i = 0; i < size; i++) last |= (uint64_t)data[i] << (8 * i);
    absorb(v, last);
    v[2] ^= 0xff;
    rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
