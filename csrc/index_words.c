/* SPDX-License-Identifier: Apache-2.0 */
/* index_words.c: which words stand in which 64 rows, of every path where some string has a space.
 *
 * Token     "ascii-fold/1": a maximal run of bytes [0-9A-Za-z_] or >= 0x80, A-Z lowered; its key is the upper half of
 *           SipHash-2-4 under the index key over its first 256 bytes. Keys may collide: what is found is a candidate
 * Source    distinct values, not events: a text that stands in a thousand rows is cut once. Those of one row come in the
 *           order of rows, so that a small table of what was posted last meets most repeated words
 * Bound     above POSTED_MAX distinct (key, frame) the section is left out, and the reader knows
 * Chunk     as index_write.c; then u8 per key (0xff: a bitmap of frames, else their number), then the frames as u16
 * Owns      two buffers of at most 32 MiB for the length of the call
 * See       docs/format.md "Search index"; ledger/index/granule.py */
#include <stdlib.h>

#include "index_chunk.h"

enum { POSTED_MAX = 1 << 22, POSTED_BEGIN = 1 << 14, RADIX = 1 << 16, RECENT = 1 << 12 };

/* key << 16 | frame */
typedef struct {
    uint64_t *items;
    size_t count, capacity;
    bool failed, full;
    uint64_t recent[RECENT]; /* items + 1, by key and frame */
} posted;

/* ---- order -------------------------------------------------------------------------------------------------- */

/* Three passes of 16 bits each, then equal items become one. */
static bool sort_posted(posted *p) {
    uint64_t *other = malloc((p->capacity + 1) * sizeof *other);
    size_t *begin = malloc((RADIX + 1) * sizeof *begin);
    bool done = other != NULL && begin != NULL;
    for (unsigned shift = 0; done && shift < 48; shift += 16) {
        memset(begin, 0, (RADIX + 1) * sizeof *begin);
        for (size_t i = 0; i < p->count; i++) begin[(p->items[i] >> shift & 0xffff) + 1]++;
        for (size_t i = 0; i < RADIX; i++) begin[i + 1] += begin[i];
        for (size_t i = 0; i < p->count; i++) other[begin[p->items[i] >> shift & 0xffff]++] = p->items[i];
        uint64_t *swap = p->items;
        p->items = other;
        other = swap;
    }
    free(other);
    free(begin);
    if (!done) return false;
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++)
        if (kept == 0 || p->items[kept - 1] != p->items[i]) p->items[kept++] = p->items[i];
    p->count = kept;
    return true;
}

/* Room for one more: doubled, or at the bound made by taking out what is there twice. */
static bool reserve(posted *p) {
    if (p->count < p->capacity) return true;
    if (p->capacity == POSTED_MAX) {
        p->failed = !sort_posted(p);
        p->full = p->count > POSTED_MAX / 4 * 3; /* so few left that it would be sorted again and again */
        return !p->failed && !p->full;
    }
    const size_t capacity = p->capacity == 0 ? POSTED_BEGIN : 2 * p->capacity;
    uint64_t *items = realloc(p->items, capacity * sizeof *items);
    p->failed = items == NULL;
    if (p->failed) return false;
    p->items = items;
    p->capacity = capacity;
    return true;
}

static void post(posted *p, uint32_t key, uint32_t frame) {
    const uint64_t item = (uint64_t)key << 16 | frame;
    uint64_t *recent = &p->recent[(key ^ frame * 2654435761U) % RECENT];
    if (p->failed || p->full || *recent == item + 1 || !reserve(p)) return;
    *recent = item + 1;
    p->items[p->count++] = item;
}

/* ---- tokens ------------------------------------------------------------------------------------------------- */

static bool is_word(uint8_t c) {
    return c >= 0x80 || c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

size_t ledger_index_token(const uint8_t **p, const uint8_t *end, uint8_t token[INDEX_TOKEN_BYTES_MAX]) {
    const uint8_t *at = *p;
    size_t size = 0;
    while (at < end && !is_word(*at)) at++;
    for (; at < end && is_word(*at); at++)
        if (size < INDEX_TOKEN_BYTES_MAX) token[size++] = (uint8_t)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
    *p = at;
    return size;
}

uint32_t ledger_index_word_key(const uint8_t key[16], const uint8_t *word, uint64_t size) {
    uint8_t token[INDEX_TOKEN_BYTES_MAX];
    const uint8_t *p = word;
    const size_t taken = ledger_index_token(&p, word + size, token);
    return (uint32_t)(ledger_siphash24(key, token, taken) >> 32);
}

/* The words of one value, in the frames of its rows. */
static void post_value(posted *out, const ledger_index *index, const index_term *term, const uint16_t *rows,
                       uint32_t count) {
    const uint8_t *value = index->data + term->value_begin, *end = value + term->value_bytes;
    const uint8_t head = *value;
    uint8_t token[INDEX_TOKEN_BYTES_MAX];
    if ((head & 0xe0) != 0xa0 && (head < 0xd9 || head > 0xdb)) return;
    const uint8_t *p = value + (head < 0xd9 ? 1 : 1 + (1U << (head - 0xd9)));
    for (size_t size; (size = ledger_index_token(&p, end, token)) > 0 && !out->full;) {
        const uint32_t key = (uint32_t)(ledger_siphash24(index->key, token, size) >> 32);
        for (uint32_t i = 0; i < count; i++)
            if (i == 0 || rows[i] / INDEX_FRAME_ROWS != rows[i - 1] / INDEX_FRAME_ROWS)
                post(out, key, rows[i] / INDEX_FRAME_ROWS);
    }
}

static bool is_text(const ledger_index *index, const index_term *term) {
    return (index->paths[term->path].types & LEDGER_INDEX_TEXT) != 0;
}

static void post_all(posted *out, const ledger_index *index) {
    for (uint32_t i = 0; i < index->term_count; i++) {
        const index_term *term = &index->terms[i];
        if (term->count == 1 && is_text(index, term)) post_value(out, index, term, &term->last_row, 1);
    }
    for (uint32_t i = 0; i < index->sorted_count; i++) {
        const index_sorted *s = &index->sorted[i];
        if (s->count == 1 || s->source >> 31 || !is_text(index, &index->terms[s->source])) continue;
        post_value(out, index, &index->terms[s->source], index->postings + s->begin, s->count);
    }
}

/* ---- chunks ------------------------------------------------------------------------------------------------- */

static void put_frames(index_bytes *out, const uint64_t *items, size_t count, size_t bitmap_bytes) {
    const bool is_bitmap = bitmap_bytes < 2 * count;
    uint8_t *at = ledger_index_room(out, is_bitmap ? bitmap_bytes : 2 * count);
    if (at == NULL) return;
    if (is_bitmap) memset(at, 0, bitmap_bytes);
    for (size_t i = 0; i < count; i++) {
        const uint32_t frame = (uint32_t)items[i] & 0xffff;
        if (is_bitmap) at[frame / 8] = (uint8_t)(at[frame / 8] | 1U << frame % 8);
        else ledger_store_u16(at + 2 * i, (uint16_t)frame);
    }
}

/* The chunk of up to 256 keys that begins at items[begin]; where the next one begins. */
static size_t put_chunk(ledger_index *index, const posted *p, size_t begin) {
    index_bytes *out = &index->sections[LEDGER_INDEX_WORDS];
    const size_t chunk = out->size, bitmap_bytes = ((index->row_count + INDEX_FRAME_ROWS - 1) / INDEX_FRAME_ROWS + 7) / 8;
    uint64_t keys[CHUNK_KEYS] = {0};
    size_t first[CHUNK_KEYS + 1], end = begin;
    uint32_t count = 0;
    while (end < p->count && count < CHUNK_KEYS) {
        keys[count] = p->items[end] >> 16;
        first[count] = end;
        while (end < p->count && p->items[end] >> 16 == keys[count]) end++;
        count++;
    }
    first[count] = end;
    ledger_index_put_keys(out, keys, count);
    for (uint32_t i = 0; i < count; i++) {
        const size_t frames = first[i + 1] - first[i];
        const uint8_t form = bitmap_bytes < 2 * frames ? INDEX_WORD_BITMAP : (uint8_t)frames; /* <= 64 */
        ledger_index_put(out, &form, 1);
    }
    for (uint32_t i = 0; i < count; i++) put_frames(out, p->items + first[i], first[i + 1] - first[i], bitmap_bytes);
    ledger_index_put_fence(&index->sections[LEDGER_INDEX_WORD_FENCES], out, chunk, keys[0]);
    return end;
}

int ledger_index_words(ledger_index *index, ledger_index_facts *facts) {
    posted *p = calloc(1, sizeof *p);
    if (p == NULL) return LEDGER_NOMEM;
    post_all(p, index);
    facts->has_words = !p->full;
    const bool done = !p->failed && (p->full || p->count == 0 || sort_posted(p));
    for (size_t at = 0; done && !p->full && at < p->count;) at = put_chunk(index, p, at);
    free(p->items);
    free(p);
    return done ? LEDGER_OK : LEDGER_NOMEM;
}
