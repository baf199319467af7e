/* SPDX-License-Identifier: Apache-2.0 */
/* index_lanes.h: many short messages of different sizes, hashed four abreast.
 *
 * Lanes     messages of one or two blocks wait until four have the same number of blocks; longer ones go alone at once
 * Owns      nothing: the lanes are the caller's, 800 bytes of stack
 * See       index_hash.c, index_root.c; csrc/sha256.c for messages of one size */
#ifndef LEDGER_INDEX_LANES_H
#define LEDGER_INDEX_LANES_H

#include "index.h"

enum { BLOCK = 64, PAIR_MAX = 2 * BLOCK - 9 /* the longest message that two blocks hold */ };

typedef struct {
    size_t count; /* waiting */
    uint8_t blocks[4][2 * BLOCK];
    uint8_t *hashes[4];
} lane_group;

typedef struct {
    lane_group groups[2]; /* messages of one block, of two */
} lanes;

static inline void lanes_run(lane_group *group, size_t block_count) {
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

static inline void lanes_end(lanes *l) {
    for (size_t i = 0; i < 2; i++)
        if (l->groups[i].count > 0) lanes_run(&l->groups[i], i + 1);
}

/* Hashes a, then b; the hash is written at the latest by lanes_end. */
static inline void lanes_add(lanes *l, const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes, uint8_t *hash) {
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

#endif
