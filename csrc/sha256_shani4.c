/* SPDX-License-Identifier: Apache-2.0 */
/* sha256_shani4.c: SHA-256 of four streams side by side with the SHA instructions of x86; empty elsewhere.
 *
 * Cost      while one stream waits, the other three use the unit: 64 cycles a block and stream, the limit of two
 *           cycles an instruction. The schedules do not fit 16 registers; their loads and stores cost nothing
 * Tried     two streams: 85 % of this; 16 lanes of AVX-512: slower at every size
 * Runs      only where cpu.c found SHA, SSE4.1 and SSSE3
 * See       sha256_shani.h; tests/unit/test_kernels.py */
#include "kernels.h"

#if LEDGER_X86
#include "sha256_shani.h"

#define ROUNDS(q) \
    (ledger_shani_rounds(&a, blocks[0] + at, q), ledger_shani_rounds(&b, blocks[1] + at, q), \
     ledger_shani_rounds(&c, blocks[2] + at, q), ledger_shani_rounds(&d, blocks[3] + at, q))

LEDGER_SHANI void ledger_sha256_blocks4_shani(ledger_sha256_state *const states[4], const uint8_t *const blocks[4],
                                              size_t block_count) {
    ledger_shani_lane a, b, c, d;
    ledger_shani_load(&a, states[0]);
    ledger_shani_load(&b, states[1]);
    ledger_shani_load(&c, states[2]);
    ledger_shani_load(&d, states[3]);
    for (size_t i = 0; i < block_count; i++) {
        const size_t at = 64 * i;
        ledger_shani_begin(&a), ledger_shani_begin(&b), ledger_shani_begin(&c), ledger_shani_begin(&d);
        ROUNDS(0), ROUNDS(1), ROUNDS(2), ROUNDS(3), ROUNDS(4), ROUNDS(5), ROUNDS(6), ROUNDS(7);
        ROUNDS(8), ROUNDS(9), ROUNDS(10), ROUNDS(11), ROUNDS(12), ROUNDS(13), ROUNDS(14), ROUNDS(15);
        ledger_shani_finish(&a), ledger_shani_finish(&b), ledger_shani_finish(&c), ledger_shani_finish(&d);
    }
    ledger_shani_store(&a, states[0]);
    ledger_shani_store(&b, states[1]);
    ledger_shani_store(&c, states[2]);
    ledger_shani_store(&d, states[3]);
}
#endif
