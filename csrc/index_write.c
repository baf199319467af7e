/* SPDX-License-Identifier: Apache-2.0 */
/* index_write.c: sorted terms to the tables of a granule: terms of several rows, of one row, postings, values.
 *
 * Chunk     up to 256 sorted keys: u16 count, u8 width, 0, then count - 1 differences of `width` bits, from the lowest
 *           bit of the first byte up; then what belongs to the keys. The first key stands in the fence
 * Fence     u64 first key, u32 offset of the chunk, u32 CRC32C of the chunk: a look-up reads one chunk and trusts it
 * Postings  u16 rows, or runs (u16 first, u16 length - 1), or one bit a row, whichever is least (of equals the first).
 *           Up to 64 bytes stand in the chunk; longer ones in the postings section, with their own CRC32C
 * Owns      sections of the ledger_index
 * See       docs/format.md "Search index"; index_read.c is the way back */
#include <stdlib.h>

#include "index_chunk.h"

enum {
    VALUES_MAX = 4096,      /* distinct values of a path that are listed */
    VALUES_FEW = 256,       /* so many are listed however seldom they are; more, */
    VALUE_ROWS_MIN = 4,     /* if each stands in that many rows on average */
    VALUES_BYTES_MAX = 1 << 18
};

/* ---- chunks ----------------------------------------------------------------------------------------------- */

static unsigned width_of(uint64_t value) {
    unsigned width = 0;
    for (; value != 0; value >>= 1) width++;
    return width;
}

static void put_bits(uint8_t *bytes, uint64_t at, uint64_t value, unsigned width) {
    for (unsigned done = 0; done < width;) {
        const unsigned shift = (unsigned)(at & 7), taken = 8 - shift < width - done ? 8 - shift : width - done;
        const uint64_t part = value >> done & ((UINT64_C(1) << taken) - 1);
        bytes[at >> 3] = (uint8_t)(bytes[at >> 3] | part << shift);
        done += taken;
        at += taken;
    }
}

void ledger_index_put_keys(index_bytes *out, const uint64_t *keys, uint32_t count) {
    unsigned width = 0;
    for (uint32_t i = 1; i < count; i++) {
        const unsigned needed = width_of(keys[i] - keys[i - 1]);
        width = needed > width ? needed : width;
    }
    const size_t bytes = ((size_t)(count - 1) * width + 7) / 8;
    uint8_t *p = ledger_index_room(out, 4 + bytes);
    if (p == NULL) return;
    ledger_store_u16(p, (uint16_t)count);
    p[2] = (uint8_t)width;
    p[3] = 0;
    memset(p + 4, 0, bytes);
    for (uint32_t i = 1; i < count; i++) put_bits(p + 4, (uint64_t)(i - 1) * width, keys[i] - keys[i - 1], width);
}

void ledger_index_put_fence(index_bytes *fences, const index_bytes *chunks, size_t begin, uint64_t first) {
    uint8_t *p = ledger_index_room(fences, INDEX_FENCE_BYTES);
    if (p == NULL || chunks->failed) return;
    ledger_store_u64(p, first);
    ledger_store_u32(p + 8, (uint32_t)begin);
    ledger_store_u32(p + 12, ledger_crc32c(0, chunks->bytes + begin, chunks->size - begin));
}

/* ---- terms of several rows ---------------------------------------------------------------------------------- */

typedef struct {
    uint32_t form; /* INDEX_FORM_ARRAY, INDEX_FORM_BITMAP, or the number of runs */
    uint32_t bytes;
} posting;

/* of a single row, begin is the row itself */
static const uint16_t *rows_of(const ledger_index *index, const index_sorted *s, uint16_t *single) {
    *single = (uint16_t)s->begin;
    return s->count > 1 ? index->postings + s->begin : single;
}

static posting choose_form(const ledger_index *index, const index_sorted *s) {
    uint16_t single;
    const uint16_t *rows = rows_of(index, s, &single);
    uint32_t runs = 1;
    for (uint32_t i = 1; i < s->count; i++) runs += rows[i] != rows[i - 1] + 1;
    const uint32_t bitmap = (index->row_count + 7) / 8;
    posting least = {INDEX_FORM_ARRAY, 2 * s->count};
    if (4 * runs < least.bytes) least = (posting){runs, 4 * runs};
    if (bitmap < least.bytes) least = (posting){INDEX_FORM_BITMAP, bitmap};
    return least;
}

static void put_posting(const ledger_index *index, const index_sorted *s, posting p, index_bytes *out) {
    uint16_t single;
    const uint16_t *rows = rows_of(index, s, &single);
    uint8_t *at = ledger_index_room(out, p.bytes);
    if (at == NULL) return;
    if (p.form == INDEX_FORM_ARRAY) {
        for (uint32_t i = 0; i < s->count; i++) ledger_store_u16(at + 2 * (size_t)i, rows[i]);
        return;
    }
    if (p.form == INDEX_FORM_BITMAP) {
        memset(at, 0, p.bytes);
        for (uint32_t i = 0; i < s->count; i++) at[rows[i] / 8] = (uint8_t)(at[rows[i] / 8] | 1U << rows[i] % 8);
        return;
    }
    for (uint32_t i = 0; i < s->count;) {
        uint32_t end = i + 1;
        while (end < s->count && rows[end] == rows[end - 1] + 1) end++;
        ledger_store_u16(at, rows[i]);
        ledger_store_u16(at + 2, (uint16_t)(end - 1 - i));
        at += 4;
        i = end;
    }
}

static void put_term_chunk(ledger_index *index, const index_sorted *const *terms, uint32_t count) {
    index_bytes *out = &index->sections[LEDGER_INDEX_TERMS], *far = &index->sections[LEDGER_INDEX_POSTINGS];
    uint64_t keys[CHUNK_KEYS] = {0};
    posting forms[CHUNK_KEYS];
    const size_t begin = out->size;
    for (uint32_t i = 0; i < count; i++) keys[i] = terms[i]->top;
    ledger_index_put_keys(out, keys, count);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *meta = ledger_index_room(out, 4);
        if (meta == NULL) return;
        forms[i] = choose_form(index, terms[i]);
        ledger_store_u16(meta, (uint16_t)(terms[i]->count - 1));
        ledger_store_u16(meta + 2, (uint16_t)forms[i].form);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (forms[i].bytes <= INDEX_INLINE_BYTES) {
            put_posting(index, terms[i], forms[i], out);
            continue;
        }
        const size_t place = far->size;
        put_posting(index, terms[i], forms[i], far);
        if (far->failed) return;
        ledger_index_put_u32(out, (uint32_t)place);
        ledger_index_put_u32(out, ledger_crc32c(0, far->bytes + place, forms[i].bytes));
    }
    ledger_index_put_fence(&index->sections[LEDGER_INDEX_TERM_FENCES], out, begin, keys[0]);
}

/* ---- terms of one row --------------------------------------------------------------------------------------- */

static void put_single_chunk(ledger_index *index, const index_sorted *const *terms, uint32_t count) {
    index_bytes *out = &index->sections[LEDGER_INDEX_SINGLES];
    uint64_t keys[CHUNK_KEYS] = {0};
    const size_t begin = out->size;
    for (uint32_t i = 0; i < count; i++) keys[i] = terms[i]->top >> 32;
    ledger_index_put_keys(out, keys, count);
    uint8_t *rows = ledger_index_room(out, 2 * (size_t)count);
    if (rows == NULL) return;
    for (uint32_t i = 0; i < count; i++) ledger_store_u16(rows + 2 * (size_t)i, (uint16_t)terms[i]->begin);
    ledger_index_put_fence(&index->sections[LEDGER_INDEX_SINGLE_FENCES], out, begin, keys[0]);
}

/* Two keys that agree in their upper 64 bits can be made with some effort: neither may then hide the other, so both go
 * to the table of exact keys, whose reader sees both. */
static bool has_twin(const ledger_index *index, uint32_t i) {
    const uint64_t top = index->sorted[i].top;
    return (i > 0 && index->sorted[i - 1].top == top) ||
           (i + 1 < index->sorted_count && index->sorted[i + 1].top == top);
}

static void put_terms(ledger_index *index) {
    const index_sorted *multi[CHUNK_KEYS], *single[CHUNK_KEYS];
    uint32_t multi_count = 0, single_count = 0;
    for (uint32_t i = 0; i < index->sorted_count; i++) {
        const index_sorted *s = &index->sorted[i];
        if (s->count > 1 || has_twin(index, i)) multi[multi_count++] = s;
        else single[single_count++] = s;
        if (multi_count == CHUNK_KEYS) put_term_chunk(index, multi, CHUNK_KEYS), multi_count = 0;
        if (single_count == CHUNK_KEYS) put_single_chunk(index, single, CHUNK_KEYS), single_count = 0;
    }
    if (multi_count > 0) put_term_chunk(index, multi, multi_count);
    if (single_count > 0) put_single_chunk(index, single, single_count);
}

/* ---- values ------------------------------------------------------------------------------------------------- */

/* Which values of a path are listed: all of them, those of several rows, or none. */
typedef enum { LIST_NONE, LIST_MULTI, LIST_ALL } listing;

static listing choose_listing(const index_path *path, const uint64_t bytes[2]) {
    const uint32_t all = path->multi + path->single;
    if (path->dropped || all == 0) return LIST_NONE;
    if ((all <= VALUES_FEW || (all <= VALUES_MAX && VALUE_ROWS_MIN * all <= path->pairs)) &&
        bytes[0] + bytes[1] <= VALUES_BYTES_MAX)
        return LIST_ALL;
    const bool is_useful = path->multi <= VALUES_MAX && VALUE_ROWS_MIN * path->multi <= path->pairs - path->single;
    return path->multi > 0 && is_useful && bytes[1] <= VALUES_BYTES_MAX ? LIST_MULTI : LIST_NONE;
}

/* Per listed path: u16 number in the descriptor, u8 complete, 0, u32 count; u32 rows of each; u32 bytes of each; the packed values. */
static void put_listing(ledger_index *index, uint32_t number, listing kind, const uint32_t *terms, uint32_t count) {
    index_bytes *out = &index->sections[LEDGER_INDEX_VALUES];
    uint8_t *head = ledger_index_room(out, 8);
    if (head == NULL) return;
    ledger_store_u16(head, (uint16_t)number);
    head[2] = kind == LIST_ALL;
    head[3] = 0;
    ledger_store_u32(head + 4, count);
    for (uint32_t i = 0; i < count; i++) ledger_index_put_u32(out, index->terms[terms[i]].count);
    for (uint32_t i = 0; i < count; i++) ledger_index_put_u32(out, index->terms[terms[i]].value_bytes);
    for (uint32_t i = 0; i < count; i++)
        ledger_index_put(out, index->data + index->terms[terms[i]].value_begin, index->terms[terms[i]].value_bytes);
}

/* Values stand in the order in which they were first seen. */
static bool put_values(ledger_index *index) {
    uint64_t(*bytes)[2] = calloc(PATHS_MAX, sizeof *bytes); /* of values of one row, of several */
    uint32_t *terms = malloc(((size_t)index->term_count + 1) * sizeof *terms);
    if (bytes == NULL || terms == NULL) {
        free(bytes);
        free(terms);
        return false;
    }
    listing kinds[PATHS_MAX];
    uint32_t begin[PATHS_MAX], end[PATHS_MAX], total = 0;
    for (uint32_t i = 0; i < index->term_count; i++) {
        const index_term *term = &index->terms[i];
        bytes[term->path][term->count > 1] += term->value_bytes;
    }
    for (uint32_t i = 0; i < index->path_count; i++) {
        const index_path *path = &index->paths[i];
        kinds[i] = choose_listing(path, bytes[i]);
        begin[i] = end[i] = total;
        total += kinds[i] == LIST_NONE ? 0 : kinds[i] == LIST_ALL ? path->multi + path->single : path->multi;
    }
    for (uint32_t i = 0; i < index->term_count; i++) {
        const index_term *term = &index->terms[i];
        const listing kind = kinds[term->path];
        if (kind == LIST_ALL || (kind == LIST_MULTI && term->count > 1)) terms[end[term->path]++] = i;
    }
    for (uint32_t i = 0, number = 0; i < index->path_count; i++) {
        if (kinds[i] != LIST_NONE) put_listing(index, number, kinds[i], terms + begin[i], end[i] - begin[i]);
        number += !index->paths[i].dropped;
    }
    free(bytes);
    free(terms);
    return true;
}

int ledger_index_encode(ledger_index *index, ledger_index_facts *facts) {
    for (uint32_t i = 0; i < LEDGER_INDEX_SECTIONS; i++) index->sections[i].size = 0;
    put_terms(index);
    ledger_index_put_open(index);
    if (!put_values(index)) return LEDGER_NOMEM;
    const int status = ledger_index_words(index, facts);
    if (status != LEDGER_OK) return status;
    for (uint32_t i = 0; i < LEDGER_INDEX_SECTIONS; i++) {
        if (index->sections[i].failed) return LEDGER_NOMEM;
        if (index->sections[i].size > UINT32_MAX) return LEDGER_TOO_LARGE;
    }
    return LEDGER_OK;
}
