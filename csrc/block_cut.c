/* SPDX-License-Identifier: Apache-2.0 */
/* block_cut.c: from the rows of an active file to the blocks of a sealed one.
 *
 * Cut       each block is the largest run of 2^j entries, j <= 7, that begins at a multiple of 2^j, stays inside the
 *           segment and has at most 16 KiB of raw bytes (32 KiB where the mean payload is 768 bytes or more); a block
 *           of one entry may be larger. So every block is one whole subtree of the ledger's tree
 * Row       0: u32 compressed, 4: u32 raw, 8: u32 CRC32C, 12: u8 j, 13: 3 zero, 16: leaf hash before, 48: root
 * Owns      nothing: pure functions over the caller's buffers; no allocation, no I/O
 * See       docs/format.md 7; block_check.c goes the other way; tests/unit/test_sealed.py */
#include <string.h>

#include "bytes.h"
#include "ledger_core.h"

enum { BLOCK_LEVEL_MAX = 7, BLOCK_COUNT_MAX = 1 << BLOCK_LEVEL_MAX, ROW_BYTES = 80 };
enum { RAW_MAX = 16 << 10, RAW_MAX_LARGE = 32 << 10, MEAN_LARGE = 768 };
enum { ROW_CRC = 8, ROW_LEVEL = 12, ROW_LINK = 16, ROW_ROOT = 48 };

/* Raw bytes: a block has 8, an entry 6 and its payload, a run of equal time 12. */
enum { RAW_FIXED = 8, RAW_ENTRY = 6, RAW_RUN = 12 };

static uint64_t raw_max_of(const ledger_row *rows, uint64_t count) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        sum += rows[i].bytes;
    }
    return sum / MEAN_LARGE >= count ? RAW_MAX_LARGE : RAW_MAX;
}

/* What rows [begin, end) add to a block that starts at row 0. */
static uint64_t raw_of(const ledger_row *rows, uint64_t begin, uint64_t end) {
    uint64_t sum = 0;
    for (uint64_t i = begin; i < end; i++) {
        sum += (uint64_t)rows[i].bytes + RAW_ENTRY;
        sum += i == 0 || rows[i].time != rows[i - 1].time ? RAW_RUN : 0;
    }
    return sum;
}

/* The level of the block that begins at rows[0], index `index`; its raw bytes to *raw. */
static uint8_t block_level(const ledger_row *rows, uint64_t count, uint64_t index, uint64_t raw_max, uint64_t *raw) {
    uint8_t level = 0;
    *raw = RAW_FIXED + raw_of(rows, 0, 1);
    while (level < BLOCK_LEVEL_MAX && (index >> level & 1) == 0) {
        const uint64_t half = UINT64_C(1) << level;
        if (half * 2 > count) {
            break;
        }
        const uint64_t doubled = *raw + raw_of(rows, half, half * 2);
        if (doubled > raw_max) {
            break;
        }
        *raw = doubled;
        level++;
    }
    return level;
}

uint64_t ledger_blocks_cut(const ledger_row *rows, uint64_t count, uint64_t base, uint8_t *levels,
                           uint32_t *raw_bytes) {
    uint64_t block_count = 0;
    const uint64_t raw_max = count == 0 ? 0 : raw_max_of(rows, count);
    for (uint64_t i = 0; i < count; block_count++) {
        uint64_t raw = 0;
        const uint8_t level = block_level(rows + i, count - i, base + i, raw_max, &raw);
        levels[block_count] = level;
        raw_bytes[block_count] = (uint32_t)raw; /* a payload has at most 64 MiB */
        i += UINT64_C(1) << level;
    }
    return block_count;
}

void ledger_rows_facts(const ledger_row *rows, uint64_t count, uint64_t *event_count, uint64_t *time_min,
                       uint64_t *time_max) {
    *event_count = 0;
    *time_min = UINT64_MAX;
    *time_max = 0;
    for (uint64_t i = 0; i < count; i++) {
        *event_count += rows[i].kind == 0 ? 1 : 0;
        *time_min = rows[i].time < *time_min ? rows[i].time : *time_min;
        *time_max = rows[i].time > *time_max ? rows[i].time : *time_max;
    }
}

void ledger_blocks_encode(const uint8_t *data, const ledger_row *rows, const uint8_t *levels,
                          const uint32_t *raw_bytes, uint64_t block_count, uint8_t *out) {
    for (uint64_t k = 0; k < block_count; k++) {
        const uint32_t count = UINT32_C(1) << levels[k];
        ledger_block_encode(data, rows, count, out);
        rows += count;
        out += raw_bytes[k];
    }
}

void ledger_block_rows(const uint8_t *frames, const uint32_t *frame_bytes, const uint32_t *raw_bytes,
                       const uint8_t *levels, uint64_t block_count, const uint8_t link[32], const uint8_t *leaves,
                       uint8_t *out) {
    uint8_t scratch[BLOCK_COUNT_MAX * 32];
    for (uint64_t k = 0; k < block_count; k++, out += ROW_BYTES) {
        const size_t count = (size_t)1 << levels[k];
        memset(out, 0, ROW_BYTES);
        ledger_store_u32(out, frame_bytes[k]);
        ledger_store_u32(out + 4, raw_bytes[k]);
        ledger_store_u32(out + ROW_CRC, ledger_crc32c(0, frames, frame_bytes[k]));
        out[ROW_LEVEL] = levels[k];
        memcpy(out + ROW_LINK, link, 32);
        memcpy(scratch, leaves, count * 32);
        ledger_leaves_root(scratch, count, out + ROW_ROOT);
        frames += frame_bytes[k];
        leaves += count * 32;
        link = leaves - 32;
    }
}
