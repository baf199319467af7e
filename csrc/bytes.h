/* SPDX-License-Identifier: Apache-2.0 */
/* bytes.h: fixed-width loads and stores, and sizes that cannot wrap unseen.
 *
 * Order     little-endian is the order of our disk; the _be_ ones are for SHA-256. Bytes are joined by shifts, which
 *           compilers turn into one move, so there is no case for the machine's own order or for alignment
 * Owns      nothing: pure functions; the caller has checked that the bytes are there
 * See       docs/format.md; tests/unit/test_core_internals.py */
#ifndef LEDGER_BYTES_H
#define LEDGER_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint16_t ledger_load_u16(const uint8_t *p) {
    return (uint16_t)(p[0] | (unsigned)p[1] << 8);
}

static inline uint32_t ledger_load_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t ledger_load_u64(const uint8_t *p) {
    return (uint64_t)ledger_load_u32(p) | (uint64_t)ledger_load_u32(p + 4) << 32;
}

static inline void ledger_store_u16(uint8_t *p, uint16_t value) {
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline void ledger_store_u32(uint8_t *p, uint32_t value) {
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
    p[2] = (uint8_t)(value >> 16);
    p[3] = (uint8_t)(value >> 24);
}

static inline void ledger_store_u64(uint8_t *p, uint64_t value) {
    ledger_store_u32(p, (uint32_t)value);
    ledger_store_u32(p + 4, (uint32_t)(value >> 32));
}

static inline uint32_t ledger_load_be_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static inline void ledger_store_be_u32(uint8_t *p, uint32_t value) {
    p[0] = (uint8_t)(value >> 24);
    p[1] = (uint8_t)(value >> 16);
    p[2] = (uint8_t)(value >> 8);
    p[3] = (uint8_t)value;
}

static inline uint64_t ledger_load_be_u64(const uint8_t *p) {
    return (uint64_t)ledger_load_be_u32(p) << 32 | (uint64_t)ledger_load_be_u32(p + 4);
}

static inline void ledger_store_be_u64(uint8_t *p, uint64_t value) {
    ledger_store_be_u32(p, (uint32_t)(value >> 32));
    ledger_store_be_u32(p + 4, (uint32_t)value);
}

/* a + b to *sum; false, and *sum untouched, when it does not fit. */
static inline bool ledger_add_u64(uint64_t a, uint64_t b, uint64_t *sum) {
    if (a > UINT64_MAX - b) return false;
    *sum = a + b;
    return true;
}

/* The least multiple of alignment (a power of two) that is >= value, which is at most 2^64 - alignment: a size
 * that comes from outside goes through its bound or ledger_add_u64 first. */
static inline uint64_t ledger_align_up(uint64_t value, uint64_t alignment) {
    return (value + (alignment - 1)) & ~(alignment - 1);
}

#endif
