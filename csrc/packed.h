/* SPDX-License-Identifier: Apache-2.0 */
/* packed.h: one value of an event at a time, for those who walk events that were checked before.
 *
 * Trust     only what memory safety needs is checked: no byte at or after `end` is read; type 0 means that no value
 *           stands there whole
 * Owns      nothing: pure functions over the caller's bytes
 * See       msgpack.c for the exact form; index_walk.c, event_time.c */
#ifndef LEDGER_PACKED_H
#define LEDGER_PACKED_H

#include <stdbool.h>

#include "ledger_index.h"

typedef struct {
    const uint8_t *begin;
    const uint8_t *next;  /* after the header; for scalars after the value */
    uint32_t count;       /* of elements or pairs */
    uint32_t type;        /* a ledger_index_type bit; 0: no value */
    bool is_map, is_array;
} packed_item;

static inline uint64_t packed_big(const uint8_t *p, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) value = value << 8 | p[i];
    return value;
}

/* A length of `width` bytes after the head, and `extra` bytes that go with it; the value's bytes follow. */
static inline void packed_sized(packed_item *it, const uint8_t *end, unsigned width, unsigned extra, uint32_t type) {
    const size_t left = (size_t)(end - it->begin);
    if (left < 1 + width) return;
    const uint64_t size = 1 + (uint64_t)width + extra + packed_big(it->begin + 1, width);
    if (left < size) return;
    it->next = it->begin + size;
    it->type = type;
}

static inline void packed_fixed(packed_item *it, const uint8_t *end, size_t size, uint32_t type) {
    if ((size_t)(end - it->begin) < size) return;
    it->next = it->begin + size;
    it->type = type;
}

static inline void packed_container(packed_item *it, const uint8_t *end, unsigned width, bool is_map) {
    if ((size_t)(end - it->begin) < 1 + width) return;
    it->count = width == 0 ? (uint32_t)*it->begin & 0x0f : (uint32_t)packed_big(it->begin + 1, width);
    it->next = it->begin + 1 + width;
    it->type = is_map ? LEDGER_INDEX_EMPTY_MAP : LEDGER_INDEX_EMPTY_ARRAY;
    it->is_map = is_map;
    it->is_array = !is_map;
}

__attribute__((always_inline)) static inline packed_item packed_read(const uint8_t *p, const uint8_t *end) {
    static const uint8_t widths[4] = {1, 2, 4, 8};
    packed_item it = {.begin = p};
    if (p == end) return it;
    const uint8_t head = *p;
    if ((head & 0xe0) == 0xa0) packed_fixed(&it, end, 1 + (size_t)(head & 0x1f), LEDGER_INDEX_STRING);
    else if (head < 0x80 || head >= 0xe0) packed_fixed(&it, end, 1, LEDGER_INDEX_INTEGER);
    else if ((head & 0xf0) == 0x80) packed_container(&it, end, 0, true);
    else if ((head & 0xf0) == 0x90) packed_container(&it, end, 0, false);
    else if (head >= 0xd9 && head <= 0xdb) packed_sized(&it, end, widths[head - 0xd9], 0, LEDGER_INDEX_STRING);
    else if (head >= 0xcc && head <= 0xd3) packed_fixed(&it, end, 1 + (size_t)widths[head & 3], LEDGER_INDEX_INTEGER);
    else if (head == 0xc2 || head == 0xc3) packed_fixed(&it, end, 1, LEDGER_INDEX_BOOL);
    else if (head == 0xc0) packed_fixed(&it, end, 1, LEDGER_INDEX_NIL);
    else if (head == 0xcb) packed_fixed(&it, end, 9, LEDGER_INDEX_FLOAT);
    else if (head >= 0xc4 && head <= 0xc6) packed_sized(&it, end, widths[head - 0xc4], 0, LEDGER_INDEX_BYTES);
    else if (head == 0xd6) packed_fixed(&it, end, 6, LEDGER_INDEX_TIMESTAMP);
    else if (head == 0xd7) packed_fixed(&it, end, 10, LEDGER_INDEX_TIMESTAMP);
    else if (head == 0xc7) packed_sized(&it, end, 1, 1, LEDGER_INDEX_TIMESTAMP);
    else if (head == 0xdc || head == 0xdd) packed_container(&it, end, widths[head - 0xdb], false);
    else if (head == 0xde || head == 0xdf) packed_container(&it, end, widths[head - 0xdd], true);
    return it;
}

/* After the value at p, with all that is in it; NULL when it is not whole. */
static inline const uint8_t *packed_skip(const uint8_t *p, const uint8_t *end) {
    for (uint64_t left = 1; left > 0; left--) {
        const packed_item it = packed_read(p, end);
        if (it.type == 0) return NULL;
        left += it.is_map ? 2 * (uint64_t)it.count : it.count;
        p = it.next;
    }
    return p;
}

#endif
