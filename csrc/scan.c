/* SPDX-License-Identifier: Apache-2.0 */
/* scan.c: facts about an active file. What they mean is decided in ledger/storage/recover.py.
 *
 * Batch     found at state->end: valid when (1) its header is (frame.c) and it fits the data; (2) its CRC holds;
 *           (3) its records fill the body exactly; (4) it follows: base index, incarnation, flags, chain  [SCAN-1..4]
 * Owns      nothing: pure; no allocation
 * See       docs/format.md "Batch"; tests/unit/test_scan.py, tests/corrupt/ */
#include <string.h>

#include "bytes.h"
#include "ledger_core.h"

enum { ALIGNMENT = 512, BATCH = 64, RECORD = 8, LEAF = 32, CHUNK = 128 };

static int is_zero(const uint8_t *bytes, uint64_t size) {
    static const uint8_t zero[BATCH];
    return memcmp(bytes, zero, size < BATCH ? (size_t)size : BATCH) == 0;
}

/* Records to rows, offsets counted from data. -1, or BODY unless they fill [at, end) exactly, or CHAIN when a flag does
 * not say how the time stands to the one before. */
static int32_t read_rows(const uint8_t *data, uint64_t at, uint64_t end, const ledger_batch_header *batch,
                     uint64_t time_before, ledger_row *rows) {
    uint8_t flag = batch->time < time_before;
    int follows = 1;
    for (uint32_t i = 0; i < batch->count; i++) {
        if (end - at < RECORD) {
            return LEDGER_STOP_BODY;
        }
        uint32_t bytes = ledger_load_u32(data + at);
        uint64_t padded = ((uint64_t)bytes + RECORD + 7) & ~UINT64_C(7);
        uint8_t kind = data[at + 4], flags = data[at + 5];
        if (padded > end - at || kind > 1 || flags > 1 || data[at + 6] || data[at + 7]) {
            return LEDGER_STOP_BODY;
        }
        for (uint64_t pad = RECORD + bytes; pad < padded; pad++) {
            if (data[at + pad] != 0) {
                return LEDGER_STOP_BODY;
            }
        }
        follows &= flags == (i == 0 ? flag : 0);
        rows[i] = (ledger_row){.offset = at + RECORD, .time = batch->time, .bytes = bytes, .kind = kind, .flags = flags};
        at += padded;
    }
    if (at != end) {
        return LEDGER_STOP_BODY;
    }
    return follows ? -1 : LEDGER_STOP_CHAIN;
}

/* Rebuilds the entries of a batch; true when the chain ends in `expected`. Writes leaves when asked. */
static int rebuild(ledger_scan_state *state, const ledger_active_header *header, const uint8_t *data,
                   const ledger_row *rows, uint32_t count, const uint8_t expected[LEAF], uint8_t *leaves) {
    uint8_t entries[CHUNK * 104], salts[CHUNK * 16], own[CHUNK * LEAF];
    ledger_chain chain = state->chain;
    ledger_range range = state->range;
    for (uint32_t at = 0; at < count; at += CHUNK) {
        uint32_t part = count - at < CHUNK ? count - at : CHUNK;
        uint8_t *to = leaves ? leaves + (uint64_t)at * LEAF : own;
        ledger_chain_extend(&chain, header->seed, data, rows + at, part, entries, salts, to);
        ledger_range_push(&range, to, part);
    }
    if (memcmp(chain.link, expected, LEAF) != 0) {
        return 0;
    }
    state->chain = chain;
    state->range = range;
    return 1;
}

static int32_t read_batch(const uint8_t *data, uint64_t size, const ledger_active_header *header, int hashing,
                          ledger_scan_state *state, ledger_row *rows, uint64_t room, uint8_t *leaves) {
    ledger_batch_header batch;
    uint64_t at = state->end, left = size > at ? size - at : 0;
    if (left < BATCH) {
        return left == 0 || is_zero(data + at, left) ? LEDGER_STOP_ZERO : LEDGER_STOP_HEADER;
    }
    if (is_zero(data + at, BATCH)) {
        return LEDGER_STOP_ZERO;
    }
    if (ledger_batch_header_decode(data + at, header->salt, header->segno, at, &batch) != LEDGER_OK) {
        return LEDGER_STOP_HEADER;
    }
    uint64_t used = BATCH + (uint64_t)batch.body_bytes;
    uint64_t bytes = (used + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
    if (bytes > left || ledger_crc32c(0, data + at + BATCH, bytes - BATCH) != batch.body_crc) {
        return LEDGER_STOP_BODY;
    }
    for (uint64_t pad = used; pad < bytes; pad++) {
        if (data[at + pad] != 0) {
            return LEDGER_STOP_BODY;
        }
    }
    if (batch.base != state->chain.size || batch.incarnation < state->incarnation || batch.synced_end > at) {
        return LEDGER_STOP_CHAIN;
    }
    if (batch.count > room) {
        return LEDGER_STOP_ROWS;
    }
    const uint8_t *link = data + at + used - LEAF;
    int32_t stop = read_rows(data, at + BATCH, at + used - LEAF, &batch, state->chain.time, rows);
    if (stop >= 0) {
        return stop;
    }
    if (hashing && !rebuild(state, header, data, rows, batch.count, link, leaves)) {
        return LEDGER_STOP_CHAIN;
    }
    memcpy(state->chain.link, link, LEAF);
    state->chain.size = batch.base + batch.count;
    state->chain.time = batch.time;
    state->incarnation = batch.incarnation;
    state->synced_end = batch.synced_end > state->synced_end ? batch.synced_end : state->synced_end;
    state->row_count += batch.count;
    state->batch_count++;
    state->end = at + bytes;
    return -1;
}

int ledger_scan(const uint8_t *data, uint64_t size, const ledger_active_header *header, int hashing,
                ledger_scan_state *state, ledger_row *rows, uint64_t row_capacity, uint8_t *leaves) {
    if (!data || !header || !state || !rows || state->end % ALIGNMENT != 0) {
        return LEDGER_USAGE;
    }
    state->row_count = 0;
    do {
        uint64_t done = state->row_count;
        state->stop = read_batch(data, size, header, hashing, state, rows + done, row_capacity - done,
                                 leaves ? leaves + done * LEAF : NULL);
    } while (state->stop < 0);
    return LEDGER_OK;
}

void ledger_scan_tail(const uint8_t *data, uint64_t size, const ledger_active_header *header, uint64_t begin,
                      ledger_tail_facts *facts) {
    memset(facts, 0, sizeof *facts);
    static const uint8_t page[4096];
    facts->nonzero_end = size;
    while (facts->nonzero_end > begin + sizeof page &&
           memcmp(data + facts->nonzero_end - sizeof page, page, sizeof page) == 0) {
        facts->nonzero_end -= sizeof page;
    }
    while (facts->nonzero_end > begin && data[facts->nonzero_end - 1] == 0) {
        facts->nonzero_end--;
    }
    uint64_t end = facts->nonzero_end;
    for (uint64_t at = (begin + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; at < end && size - at >= BATCH; at += ALIGNMENT) {
        ledger_batch_header batch;
        if (ledger_batch_header_decode(data + at, header->salt, header->segno, at, &batch) != LEDGER_OK) {
            continue;
        }
        facts->header_count++;
        facts->entry_count += batch.count;
        if (batch.synced_end > facts->synced_end) {
            facts->synced_end = batch.synced_end;
            facts->witness_offset = at;
        }
    }
}
