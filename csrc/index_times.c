/* SPDX-License-Identifier: Apache-2.0 */
/* index_times.c: a column of times as byte planes of their differences, which zstd makes small; and back.
 *
 * Layout    difference i = times[i] - times[i - 1] (mod 2^64; the first to 0), its sign folded into bit 0; plane k holds
 *           byte k of all of them, eight planes one after the other
 * Owns      nothing: pure; sizes are 8 x count
 * See       docs/format.md "Search index"; ledger/index/build.py */
#include <string.h>

#include "index.h"

int ledger_index_times(const uint8_t *data, uint64_t size, const ledger_row *rows, uint32_t row_count, int64_t *times,
                       ledger_index_bounds *bounds) {
    bool has_event = false;
    *bounds = (ledger_index_bounds){0};
    for (uint32_t i = 0; i < row_count; i++) {
        const ledger_row *row = &rows[i];
        if (row->offset > size || row->bytes > size - row->offset) return LEDGER_USAGE;
        times[i] = (int64_t)row->time;
        if (row->kind != 0) continue;
        (void)ledger_event_time(data + row->offset, row->bytes, &times[i]);
        if (!has_event || times[i] < bounds->time_min) bounds->time_min = times[i];
        if (!has_event || times[i] > bounds->time_max) bounds->time_max = times[i];
        if (!has_event || row->time < bounds->recorded_min) bounds->recorded_min = row->time;
        if (row->time > bounds->recorded_max) bounds->recorded_max = row->time;
        has_event = true;
    }
    return LEDGER_OK;
}

void ledger_index_times_split(const int64_t *times, uint32_t count, uint8_t *planes) {
    uint64_t before = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t now = (uint64_t)times[i], step = now - before;
        const uint64_t folded = step << 1 ^ (step >> 63 ? UINT64_MAX : 0);
        for (uint32_t k = 0; k < 8; k++) planes[(size_t)k * count + i] = (uint8_t)(folded >> 8 * k);
        before = now;
    }
}

void ledger_index_times_join(const uint8_t *planes, uint32_t count, int64_t *times) {
    uint64_t now = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t folded = 0;
        for (uint32_t k = 0; k < 8; k++) folded |= (uint64_t)planes[(size_t)k * count + i] << 8 * k;
        now += folded >> 1 ^ (folded & 1 ? UINT64_MAX : 0);
        times[i] = (int64_t)now;
    }
}

void ledger_index_times_between(const int64_t *times, uint32_t count, int64_t begin, int64_t end, ledger_rows *out) {
    uint16_t list[4096];
    uint32_t found = 0;
    *out = (ledger_rows){0};
    for (uint32_t i = 0; i < count; i++) {
        if (times[i] < begin || times[i] > end) continue;
        if (found < 4096) list[found] = (uint16_t)i;
        out->in.bits[i / 64] |= UINT64_C(1) << i % 64;
        found++;
    }
    out->count = found;
    out->is_bitmap = found > 4096;
    if (!out->is_bitmap) memcpy(out->in.list, list, found * sizeof *list);
}

int ledger_index_histogram(const int64_t *times, uint32_t count, const ledger_rows *rows, int64_t origin, int64_t width,
                           uint64_t *buckets, uint32_t bucket_count) {
    uint16_t list[1024];
    if (width <= 0) return LEDGER_USAGE;
    for (uint32_t rank = 0; rank < rows->count; rank += 1024) {
        const uint32_t end = rows->count - rank < 1024 ? rows->count : rank + 1024;
        if (ledger_rows_slice(rows, rank, end, list) != LEDGER_OK) return LEDGER_USAGE;
        for (uint32_t i = 0; i < end - rank; i++) {
            if (list[i] >= count) return LEDGER_USAGE;
            if (times[list[i]] < origin) continue;
            const uint64_t bucket = ((uint64_t)times[list[i]] - (uint64_t)origin) / (uint64_t)width;
            if (bucket < bucket_count) buckets[bucket]++;
        }
    }
    return LEDGER_OK;
}
