/* SPDX-License-Identifier: Apache-2.0 */
/* index_root.c: the RFC 6962 root over the leaves of a granule's terms.
 *
 * Leaf      SHA-256(0x12, seed, K)[0:16], K, u32 count, rows as u16 (above 16 rows their SHA-256); by SHA-256(0x00, leaf)
 * Singles   most terms stand in one row: their messages differ only in K and row, so padded blocks are kept and filled in
 * Owns      20 KiB of stack
 * See       docs/format.md "Search index"; tests/index_oracle.py */
#include "index_lanes.h"

enum {
    SALT = 16,
    ROWS_INLINE = 16, /* a leaf holds its rows up to here, above their hash */
    LEAVES = 256,     /* hashed together */
    SALTED_BYTES = 1 + 32 + HASH_BYTES,
    SINGLE_BYTES = 1 + SALT + HASH_BYTES + 4 + 2
};

_Static_assert(SINGLE_BYTES + 9 == BLOCK, "the leaf of a single row fills one block");

/* Up to four terms of one row on their way to a leaf hash. */
typedef struct {
    uint8_t salted[4][2 * BLOCK]; /* 0x12, seed, K, padding */
    uint8_t leaf[4][BLOCK];       /* 0x00, salt, K, 1, row, padding */
    uint8_t *hashes[4];
    size_t count;
} singles;

static void singles_start(singles *s, const uint8_t seed[32]) {
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < 4; i++) {
        s->salted[i][0] = 0x12;
        memcpy(s->salted[i] + 1, seed, 32);
        s->salted[i][SALTED_BYTES] = 0x80;
        ledger_store_be_u64(s->salted[i] + 2 * BLOCK - 8, SALTED_BYTES * 8);
        s->leaf[i][1 + SALT + HASH_BYTES] = 1;
        s->leaf[i][SINGLE_BYTES] = 0x80;
        ledger_store_be_u64(s->leaf[i] + BLOCK - 8, SINGLE_BYTES * 8);
    }
}

static void singles_run(singles *s) {
    ledger_sha256_state state[4];
    ledger_sha256_state *const states[4] = {&state[0], &state[1], &state[2], &state[3]};
    const uint8_t *const salted[4] = {s->salted[0], s->salted[1], s->salted[2], s->salted[3]};
    const uint8_t *const leaf[4] = {s->leaf[0], s->leaf[1], s->leaf[2], s->leaf[3]};
    uint8_t salt[HASH_BYTES];
    for (size_t i = 0; i < 4; i++) ledger_sha256_start(&state[i]);
    ledger_sha256_blocks4(states, salted, 2);
    for (size_t i = 0; i < s->count; i++) {
        ledger_sha256_emit(&state[i], salt);
        memcpy(s->leaf[i] + 1, salt, SALT);
    }
    for (size_t i = 0; i < 4; i++) ledger_sha256_start(&state[i]);
    ledger_sha256_blocks4(states, leaf, 1);
    for (size_t i = 0; i < s->count; i++) ledger_sha256_emit(&state[i], s->hashes[i]);
    s->count = 0;
}

static void singles_add(singles *s, const uint8_t *key, uint32_t row, uint8_t *hash) {
    memcpy(s->salted[s->count] + 33, key, HASH_BYTES);
    memcpy(s->leaf[s->count] + 1 + SALT, key, HASH_BYTES);
    ledger_store_u16(s->leaf[s->count] + SINGLE_BYTES - 2, (uint16_t)row);
    s->hashes[s->count++] = hash;
    if (s->count == 4) singles_run(s);
}

/* Hashes the leaf of a term of several rows; the hash is written at the latest by lanes_end. */
static void add_leaf(const ledger_index *index, const index_sorted *term, const uint8_t seed[32], lanes *l,
                     uint8_t *hash) {
    uint8_t message[1 + SALT + HASH_BYTES + 4 + 2 * ROWS_INLINE], rows[1024], salt[HASH_BYTES];
    const uint8_t *key = ledger_index_key_of(index, term->source);
    const uint16_t *listed = index->postings + term->begin;
    ledger_sha256_stream stream;
    memcpy(message + 1, seed, 32);
    message[0] = 0x12;
    memcpy(message + 33, key, HASH_BYTES);
    ledger_sha256(message, SALTED_BYTES, salt);
    message[0] = 0x00;
    memcpy(message + 1, salt, SALT);
    memcpy(message + 1 + SALT, key, HASH_BYTES);
    uint8_t *at = message + 1 + SALT + HASH_BYTES;
    ledger_store_u32(at, term->count);
    at += 4;
    if (term->count <= ROWS_INLINE) {
        for (uint32_t i = 0; i < term->count; i++, at += 2) ledger_store_u16(at, listed[i]);
        lanes_add(l, message, (size_t)(at - message), NULL, 0, hash);
        return;
    }
    ledger_sha256_stream_start(&stream);
    for (uint32_t i = 0; i < term->count; i += sizeof rows / 2) {
        const uint32_t taken = term->count - i < sizeof rows / 2 ? term->count - i : (uint32_t)sizeof rows / 2;
        for (uint32_t k = 0; k < taken; k++) ledger_store_u16(rows + 2 * (size_t)k, listed[i + k]);
        ledger_sha256_stream_add(&stream, rows, 2 * (size_t)taken);
    }
    ledger_sha256_stream_end(&stream, at);
    lanes_add(l, message, (size_t)(at - message) + HASH_BYTES, NULL, 0, hash);
}

int ledger_index_root(const ledger_index *index, const uint8_t seed[32], uint8_t root[32]) {
    uint8_t leaves[LEAVES * HASH_BYTES];
    ledger_range range = {0};
    singles s;
    singles_start(&s, seed);
    for (uint32_t begin = 0; begin < index->sorted_count; begin += LEAVES) {
        const uint32_t count = index->sorted_count - begin < LEAVES ? index->sorted_count - begin : LEAVES;
        lanes l = {0};
        for (uint32_t i = 0; i < count; i++) {
            const index_sorted *term = &index->sorted[begin + i];
            if (begin + i + 16 < index->sorted_count) /* keys lie in the order in which values were seen */
                __builtin_prefetch(ledger_index_key_of(index, term[16].source));
            uint8_t *hash = leaves + (size_t)i * HASH_BYTES;
            if (term->count == 1) singles_add(&s, ledger_index_key_of(index, term->source), term->begin, hash);
            else add_leaf(index, term, seed, &l, hash);
        }
        if (s.count > 0) singles_run(&s);
        lanes_end(&l);
        ledger_range_push(&range, leaves, count);
    }
    ledger_range_root(&range, root);
    return LEDGER_OK;
}
