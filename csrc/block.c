/* SPDX-License-Identifier: Apache-2.0 */
/* block.c: rows to the raw bytes of a block and back, and the rebuilding of what a block claims.
 *
 * Layout    docs/format.md "Block": count, runs, lengths, kinds, flags, run entries, run times, payloads
 * Valid     (1) count = 2^j, j <= 7; (2) 1 <= runs <= count, no empty run, no two in a row of one time, runs sum to
 *           count; (3) kinds and flags are 0 or 1; (4) the parts fill the bytes exactly            [BLOCK-1..4]
 * Owns      nothing: pure; no allocation
 * See       tests/unit/test_block.py; block_cut.c and block_check.c for runs of blocks */
#include <string.h>

#include "bytes.h"
#include "ledger_core.h"

enum { COUNT_MAX = 128, FIXED = 8, PER_ENTRY = 4 + 1 + 1, PER_RUN = 4 + 8 };

static uint32_t count_runs(const ledger_row *rows, uint32_t count) {
    uint32_t runs = 1;
    for (uint32_t i = 1; i < count; i++) {
        runs += rows[i].time != rows[i - 1].time;
    }
    return runs;
}

uint64_t ledger_block_bytes(const ledger_row *rows, uint32_t count) {
    uint64_t bytes = FIXED + (uint64_t)count * PER_ENTRY + (uint64_t)count_runs(rows, count) * PER_RUN;
    for (uint32_t i = 0; i < count; i++) {
        bytes += rows[i].bytes;
    }
    return bytes;
}

void ledger_block_encode(const uint8_t *data, const ledger_row *rows, uint32_t count, uint8_t *out) {
    uint32_t runs = count_runs(rows, count);
    uint8_t *lengths = out + FIXED, *kinds = lengths + (size_t)count * 4, *flags = kinds + count;
    uint8_t *run_entries = flags + count, *run_times = run_entries + (size_t)runs * 4;
    uint8_t *payload = run_times + (size_t)runs * 8;
    ledger_store_u32(out, count);
    ledger_store_u32(out + 4, runs);
    uint64_t before = 0;
    uint32_t run_begin = 0;
    for (uint32_t i = 0; i < count; i++) {
        ledger_store_u32(lengths + (size_t)i * 4, rows[i].bytes);
        kinds[i] = rows[i].kind;
        flags[i] = rows[i].flags;
        memcpy(payload, data + rows[i].offset, rows[i].bytes);
        payload += rows[i].bytes;
        if (i + 1 == count || rows[i + 1].time != rows[i].time) {
            ledger_store_u32(run_entries, i + 1 - run_begin);
            ledger_store_u64(run_times, rows[i].time - before);
            run_entries += 4;
            run_times += 8;
            before = rows[i].time;
            run_begin = i + 1;
        }
    }
}

static int read_times(const uint8_t *run_entries, const uint8_t *run_times, uint32_t runs, uint32_t count,
                      ledger_row *rows) {
    uint64_t time = 0;
    uint32_t at = 0;
    for (uint32_t run = 0; run < runs; run++) {
        uint32_t entries = ledger_load_u32(run_entries + (size_t)run * 4);
        uint64_t step = ledger_load_u64(run_times + (size_t)run * 8);
        time += step;
        if (entries == 0 || entries > count - at || (run > 0 && step == 0)) { /* two runs of one time are one */
            return 0;
        }
        for (uint32_t end = at + entries; at < end; at++) {
            rows[at].time = time;
        }
    }
    return at == count;
}

int ledger_block_decode(const uint8_t *raw, uint64_t size, ledger_row *rows, uint32_t *count_out) {
    if (size < FIXED) {
        return LEDGER_CORRUPT;
    }
    uint32_t count = ledger_load_u32(raw), runs = ledger_load_u32(raw + 4);
    if (count == 0 || count > COUNT_MAX || (count & (count - 1)) != 0 || runs == 0 || runs > count) {
        return LEDGER_CORRUPT;
    }
    uint64_t at = FIXED + (uint64_t)count * PER_ENTRY + (uint64_t)runs * PER_RUN;
    if (at > size) {
        return LEDGER_CORRUPT;
    }
    const uint8_t *lengths = raw + FIXED, *kinds = lengths + (size_t)count * 4, *flags = kinds + count;
    const uint8_t *run_entries = flags + count;
    if (!read_times(run_entries, run_entries + (size_t)runs * 4, runs, count, rows)) {
        return LEDGER_CORRUPT;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bytes = ledger_load_u32(lengths + (size_t)i * 4);
        if (kinds[i] > 1 || flags[i] > 1 || bytes > size - at) {
            return LEDGER_CORRUPT;
        }
        rows[i].offset = at;
        rows[i].bytes = bytes;
        rows[i].kind = kinds[i];
        rows[i].flags = flags[i];
        rows[i].zero = 0;
        at += bytes;
    }
    *count_out = count;
    return at == size ? LEDGER_OK : LEDGER_CORRUPT;
}

static int row_is_sound(const uint8_t *raw, const ledger_row *row, uint64_t index, uint64_t time_before) {
    int reason;
    uint64_t offset;
    if (row->flags != (row->time < time_before)) {
        return 0;
    }
    return index == 0 || ledger_event_check(raw + row->offset, row->bytes, &reason, &offset) == LEDGER_OK;
}

int ledger_block_check(const uint8_t *raw, uint64_t size, const uint8_t seed[32], ledger_chain *chain,
                       uint8_t *leaves, uint8_t root[32], uint32_t *count, uint32_t *event_count,
                       uint64_t *time_min, uint64_t *time_max, uint32_t *fault_row) {
    ledger_row rows[COUNT_MAX];
    uint8_t entries[COUNT_MAX * 104], salts[COUNT_MAX * 16], scratch[COUNT_MAX * 32];
    *fault_row = 0;
    if (ledger_block_decode(raw, size, rows, count) != LEDGER_OK) {
        return LEDGER_CORRUPT;
    }
    uint64_t time = chain->time;
    for (uint32_t i = 0; i < *count; i++) {
        if (!row_is_sound(raw, &rows[i], chain->size + i, time)) {
            *fault_row = i;
            return LEDGER_CORRUPT;
        }
        time = rows[i].time;
        *event_count += rows[i].kind == 0;
        *time_min = time < *time_min ? time : *time_min;
        *time_max = time > *time_max ? time : *time_max;
    }
    ledger_chain_extend(chain, seed, raw, rows, *count, entries, salts, leaves);
    memcpy(scratch, leaves, (size_t)*count * 32);
    ledger_leaves_root(scratch, *count, root);
    return LEDGER_OK;
}
