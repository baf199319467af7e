/* SPDX-License-Identifier: Apache-2.0 */
/* index_times.c: a column of times as byte planes of their differences, which zstd makes small; and back.
 *
 * Layout    difference i = times[i] - times[i - 1] (mod 2^64; the first to 0), its sign folded into bit 0; plane k holds
 *           byte k of all of them, eight planes one after the other
 * Owns      nothing: pure; sizes are 8 x count
 * See       docs/format.md "Search index"; ledger/index/build.py */
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
