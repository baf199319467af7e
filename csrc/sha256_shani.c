/* SPDX-License-Identifier: Apache-2.0 */
/* sha256_shani.c: SHA-256 of one stream with the SHA instructions of x86; empty elsewhere.
 *
 * Cost      each pair of rounds waits four cycles for the pair before: 128 cycles a block, whatever surrounds it
 * Runs      only where cpu.c found SHA, SSE4.1 and SSSE3
 * See       sha256_shani.h; tests/unit/test_kernels.py */
#include "kernels.h"

#if LEDGER_X86
#include "sha256_shani.h"

#define ROUNDS(q) ledger_shani_rounds(&lane, block, q)

LEDGER_SHANI void ledger_sha256_blocks_shani(ledger_sha256_state *state, const uint8_t *blocks,
                                             size_t block_count) {
    ledger_shani_lane lane;
    ledger_shani_load(&lane, state);
    for (size_t i = 0; i < block_count; i++) {
        const uint8_t *block = blocks + 64 * i;
        ledger_shani_begin(&lane);
        ROUNDS(0), ROUNDS(1), ROUNDS(2), ROUNDS(3), ROUNDS(4), ROUNDS(5), ROUNDS(6), ROUNDS(7);
        ROUNDS(8), ROUNDS(9), ROUNDS(10), ROUNDS(11), ROUNDS(12), ROUNDS(13), ROUNDS(14), ROUNDS(15);
        ledger_shani_finish(&lane);
    }
    ledger_shani_store(&lane, state);
}
#endif
