/* SPDX-License-Identifier: Apache-2.0 */
/* sha256.c: whole messages from blocks: padding, streams, and many messages at once in four lanes.
 *
 * Padding   0x80, zeros, the size in bits as 8 big-endian bytes: FIPS 180-4 section 5.1.1
 * Lanes     lanes 0 .. lane_count-1 hold work. Four together take the time of two, so two or fewer go one by one
 * Parts     1 dispatch · 2 one message · 3 a stream · 4 equal sizes: fixed, nodes, salts · 5 commitments
 * Owns      nothing; no allocation, at most 4 KiB of stack
 * See       docs/format.md "Entry"; RFC 6962 section 2.1; tests/unit/test_kernels.py, test_core_internals.py */
#include "sha256.h"

#include <string.h>

#include "bytes.h"
#include "kernels.h"

enum {
    BLOCK = 64,
    HASH = 32,
    SALT = 16,
    PADDING_MIN = 9,                    /* 0x80 and the size */
    PAIR_MAX = 2 * BLOCK - PADDING_MIN, /* the longest message that two blocks hold */
    PAIR_BUFFER = 3 * BLOCK,            /* two blocks, and the block that pad() wants to spare */
    COMMITMENT_PREFIX = 1 + SALT        /* 0x02 and the salt */
};

/* ---- 1 dispatch ------------------------------------------------------------------------------------------ */
void ledger_sha256_blocks(ledger_sha256_state *state, const uint8_t *blocks, size_t block_count) {
    ledger_kernel_get()->sha256_blocks(state, blocks, block_count);
}

void ledger_sha256_blocks4(ledger_sha256_state *const states[4], const uint8_t *const blocks[4],
                           size_t block_count) {
    ledger_kernel_get()->sha256_blocks4(states, blocks, block_count);
}

void ledger_sha256_start(ledger_sha256_state *state) {
    *state = (ledger_sha256_state){{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
                                    0x1f83d9ab, 0x5be0cd19}};
}

void ledger_sha256_emit(const ledger_sha256_state *state, uint8_t hash[32]) {
    for (size_t i = 0; i < 8; i += 2)
        ledger_store_be_u64(hash + 4 * i, (uint64_t)state->h[i] << 32 | state->h[i + 1]);
}

/* ---- 2 one message --------------------------------------------------------------------------------------- */
/* Pad the end of a message of size bytes, `used` of which stand at the front of tail; the blocks tail now has.
 * tail has a block to spare: the zeros, 63 at most, are always written as 64, which needs no loop. */
static size_t pad(uint8_t *tail, size_t used, uint64_t size) {
    const size_t count = (used + PADDING_MIN + BLOCK - 1) / BLOCK;
    tail[used] = 0x80;
    memset(tail + used + 1, 0, BLOCK);
    ledger_store_be_u64(tail + count * BLOCK - 8, size * 8);
    return count;
}

static void finish(ledger_sha256_state *state, const uint8_t *rest, uint64_t size, uint8_t hash[32]) {
    uint8_t tail[PAIR_BUFFER];
    const size_t used = size % BLOCK;
    if (used > 0) memcpy(tail, rest, used);
    ledger_sha256_blocks(state, tail, pad(tail, used, size));
    ledger_sha256_emit(state, hash);
}

void ledger_sha256(const uint8_t *data, size_t size, uint8_t hash[32]) {
    ledger_sha256_state state;
    ledger_sha256_start(&state);
    const size_t whole = size / BLOCK;
    if (whole > 0) ledger_sha256_blocks(&state, data, whole);
    finish(&state, size % BLOCK > 0 ? data + whole * BLOCK : NULL, size, hash);
}

/* ---- 3 a stream ------------------------------------------------------------------------------------------ */
void ledger_sha256_stream_start(ledger_sha256_stream *stream) {
    ledger_sha256_start(&stream->state);
    stream->size = 0;
}

void ledger_sha256_stream_add(ledger_sha256_stream *stream, const uint8_t *data, size_t size) {
    if (size == 0) return;
    const size_t used = stream->size % BLOCK;
    stream->size += size;
    if (used > 0) {
        const size_t taken = size < BLOCK - used ? size : BLOCK - used;
        memcpy(stream->block + used, data, taken);
        if (used + taken < BLOCK) return;
        ledger_sha256_blocks(&stream->state, stream->block, 1);
        data += taken;
        size -= taken;
    }
    const size_t whole = size / BLOCK;
    if (whole > 0) ledger_sha256_blocks(&stream->state, data, whole);
    if (size % BLOCK > 0) memcpy(stream->block, data + whole * BLOCK, size % BLOCK);
}

void ledger_sha256_stream_end(ledger_sha256_stream *stream, uint8_t hash[32]) {
    finish(&stream->state, stream->block, stream->size, hash);
}

/* ---- 4 equal sizes: fixed, nodes, salts ------------------------------------------------------------------- */
static void lanes_run(ledger_sha256_state *const states[4], const uint8_t *const blocks[4], size_t lane_count,
                      size_t block_count) {
    if (lane_count == 4) {
        ledger_sha256_blocks4(states, blocks, block_count);
        return;
    }
    if (lane_count == 3) {
        ledger_sha256_state idle = {{0}};
        ledger_sha256_state *const states4[4] = {states[0], states[1], states[2], &idle};
        const uint8_t *const blocks4[4] = {blocks[0], blocks[1], blocks[2], blocks[2]};
        ledger_sha256_blocks4(states4, blocks4, block_count);
        return;
    }
    for (size_t i = 0; i < lane_count; i++) ledger_sha256_blocks(states[i], blocks[i], block_count);
}

/* lane_count (1 to 4) padded messages of block_count (1 or 2) blocks each; hashes: lane_count x 32. */
static void padded_hash(uint8_t buffers[4][PAIR_BUFFER], size_t lane_count, size_t block_count, uint8_t *hashes) {
    ledger_sha256_state state[4];
    for (size_t i = 0; i < lane_count; i++) ledger_sha256_start(&state[i]);
    ledger_sha256_state *const states[4] = {&state[0], &state[1], &state[2], &state[3]};
    const uint8_t *const blocks[4] = {buffers[0], buffers[1], buffers[2], buffers[3]};
    lanes_run(states, blocks, lane_count, block_count);
    for (size_t i = 0; i < lane_count; i++) ledger_sha256_emit(&state[i], hashes + HASH * i);
}

static size_t lanes_for(size_t left) {
    return left < 4 ? left : 4;
}

void ledger_sha256_fixed(const uint8_t *messages, size_t stride, size_t size, size_t n, uint8_t *hashes) {
    if (size > PAIR_MAX) {
        for (size_t i = 0; i < n; i++) ledger_sha256(messages + stride * i, size, hashes + HASH * i);
        return;
    }
    uint8_t buffers[4][PAIR_BUFFER];
    size_t block_count = 0;
    for (size_t i = 0; i < 4; i++) block_count = pad(buffers[i], size, size);
    for (size_t done = 0; done < n; done += 4) {
        const size_t lane_count = lanes_for(n - done);
        for (size_t i = 0; i < lane_count && size > 0; i++)
            memcpy(buffers[i], messages + stride * (done + i), size);
        padded_hash(buffers, lane_count, block_count, hashes + HASH * done);
    }
}

/* In place: four hashes (128 bytes) are written after the four pairs (256 bytes) over or before them were read. */
void ledger_sha256_nodes(const uint8_t *pairs, size_t n, uint8_t *hashes) {
    uint8_t buffers[4][PAIR_BUFFER];
    for (size_t i = 0; i < 4; i++) {
        buffers[i][0] = 0x01;
        pad(buffers[i], 1 + 2 * HASH, 1 + 2 * HASH);
    }
    for (size_t done = 0; done < n; done += 4) {
        const size_t lane_count = lanes_for(n - done);
        for (size_t i = 0; i < lane_count; i++) memcpy(buffers[i] + 1, pairs + 2 * HASH * (done + i), 2 * HASH);
        padded_hash(buffers, lane_count, 2, hashes + HASH * done);
    }
}

/* One hash is the salts of an even index and of the odd one after it: begin may cut the first in half, the end the
 * last. */
void ledger_sha256_salts(const uint8_t seed[32], uint64_t begin, size_t n, uint8_t *salts) {
    uint8_t buffers[4][PAIR_BUFFER], hashes[4 * HASH];
    for (size_t i = 0; i < 4; i++) {
        buffers[i][0] = 0x03;
        memcpy(buffers[i] + 1, seed, 32);
        pad(buffers[i], 1 + 32 + 8, 1 + 32 + 8);
    }
    size_t skip = SALT * (begin & 1), left = SALT * n;
    for (uint64_t pair = begin >> 1; left > 0; pair += 4) {
        const size_t lane_count = lanes_for((skip + left + HASH - 1) / HASH);
        for (size_t i = 0; i < lane_count; i++) ledger_store_u64(buffers[i] + 33, pair + i);
        padded_hash(buffers, lane_count, 1, hashes);
        const size_t got = HASH * lane_count - skip, taken = left < got ? left : got;
        memcpy(salts, hashes + skip, taken);
        salts += taken;
        left -= taken;
        skip = 0;
    }
}

/* ---- 5 commitments: lanes that refill --------------------------------------------------------------------- */
typedef struct {
    const uint8_t *blocks;
    size_t count;
} run;

/* One message as up to three runs of blocks: its first block, the payload where it lies, its padded end. */
typedef struct {
    ledger_sha256_state state;
    run runs[3];
    size_t current;          /* which run */
    uint8_t *hash;           /* where the result goes */
    uint8_t head[9 * BLOCK]; /* the first block; or, of a short message, everything */
    uint8_t tail[PAIR_BUFFER];
} lane;

static void lane_start(lane *l, const uint8_t *salt, const uint8_t *payload, uint32_t payload_bytes, uint8_t *hash) {
    const uint64_t size = COMMITMENT_PREFIX + (uint64_t)payload_bytes;
    l->hash = hash;
    l->current = 0;
    ledger_sha256_start(&l->state);
    l->head[0] = 0x02;
    memcpy(l->head + 1, salt, SALT);
    if (size + PADDING_MIN + BLOCK <= sizeof l->head) {
        if (payload_bytes > 0) memcpy(l->head + COMMITMENT_PREFIX, payload, payload_bytes);
        l->runs[0] = (run){l->head, pad(l->head, (size_t)size, size)};
        l->runs[1].count = l->runs[2].count = 0;
        return;
    }
    const size_t first = BLOCK - COMMITMENT_PREFIX, used = size % BLOCK;
    memcpy(l->head + COMMITMENT_PREFIX, payload, first);
    if (used > 0) memcpy(l->tail, payload + payload_bytes - used, used);
    l->runs[0] = (run){l->head, 1};
    l->runs[1] = (run){payload + first, (payload_bytes - first) / BLOCK};
    l->runs[2] = (run){l->tail, pad(l->tail, used, size)};
}

/* Move on by count blocks of the current run; true when the message has ended. */
static bool lane_advance(lane *l, size_t count) {
    run *now = &l->runs[l->current];
    now->blocks += BLOCK * count;
    now->count -= count;
    while (l->current < 3 && l->runs[l->current].count == 0) l->current++;
    return l->current == 3;
}

/* As many blocks in every lane as the shortest current run has; returns that number. */
static size_t lanes_advance(lane *const lanes[4], size_t lane_count) {
    ledger_sha256_state *states[4] = {NULL};
    const uint8_t *blocks[4] = {NULL};
    size_t count = SIZE_MAX;
    for (size_t i = 0; i < lane_count; i++) {
        const run *now = &lanes[i]->runs[lanes[i]->current];
        states[i] = &lanes[i]->state;
        blocks[i] = now->blocks;
        if (now->count < count) count = now->count;
    }
    lanes_run(states, blocks, lane_count, count);
    return count;
}

/* A lane whose message ends takes the next one; with none left, the last lane takes its place. */
void ledger_sha256_commitments(const uint8_t *salts, const uint8_t *base, const uint64_t *offsets,
                               const uint32_t *sizes, size_t n, uint8_t *hashes, size_t hash_stride) {
    lane pool[4];
    lane *lanes[4] = {&pool[0], &pool[1], &pool[2], &pool[3]};
    size_t lane_count = lanes_for(n), next = 0;
    for (; next < lane_count; next++)
        lane_start(lanes[next], salts + SALT * next, base + offsets[next], sizes[next], hashes + hash_stride * next);
    while (lane_count > 0) {
        const size_t count = lanes_advance(lanes, lane_count);
        for (size_t i = lane_count; i-- > 0;) {
            if (!lane_advance(lanes[i], count)) continue;
            ledger_sha256_emit(&lanes[i]->state, lanes[i]->hash);
            if (next == n) {
                lanes[i] = lanes[--lane_count];
                continue;
            }
            lane_start(lanes[i], salts + SALT * next, base + offsets[next], sizes[next], hashes + hash_stride * next);
            next++;
        }
    }
}
