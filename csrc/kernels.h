/* SPDX-License-Identifier: Apache-2.0 */
/* kernels.h: the implementations that a CPU feature decides about, as one table of functions per kind of CPU.
 *
 * Chosen    ledger_kernel_current points to one of cpu.c's constant tables. It starts at a table whose functions
 *           look at the CPU first, so a call costs one load and one indirect call, never a test
 * Threads   the pointer is atomic and everything behind it constant; ledger_kernel_select is for start-up and tests
 * See       cpu.c; sha256_portable.c, sha256_shani.c, sha256_shani4.c, crc32c.c */
#ifndef LEDGER_KERNELS_H
#define LEDGER_KERNELS_H

#include <stdatomic.h>

#include "sha256.h"

/* Instructions that the compiler's defaults do not allow are allowed per function, so one binary runs anywhere. */
#if defined(__x86_64__) && defined(__GNUC__)
#define LEDGER_X86 1
#else
#define LEDGER_X86 0
#endif

typedef struct {
    const char *name;
    void (*sha256_blocks)(ledger_sha256_state *state, const uint8_t *blocks, size_t block_count);
    void (*sha256_blocks4)(ledger_sha256_state *const states[4], const uint8_t *const blocks[4],
                           size_t block_count);
    uint32_t (*crc32c)(uint32_t crc, const uint8_t *data, size_t size);
} ledger_kernel;

extern _Atomic(const ledger_kernel *) ledger_kernel_current;

static inline const ledger_kernel *ledger_kernel_get(void) {
    return atomic_load_explicit(&ledger_kernel_current, memory_order_relaxed);
}

extern const uint32_t ledger_sha256_constants[64]; /* K of FIPS 180-4 section 4.2.2; 16-byte aligned */

void ledger_sha256_blocks_portable(ledger_sha256_state *state, const uint8_t *blocks, size_t block_count);
void ledger_sha256_blocks4_portable(ledger_sha256_state *const states[4], const uint8_t *const blocks[4],
                                    size_t block_count);
uint32_t ledger_crc32c_portable(uint32_t crc, const uint8_t *data, size_t size);

#if LEDGER_X86
void ledger_sha256_blocks_shani(ledger_sha256_state *state, const uint8_t *blocks, size_t block_count);
void ledger_sha256_blocks4_shani(ledger_sha256_state *const states[4], const uint8_t *const blocks[4],
                                 size_t block_count);
uint32_t ledger_crc32c_sse42(uint32_t crc, const uint8_t *data, size_t size);
#endif

#endif
