/* SPDX-License-Identifier: Apache-2.0 */
/* index_read.c: look-ups in chunks of an index file.
 *
 * Valid     a chunk has 1 to 256 keys, ascending, differences of at most 64 bits; its parts fill it exactly; rows
 *           ascend and lie below row_count. Anything else is LEDGER_CORRUPT, never a read outside
 * Owns      nothing: pure; no allocation; at most 4 KiB of stack
 * See       index_write.c for the layout; docs/format.md "Search index"; tests/unit/test_index_damage.py */
#include "index_chunk.h"

/* ---- keys --------------------------------------------------------------------------------------------------- */

/* A chunk's head: how many keys, which of them equal `key` ([begin, end)), and where what follows the keys begins. */
typedef struct {
    uint32_t count, begin, end;
    uint64_t body;
} match;

static uint64_t get_bits(const uint8_t *bytes, uint64_t at, unsigned width) {
    uint64_t value = 0;
    for (unsigned done = 0; done < width;) {
        const unsigned shift = (unsigned)(at & 7), taken = 8 - shift < width - done ? 8 - shift : width - done;
        value |= ((uint64_t)(bytes[at >> 3] >> shift) & ((UINT64_C(1) << taken) - 1)) << done;
        done += taken;
        at += taken;
    }
    return value;
}

static bool match_keys(const uint8_t *chunk, uint64_t size, uint64_t first, uint64_t key, match *m) {
    if (size < 4) return false;
    m->count = ledger_load_u16(chunk);
    const unsigned width = chunk[2];
    if (m->count == 0 || m->count > CHUNK_KEYS || width > 64 || chunk[3] != 0) return false;
    m->body = 4 + ((uint64_t)(m->count - 1) * width + 7) / 8;
    if (m->body > size) return false;
    m->begin = m->end = 0;
    uint64_t now = first;
    for (uint32_t i = 0;; i++) {
        if (now < key) m->begin = i + 1;
        if (now <= key) m->end = i + 1;
        if (i + 1 == m->count || now > key) return true;
        const uint64_t step = get_bits(chunk + 4, (uint64_t)i * width, width);
        if (step > UINT64_MAX - now) return false;
        now += step;
    }
}

/* ---- terms of several rows ------------------------------------------------------------------------------------ */

static uint32_t posting_bytes(uint32_t form, uint32_t count, uint32_t row_count) {
    if (form == INDEX_FORM_ARRAY) return 2 * count;
    return form == INDEX_FORM_BITMAP ? (row_count + 7) / 8 : 4 * form;
}

int ledger_index_find_terms(const uint8_t *chunk, uint64_t size, uint64_t first, uint64_t key, uint32_t row_count,
                            ledger_index_posting places[4], uint32_t *found) {
    match m;
    *found = 0;
    if (row_count > ROWS_MAX || !match_keys(chunk, size, first, key, &m) || size - m.body < 4 * (uint64_t)m.count)
        return LEDGER_CORRUPT;
    uint64_t at = m.body + 4 * (uint64_t)m.count;
    for (uint32_t i = 0; i < m.count; i++) {
        const uint8_t *meta = chunk + m.body + 4 * (uint64_t)i;
        ledger_index_posting p = {.count = ledger_load_u16(meta) + UINT32_C(1), .form = ledger_load_u16(meta + 2)};
        p.bytes = posting_bytes(p.form, p.count, row_count);
        p.place = p.bytes <= INDEX_INLINE_BYTES ? LEDGER_INDEX_NEAR : LEDGER_INDEX_FAR;
        const uint32_t here = p.place == LEDGER_INDEX_NEAR ? p.bytes : 8;
        if (size - at < here) return LEDGER_CORRUPT;
        p.offset = p.place == LEDGER_INDEX_NEAR ? (uint32_t)at : ledger_load_u32(chunk + at);
        p.crc = p.place == LEDGER_INDEX_NEAR ? 0 : ledger_load_u32(chunk + at + 4);
        if (i >= m.begin && i < m.end) {
            if (*found < 4) places[*found] = p;
            ++*found;
        }
        at += here;
    }
    return at == size && *found <= 4 ? LEDGER_OK : LEDGER_CORRUPT;
}

static int read_array(const uint8_t *bytes, uint32_t count, uint32_t row_count, uint64_t bits[1024]) {
    int32_t before = -1;
    for (uint32_t i = 0; i < count; i++) {
        const int32_t row = ledger_load_u16(bytes + 2 * (size_t)i);
        if (row <= before || (uint32_t)row >= row_count) return LEDGER_CORRUPT;
        bits[row / 64] |= UINT64_C(1) << row % 64;
        before = row;
    }
    return LEDGER_OK;
}

static int read_runs(const uint8_t *bytes, uint32_t runs, uint32_t row_count, uint64_t bits[1024]) {
    uint32_t least = 0; /* where the next run may begin */
    for (uint32_t i = 0; i < runs; i++) {
        const uint32_t begin = ledger_load_u16(bytes + 4 * (size_t)i);
        const uint32_t end = begin + ledger_load_u16(bytes + 4 * (size_t)i + 2) + 1;
        if (begin < least || end > row_count) return LEDGER_CORRUPT;
        for (uint32_t row = begin; row < end; row++) bits[row / 64] |= UINT64_C(1) << row % 64;
        least = end + 1;
    }
    return LEDGER_OK;
}

int ledger_index_posting_rows(const uint8_t *bytes, uint64_t size, uint32_t form, uint32_t count, uint32_t row_count,
                              ledger_rows *out) {
    uint64_t bits[1024] = {0};
    if (row_count > ROWS_MAX || count > row_count || size != posting_bytes(form, count, row_count))
        return LEDGER_CORRUPT;
    int status = LEDGER_OK;
    if (form == INDEX_FORM_ARRAY) status = read_array(bytes, count, row_count, bits);
    else if (form == INDEX_FORM_BITMAP) {
        for (uint32_t i = 0; i < size; i++) bits[i / 8] |= (uint64_t)bytes[i] << 8 * (i % 8);
        if (row_count % 8 != 0 && bytes[size - 1] >> row_count % 8 != 0) return LEDGER_CORRUPT;
    } else status = read_runs(bytes, form, row_count, bits);
    if (status != LEDGER_OK) return status;
    ledger_rows_from_bits(bits, out);
    return out->count == count ? LEDGER_OK : LEDGER_CORRUPT;
}

/* ---- terms of one row, words ------------------------------------------------------------------------------------ */

int ledger_index_find_singles(const uint8_t *chunk, uint64_t size, uint64_t first, uint64_t key, uint32_t row_count,
                              uint16_t *rows, uint32_t capacity, uint32_t *found) {
    match m;
    *found = 0;
    if (!match_keys(chunk, size, first, key, &m) || size - m.body != 2 * (uint64_t)m.count) return LEDGER_CORRUPT;
    for (uint32_t i = m.begin; i < m.end; i++) {
        const uint16_t row = ledger_load_u16(chunk + m.body + 2 * (uint64_t)i);
        if (row >= row_count) return LEDGER_CORRUPT;
        if (*found < capacity) rows[*found] = row;
        ++*found;
    }
    return LEDGER_OK;
}

static int read_frames(const uint8_t *bytes, uint32_t form, uint32_t bitmap_bytes, uint32_t row_count,
                       uint64_t bits[1024]) {
    const uint32_t frames = (row_count + INDEX_FRAME_ROWS - 1) / INDEX_FRAME_ROWS;
    for (uint32_t i = 0; form == INDEX_WORD_BITMAP && i < 8 * bitmap_bytes; i++) {
        if ((bytes[i / 8] >> i % 8 & 1) == 0) continue;
        if (i >= frames) return LEDGER_CORRUPT;
        bits[i] = UINT64_MAX;
    }
    for (uint32_t i = 0; form != INDEX_WORD_BITMAP && i < form; i++) {
        const uint32_t frame = ledger_load_u16(bytes + 2 * (size_t)i);
        if (frame >= frames) return LEDGER_CORRUPT;
        bits[frame] = UINT64_MAX;
    }
    if (row_count % 64 != 0) bits[row_count / 64] &= (UINT64_C(1) << row_count % 64) - 1;
    return LEDGER_OK;
}

int ledger_index_find_word(const uint8_t *chunk, uint64_t size, uint64_t first, uint64_t key, uint32_t row_count,
                           ledger_rows *out) {
    match m;
    uint64_t bits[1024] = {0};
    if (row_count > ROWS_MAX || !match_keys(chunk, size, first, key, &m) || size - m.body < m.count)
        return LEDGER_CORRUPT;
    const uint32_t bitmap_bytes = ((row_count + INDEX_FRAME_ROWS - 1) / INDEX_FRAME_ROWS + 7) / 8;
    uint64_t at = m.body + m.count;
    for (uint32_t i = 0; i < m.count; i++) {
        const uint32_t form = chunk[m.body + i], bytes = form == INDEX_WORD_BITMAP ? bitmap_bytes : 2 * form;
        if (size - at < bytes) return LEDGER_CORRUPT;
        if (i >= m.begin && i < m.end && read_frames(chunk + at, form, bitmap_bytes, row_count, bits) != LEDGER_OK)
            return LEDGER_CORRUPT;
        at += bytes;
    }
    ledger_rows_from_bits(bits, out);
    return at == size ? LEDGER_OK : LEDGER_CORRUPT;
}
