/* SPDX-License-Identifier: Apache-2.0 */
/* sha256_portable.c: the SHA-256 compression function in plain C11, always built: the other kernels must equal it.
 *
 * Rounds    sixteen are written out, so that variables change roles by name and words have constant places
 * Schedule  16 words, word t replacing word t - 16
 * Owns      the 64 round constants; no state
 * See       FIPS 180-4 sections 4.1.2 and 6.2.2; tests/unit/test_kernels.py */
#include "bytes.h"
#include "kernels.h"

_Alignas(16) const uint32_t ledger_sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotate(uint32_t x, int count) {
    return x >> count | x << (32 - count);
}

/* Word t of the schedule, t from 16 on, in place of word t - 16; i is t modulo 16. */
#define SCHEDULED(i)                                                                                      \
    (w[i] += (rotate(w[((i) + 1) & 15], 7) ^ rotate(w[((i) + 1) & 15], 18) ^ w[((i) + 1) & 15] >> 3) +    \
             w[((i) + 9) & 15] +                                                                          \
             (rotate(w[((i) + 14) & 15], 17) ^ rotate(w[((i) + 14) & 15], 19) ^ w[((i) + 14) & 15] >> 10))

#define LOADED(i) (w[i] = ledger_load_be_u32(block + 4 * (i)))

/* One round; afterwards d and h hold what the standard calls e and a, so the next round names them shifted. */
#define ROUND(a, b, c, d, e, f, g, h, constant, word)                                                     \
    do {                                                                                                  \
        const uint32_t sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);                               \
        const uint32_t sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);                               \
        const uint32_t t1 = h + sum1 + (g ^ (e & (f ^ g))) + (constant) + (word);                         \
        d += t1;                                                                                          \
        h = t1 + sum0 + ((a & b) | (c & (a | b)));                                                        \
    } while (0)

/* Rounds i to i + 7 of the sixteen whose constants begin at k. */
#define EIGHT_ROUNDS(i, k, WORD)                                \
    do {                                                        \
        ROUND(a, b, c, d, e, f, g, h, (k)[i], WORD(i));         \
        ROUND(h, a, b, c, d, e, f, g, (k)[i + 1], WORD(i + 1)); \
        ROUND(g, h, a, b, c, d, e, f, (k)[i + 2], WORD(i + 2)); \
        ROUND(f, g, h, a, b, c, d, e, (k)[i + 3], WORD(i + 3)); \
        ROUND(e, f, g, h, a, b, c, d, (k)[i + 4], WORD(i + 4)); \
        ROUND(d, e, f, g, h, a, b, c, (k)[i + 5], WORD(i + 5)); \
        ROUND(c, d, e, f, g, h, a, b, (k)[i + 6], WORD(i + 6)); \
        ROUND(b, c, d, e, f, g, h, a, (k)[i + 7], WORD(i + 7)); \
    } while (0)

static void compress(uint32_t state[8], const uint8_t block[64]) {
    const uint32_t *k = ledger_sha256_constants;
    uint32_t w[16];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    EIGHT_ROUNDS(0, k, LOADED);
    EIGHT_ROUNDS(8, k, LOADED);
    for (size_t t = 16; t < 64; t += 16) {
        EIGHT_ROUNDS(0, k + t, SCHEDULED);
        EIGHT_ROUNDS(8, k + t, SCHEDULED);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

void ledger_sha256_blocks_portable(ledger_sha256_state *state, const uint8_t *blocks, size_t block_count) {
    for (size_t i = 0; i < block_count; i++) compress(state->h, blocks + 64 * i);
}

/* Plain C has no lanes to fill: one stream after the other. */
void ledger_sha256_blocks4_portable(ledger_sha256_state *const states[4], const uint8_t *const blocks[4],
                                    size_t block_count) {
    for (size_t i = 0; i < 4; i++) ledger_sha256_blocks_portable(states[i], blocks[i], block_count);
}
