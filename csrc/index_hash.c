/* SPDX-License-Identifier: Apache-2.0 */
/* index_hash.c: K of every term, their order, and the RFC 6962 root over their leaves.
 *
 * K         SHA-256(0x10, index key, msgpack([path.., value])); of a path that exists 0x11 and no value
 * Order     by K: buckets of the upper bits, then insertion in each, since a hash spreads evenly; a bucket that
 *           someone has filled on purpose is sorted by the library
 * Leaf      SHA-256(0x12, seed, K)[0:16], K, u32 count, rows as u16 (above 16 rows their SHA-256); by SHA-256(0x00, leaf)
 * Lanes     messages of one or two blocks wait until four have the same number, then go four abreast
 * Owns      4 KiB of stack; arrays of the ledger_index
 * See       docs/format.md "Search index"; tests/index_oracle.py; csrc/sha256.c */
#include <stdlib.h>

#include "index.h"

enum {
    BLOCK = 64,
    PAIR_MAX = 2 * BLOCK - 9, /* the longest message that two blocks hold */
    SALT = 16,
    ROWS_INLINE = 16, /* a leaf holds its rows up to here, above their hash */
    LEAVES = 256,     /* hashed together */
    BUCKET_LARGE = 64
};

/* ---- lanes ------------------------------------------------------------------------------------------------ */

typedef struct {
    size_t count; /* waiting */
    uint8_t blocks[4][2 * BLOCK];
    uint8_t *hashes[4];
} lane_group;

typedef struct {
    lane_group groups[2]; /* messages of one block, of two */
} lanes;

static void lanes_run(lane_group *group, size_t block_count) {
    ledger_sha256_state state[4];
    for (size_t i = 0; i < 4; i++) ledger_sha256_start(&state[i]);
    ledger_sha256_state *const states[4] = {&state[0], &state[1], &state[2], &state[3]};
    const uint8_t *const blocks[4] = {group->blocks[0], group->blocks[1], group->blocks[2], group->blocks[3]};
    if (group->count == 4) ledger_sha256_blocks4(states, blocks, block_count);
    else
        for (size_t i = 0; i < group->count; i++) ledger_sha256_blocks(states[i], blocks[i], block_count);
    for (size_t i = 0; i < group->count; i++) ledger_sha256_emit(&state[i], group->hashes[i]);
    group->count = 0;
}

static void lanes_end(lanes *l) {
    for (size_t i = 0; i < 2; i++)
        if (l->groups[i].count > 0) lanes_run(&l->groups[i], i + 1);
}

/* Hashes a, then b; the hash is written at the latest by lanes_end. */
static void lanes_add(lanes *l, const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes, uint8_t *hash) {
    const size_t size = a_bytes + b_bytes;
    if (a_bytes > PAIR_MAX || b_bytes > PAIR_MAX - a_bytes) {
        ledger_sha256_stream stream;
        ledger_sha256_stream_start(&stream);
        ledger_sha256_stream_add(&stream, a, a_bytes);
        ledger_sha256_stream_add(&stream, b, b_bytes);
        ledger_sha256_stream_end(&stream, hash);
        return;
    }
    const size_t block_count = size + 9 > BLOCK ? 2 : 1;
    lane_group *group = &l->groups[block_count - 1];
    uint8_t *block = group->blocks[group->count];
    memcpy(block, a, a_bytes);
    if (b_bytes > 0) memcpy(block + a_bytes, b, b_bytes);
    block[size] = 0x80;
    memset(block + size + 1, 0, block_count * BLOCK - size - 1);
    ledger_store_be_u64(block + block_count * BLOCK - 8, size * 8);
    group->hashes[group->count++] = hash;
    if (group->count == 4) lanes_run(group, block_count);
}

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

/* ---- root ------------------------------------------------------------------------------------------------- */

/* The message of a leaf, 0x00 first; its size. */
static size_t put_leaf(const ledger_index *index, const index_sorted *s, const uint8_t *salt, uint8_t *out) {
    uint8_t rows[1024];
    out[0] = 0x00;
    memcpy(out + 1, salt, SALT);
    memcpy(out + 1 + SALT, ledger_index_key_of(index, s->source), HASH_BYTES);
    uint8_t *at = out + 1 + SALT + HASH_BYTES;
    ledger_store_u32(at, s->count);
    at += 4;
    if (s->count == 1) {
        ledger_store_u16(at, (uint16_t)s->begin);
        return (size_t)(at + 2 - out);
    }
    const uint16_t *listed = index->postings + s->begin;
    if (s->count <= ROWS_INLINE) {
        for (uint32_t i = 0; i < s->count; i++) ledger_store_u16(at + 2 * (size_t)i, listed[i]);
        return (size_t)(at + 2 * (size_t)s->count - out);
    }
    ledger_sha256_stream stream;
    ledger_sha256_stream_start(&stream);
    for (uint32_t i = 0; i < s->count; i += sizeof rows / 2) {
        const uint32_t taken = s->count - i < sizeof rows / 2 ? s->count - i : (uint32_t)sizeof rows / 2;
        for (uint32_t k = 0; k < taken; k++) ledger_store_u16(rows + 2 * (size_t)k, listed[i + k]);
        ledger_sha256_stream_add(&stream, rows, 2 * (size_t)taken);
    }
    ledger_sha256_stream_end(&stream, at);
    return (size_t)(at + HASH_BYTES - out);
}

int ledger_index_root(const ledger_index *index, const uint8_t seed[32], uint8_t root[32]) {
    uint8_t salted[1 + 32 + HASH_BYTES] = {0x12}, message[1 + SALT + HASH_BYTES + 4 + 2 * ROWS_INLINE];
    uint8_t salts[LEAVES * HASH_BYTES], leaves[LEAVES * HASH_BYTES];
    ledger_range range = {0};
    memcpy(salted + 1, seed, 32);
    for (uint32_t begin = 0; begin < index->sorted_count; begin += LEAVES) {
        const uint32_t count = index->sorted_count - begin < LEAVES ? index->sorted_count - begin : LEAVES;
        lanes l = {0};
        for (uint32_t i = 0; i < count; i++) {
            memcpy(salted + 33, ledger_index_key_of(index, index->sorted[begin + i].source), HASH_BYTES);
            lanes_add(&l, salted, sizeof salted, NULL, 0, salts + (size_t)i * HASH_BYTES);
        }
        lanes_end(&l);
        for (uint32_t i = 0; i < count; i++) {
            const size_t size = put_leaf(index, &index->sorted[begin + i], salts + (size_t)i * HASH_BYTES, message);
            lanes_add(&l, message, size, NULL, 0, leaves + (size_t)i * HASH_BYTES);
        }
        lanes_end(&l);
        ledger_range_push(&range, leaves, count);
    }
    ledger_range_root(&range, root);
    return LEDGER_OK;
}
