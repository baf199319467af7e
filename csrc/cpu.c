/* SPDX-License-Identifier: Apache-2.0 */
/* cpu.c: what this CPU can do, and the kernel chosen from it.
 *
 * Kernels   best first: sha-ni (SHA and SSE4.2 instructions) · sse4.2 (CRC32C alone) · portable (C11, anywhere)
 * Owns      the one mutable pointer of the hashing code: ledger_kernel_current
 * Threads   any number may make the first call: all find the same kernel, and a kernel selected by name stays
 * See       kernels.h; tests/unit/test_kernels.py runs one suite over every kernel of the machine */
#include "kernels.h"

#include <stdbool.h>
#include <string.h>

#if LEDGER_X86
#include <cpuid.h>
#endif

typedef struct {
    bool sse42;
    bool sha;
} features;

static features features_find(void) {
    features found = {false, false};
#if LEDGER_X86
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
    found.sse42 = (c & bit_SSE4_2) != 0;
    const bool shuffles = (c & bit_SSSE3) != 0 && (c & bit_SSE4_1) != 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) found.sha = shuffles && (b & bit_SHA) != 0;
#endif
    return found;
}

static const ledger_kernel kernel_portable = {
    "portable",
    ledger_sha256_blocks_portable,
    ledger_sha256_blocks4_portable,
    ledger_crc32c_portable,
};

#if LEDGER_X86
static const ledger_kernel kernel_sse42 = {
    "sse4.2",
    ledger_sha256_blocks_portable,
    ledger_sha256_blocks4_portable,
    ledger_crc32c_sse42,
};

static const ledger_kernel kernel_shani = {
    "sha-ni",
    ledger_sha256_blocks_shani,
    ledger_sha256_blocks4_shani,
    ledger_crc32c_sse42,
};
#endif

/* The kernels that run here, best first, and their number: at least 1. */
static size_t kernels_find(const ledger_kernel *usable[3]) {
    const features cpu = features_find();
    size_t count = 0;
#if LEDGER_X86
    if (cpu.sha && cpu.sse42) usable[count++] = &kernel_shani;
    if (cpu.sse42) usable[count++] = &kernel_sse42;
#else
    (void)cpu;
#endif
    usable[count++] = &kernel_portable;
    return count;
}

static const ledger_kernel *kernel_choose(void);

static void choose_sha256_blocks(ledger_sha256_state *state, const uint8_t *blocks, size_t block_count) {
    kernel_choose()->sha256_blocks(state, blocks, block_count);
}

static void choose_sha256_blocks4(ledger_sha256_state *const states[4], const uint8_t *const blocks[4],
                                  size_t block_count) {
    kernel_choose()->sha256_blocks4(states, blocks, block_count);
}

static uint32_t choose_crc32c(uint32_t crc, const uint8_t *data, size_t size) {
    return kernel_choose()->crc32c(crc, data, size);
}

/* Before the first call: each function chooses, then does the work with what was chosen. */
static const ledger_kernel kernel_choosing = {
    "choosing",
    choose_sha256_blocks,
    choose_sha256_blocks4,
    choose_crc32c,
};

_Atomic(const ledger_kernel *) ledger_kernel_current = &kernel_choosing;

/* Compare and exchange, so that a first call in one thread never undoes a selection made in another. */
static const ledger_kernel *kernel_choose(void) {
    const ledger_kernel *expected = &kernel_choosing;
    const ledger_kernel *usable[3];
    kernels_find(usable);
    return atomic_compare_exchange_strong(&ledger_kernel_current, &expected, usable[0]) ? usable[0] : expected;
}

int ledger_kernel_select(const char *name) {
    const ledger_kernel *usable[3];
    const size_t count = name == NULL ? 0 : kernels_find(usable);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, "auto") != 0 && strcmp(name, usable[i]->name) != 0) continue;
        atomic_store(&ledger_kernel_current, usable[i]);
        return LEDGER_OK;
    }
    return LEDGER_USAGE;
}

const char *ledger_kernel_name(void) {
    const ledger_kernel *kernel = ledger_kernel_get();
    return (kernel == &kernel_choosing ? kernel_choose() : kernel)->name;
}
