/* SPDX-License-Identifier: Apache-2.0 */
/* sha256_shani.h: four rounds of one stream with the SHA instructions of x86, the step that both kernels repeat.
 *
 * State     the instructions want the eight words as two vectors, (a, b, e, f) and (c, d, g, h), highest first
 * Schedule  m[0..3] hold 16 words. While rounds 4q..4q+3 use m[q], m[q+1] is finished for the next four
 *           (it began as words 16 rounds back) and m[q-1], now used up, begins to become words 12 rounds ahead
 * Inlining  q is a constant at every call, so indexes and conditions vanish and a lane lives in registers
 * See       FIPS 180-4 section 6.2.2; sha256_shani.c, sha256_shani4.c */
#ifndef LEDGER_SHA256_SHANI_H
#define LEDGER_SHA256_SHANI_H

#include <immintrin.h>

#include "kernels.h"

#define LEDGER_SHANI __attribute__((target("sha,sse4.1,ssse3")))
#define LEDGER_SHANI_INLINE static inline __attribute__((always_inline, target("sha,sse4.1,ssse3")))

typedef struct {
    __m128i abef, cdgh;
    __m128i abef_before, cdgh_before; /* added at the end of a block */
    __m128i m[4];
} ledger_shani_lane;

LEDGER_SHANI_INLINE void ledger_shani_load(ledger_shani_lane *lane, const ledger_sha256_state *state) {
    const __m128i dcba = _mm_loadu_si128((const __m128i *)(const void *)state->h);
    const __m128i hgfe = _mm_loadu_si128((const __m128i *)(const void *)(state->h + 4));
    const __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
    const __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);
    lane->abef = _mm_alignr_epi8(cdab, efgh, 8);
    lane->cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
}

LEDGER_SHANI_INLINE void ledger_shani_store(const ledger_shani_lane *lane, ledger_sha256_state *state) {
    const __m128i feba = _mm_shuffle_epi32(lane->abef, 0x1b);
    const __m128i dchg = _mm_shuffle_epi32(lane->cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state->h, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state->h + 4), _mm_alignr_epi8(dchg, feba, 8));
}

LEDGER_SHANI_INLINE void ledger_shani_begin(ledger_shani_lane *lane) {
    lane->abef_before = lane->abef;
    lane->cdgh_before = lane->cdgh;
}

LEDGER_SHANI_INLINE void ledger_shani_finish(ledger_shani_lane *lane) {
    lane->abef = _mm_add_epi32(lane->abef, lane->abef_before);
    lane->cdgh = _mm_add_epi32(lane->cdgh, lane->cdgh_before);
}

/* Rounds 4q to 4q + 3 of a block, q from 0 to 15 in turn. */
LEDGER_SHANI_INLINE void ledger_shani_rounds(ledger_shani_lane *lane, const uint8_t *block, int q) {
    __m128i *const now = &lane->m[q & 3], *const next = &lane->m[(q + 1) & 3], *const last = &lane->m[(q + 3) & 3];
    if (q < 4) {
        const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
        *now = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(block + 16 * q)), big_endian);
    }
    const __m128i *k = (const __m128i *)(const void *)(ledger_sha256_constants + 4 * q);
    const __m128i words = _mm_add_epi32(*now, _mm_load_si128(k));
    lane->cdgh = _mm_sha256rnds2_epu32(lane->cdgh, lane->abef, words);
    if (q >= 3 && q < 15) {
        const __m128i seven_back = _mm_alignr_epi8(*now, *last, 4);
        *next = _mm_sha256msg2_epu32(_mm_add_epi32(*next, seven_back), *now);
    }
    lane->abef = _mm_sha256rnds2_epu32(lane->abef, lane->cdgh, _mm_shuffle_epi32(words, 0x0e));
    if (q >= 1 && q < 13) *last = _mm_sha256msg1_epu32(*last, *now);
}

#endif
