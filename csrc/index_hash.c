/* SPDX-License-Identifier: Apache-2.0 */
/* index_hash.c: K of every term, and their order.
 *
 * K         SHA-256(0x10, index key, msgpack([path.., value])); of a path that exists 0x11 and no value
 * Order     by K: buckets of the upper bits, then insertion in each, since a hash spreads evenly; a bucket that
 *           someone has filled on purpose is sorted by the library
 * Owns      arrays of the ledger_index
 * See       docs/format.md "Search index"; tests/index_oracle.py; index_root.c */
#include <stdlib.h>

#include "index_lanes.h"

enum { BUCKET_LARGE = 64 };

/* ---- K ---------------------------------------------------------------------------------------------------- */

static void hash_paths(ledger_index *index, lanes *l) {
    uint8_t message[1 + KEY_BYTES + 3 + PATH_BYTES_MAX];
    for (uint32_t i = 0; i < index->path_count; i++) {
        const index_path *path = &index->paths[i];
        const uint8_t *prefix = index->prefixes.bytes + path->prefix_begin;
        const size_t header_bytes = path->elements + 1 > 15 ? 3 : 1, head = 1 + KEY_BYTES;
        const size_t elements_bytes = path->prefix_bytes - head - header_bytes;
        memcpy(message, prefix, head);
        message[0] = 0x11;
        size_t at = head;
        if (path->elements > 15) message[at++] = 0xdc, message[at++] = 0, message[at++] = (uint8_t)path->elements;
        else message[at++] = (uint8_t)(0x90 | path->elements);
        memcpy(message + at, prefix + head + header_bytes, elements_bytes);
        lanes_add(l, message, at + elements_bytes, NULL, 0,
                  index->hashes + ((size_t)index->term_count + i) * HASH_BYTES);
    }
}

static bool hash_terms(ledger_index *index) {
    index->hashes = malloc(((size_t)index->term_count + index->path_count + 1) * HASH_BYTES);
    if (index->hashes == NULL) return false;
    lanes l = {0};
    for (uint32_t i = 0; i < index->term_count; i++) {
        const index_term *term = &index->terms[i];
        const index_path *path = &index->paths[term->path];
        lanes_add(&l, index->prefixes.bytes + path->prefix_begin, path->prefix_bytes, index->data + term->value_begin,
                  term->value_bytes, index->hashes + (size_t)i * HASH_BYTES);
    }
    hash_paths(index, &l);
    lanes_end(&l);
    return true;
}

/* ---- order ------------------------------------------------------------------------------------------------ */

static bool comes_before(const ledger_index *index, const index_sorted *a, const index_sorted *b) {
    if (a->top != b->top) return a->top < b->top;
    return memcmp(ledger_index_key_of(index, a->source), ledger_index_key_of(index, b->source), HASH_BYTES) < 0;
}

/* A heap sort, for a bucket that holds too many for insertion. */
static void sift(const ledger_index *index, index_sorted *heap, size_t at, size_t count) {
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && comes_before(index, &heap[child], &heap[child + 1])) child++;
        if (!comes_before(index, &heap[at], &heap[child])) return;
        const index_sorted swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

static void sort_bucket(const ledger_index *index, index_sorted *bucket, size_t count) {
    if (count > BUCKET_LARGE) {
        for (size_t i = count / 2; i-- > 0;) sift(index, bucket, i, count);
        for (size_t end = count - 1; end > 0; end--) {
            const index_sorted swap = bucket[0];
            bucket[0] = bucket[end];
            bucket[end] = swap;
            sift(index, bucket, 0, end);
        }
        return;
    }
    for (size_t i = 1; i < count; i++) {
        const index_sorted moving = bucket[i];
        size_t at = i;
        for (; at > 0 && comes_before(index, &moving, &bucket[at - 1]); at--) bucket[at] = bucket[at - 1];
        bucket[at] = moving;
    }
}

static index_sorted make_sorted(const ledger_index *index, uint32_t i) {
    const uint32_t path = i - index->term_count;
    if (i >= index->term_count)
        return (index_sorted){.top = ledger_load_be_u64(ledger_index_key_of(index, UINT32_C(1) << 31 | path)),
                              .source = UINT32_C(1) << 31 | path,
                              .count = index->paths[path].rows};
    const index_term *term = &index->terms[i];
    return (index_sorted){.top = ledger_load_be_u64(ledger_index_key_of(index, i)),
                          .source = i,
                          .count = term->count,
                          .begin = term->last_row}; /* of a single row; others get their place below */
}

static bool is_kept(const ledger_index *index, uint32_t i) {
    return i < index->term_count || !index->paths[i - index->term_count].dropped;
}

static bool order_terms(ledger_index *index) {
    const uint32_t all = index->term_count + index->path_count;
    unsigned bits = 0;
    while (bits < 16 && (UINT32_C(8) << bits) < all) bits++;
    uint32_t *begin = calloc(((size_t)1 << bits) + 1, sizeof *begin);
    index->sorted = malloc(((size_t)all + 1) * sizeof *index->sorted);
    if (begin == NULL || index->sorted == NULL) {
        free(begin);
        return false;
    }
    for (uint32_t i = 0; i < all; i++) {
        if (!is_kept(index, i)) continue;
        begin[(ledger_load_be_u32(index->hashes + (size_t)i * HASH_BYTES) >> 16 >> (16 - bits)) + 1]++;
        index->sorted_count++;
    }
    for (size_t b = 0; b < (size_t)1 << bits; b++) begin[b + 1] += begin[b];
    for (uint32_t i = 0; i < all; i++) {
        if (!is_kept(index, i)) continue;
        const index_sorted made = make_sorted(index, i);
        index->sorted[begin[made.top >> 48 >> (16 - bits)]++] = made;
    }
    for (size_t b = 0, first = 0; b < (size_t)1 << bits; first = begin[b], b++)
        sort_bucket(index, index->sorted + first, begin[b] - first);
    free(begin);
    return true;
}

/* ---- rows ------------------------------------------------------------------------------------------------- */

static uint32_t put_present(const index_path *path, uint32_t row_count, uint16_t *rows) {
    uint32_t count = 0;
    for (uint32_t word = 0; word < (row_count + 63) / 64; word++)
        for (uint64_t bits = path->present[word]; bits != 0; bits &= bits - 1)
            rows[count++] = (uint16_t)(word * 64 + (uint32_t)__builtin_ctzll(bits));
    return count;
}

/* The rows of every term of several rows, in the order of the terms; of a single row, begin is the row itself. */
static bool group_rows(ledger_index *index) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < index->sorted_count; i++)
        if (index->sorted[i].count > 1 || index->sorted[i].source >> 31) total += index->sorted[i].count;
    uint32_t *cursors = malloc(((size_t)index->term_count + 1) * sizeof *cursors);
    index->postings = malloc((total + 1) * sizeof *index->postings);
    if (cursors == NULL || index->postings == NULL) {
        free(cursors);
        return false;
    }
    memset(cursors, 0xff, ((size_t)index->term_count + 1) * sizeof *cursors);
    uint32_t at = 0;
    for (uint32_t i = 0; i < index->sorted_count; i++) {
        index_sorted *s = &index->sorted[i];
        const bool is_path = s->source >> 31;
        if (s->count == 1 && !is_path) continue;
        const uint32_t begin = at;
        if (is_path) at += put_present(&index->paths[s->source & 0x7fffffff], index->row_count, index->postings + at);
        else cursors[s->source] = at, at += s->count;
        s->begin = s->count == 1 ? index->postings[begin] : begin;
    }
    for (uint32_t i = 0; i < index->pair_count; i++) {
        const index_pair pair = index->pairs[i];
        if (cursors[pair.term] != UINT32_MAX) index->postings[cursors[pair.term]++] = pair.row;
    }
    free(cursors);
    return true;
}

int ledger_index_sort(ledger_index *index) {
    for (uint32_t i = 0; i < index->path_count; i++) {
        index_path *path = &index->paths[i];
        for (uint32_t word = 0; word < (index->row_count + 63) / 64; word++)
            path->rows += (uint32_t)__builtin_popcountll(path->present[word]);
    }
    if (!hash_terms(index) || !order_terms(index) || !group_rows(index)) return LEDGER_NOMEM;
    for (uint32_t i = 0; i < index->sorted_count; i++) {
        const index_sorted *s = &index->sorted[i];
        if (s->source >> 31) continue;
        index_path *path = &index->paths[index->terms[s->source].path];
        if (s->count > 1) path->multi++;
        else path->single++;
    }
    return LEDGER_OK;
}
