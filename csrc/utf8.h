/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.h: is this UTF-8? Eight bytes a step while it is ASCII.
 *
 * Valid     every character is one row of table 3-7 of the Unicode standard: nothing overlong, no surrogates, nothing
 *           above U+10FFFF, none cut off by the end
 * Owns      nothing: pure functions over the caller's bytes; no byte outside [p, p + n) is read
 * See       docs/format.md §1; tests/unit/test_event_walk.py */
#ifndef LEDGER_UTF8_H
#define LEDGER_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* In the host's byte order, for uses where order does not matter. */
static inline uint64_t ledger_load_any_u64(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline uint32_t ledger_load_any_u32(const uint8_t *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* Is bit 7 of every byte zero? Words at the end overlap instead of leaving a tail. */
static inline bool ledger_is_ascii(const uint8_t *p, size_t n) {
    const uint64_t high = UINT64_C(0x8080808080808080);
    if (n >= 8) {
        uint64_t all = ledger_load_any_u64(p + n - 8);
        for (size_t i = 0; i + 8 < n; i += 8) all |= ledger_load_any_u64(p + i);
        return (all & high) == 0;
    }
    if (n >= 4) return ((ledger_load_any_u32(p) | ledger_load_any_u32(p + n - 4)) & (uint32_t)high) == 0;
    return n == 0 || ((p[0] | p[n / 2] | p[n - 1]) & 0x80) == 0;
}

/* Bytes of the character at p, of which `left` (>= 1) may be read; 0 if it is none. */
static inline size_t ledger_utf8_character_size(const uint8_t *p, size_t left) {
    const uint8_t lead = p[0];
    uint8_t low = 0x80, high = 0xbf;
    if (lead < 0x80) return 1;
    const size_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (lead < 0xc2 || lead > 0xf4 || left < size) return 0;
    if (lead == 0xe0) low = 0xa0;  /* overlong */
    if (lead == 0xed) high = 0x9f; /* surrogates */
    if (lead == 0xf0) low = 0x90;  /* overlong */
    if (lead == 0xf4) high = 0x8f; /* above U+10FFFF */
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < size; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return size;
}

/* For strings that `ledger_is_ascii` has turned down. */
static inline bool ledger_is_utf8(const uint8_t *p, size_t n) {
    while (n > 0) {
        size_t step = n >= 8 && ledger_is_ascii(p, 8) ? 8 : ledger_utf8_character_size(p, n);
        if (step == 0) return false;
        p += step;
        n -= step;
    }
    return true;
}

#endif
