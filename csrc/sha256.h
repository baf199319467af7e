/* SPDX-License-Identifier: Apache-2.0 */
/* sha256.h: SHA-256 (FIPS 180-4) for the rest of csrc: one stream, four streams, and the hashes of docs/format.md.
 *
 * Levels    blocks: the compression function, nothing padded · whole messages: ledger_sha256, a stream ·
 *           many messages at once, four abreast: fixed, nodes, commitments, salts (declared in ledger_core.h)
 * Cost      with SHA-NI one stream waits for itself (two rounds in four cycles); four together take the time of two
 * Owns      nothing: callers hold all state; no allocation; any number of threads
 * See       kernels.h for how one implementation is chosen; tests/unit/test_kernels.py */
#ifndef LEDGER_SHA256_H
#define LEDGER_SHA256_H

#include "ledger_core.h"

typedef struct {
    uint32_t h[8];
} ledger_sha256_state;

/* The state before the first block. */
void ledger_sha256_start(ledger_sha256_state *state);

/* Compress block_count blocks of 64 bytes, at any alignment. */
void ledger_sha256_blocks(ledger_sha256_state *state, const uint8_t *blocks, size_t block_count);

/* Four streams, block_count blocks of each; the four states are different objects. */
void ledger_sha256_blocks4(ledger_sha256_state *const states[4], const uint8_t *const blocks[4],
                           size_t block_count);

/* The state as the 32 bytes of a hash. */
void ledger_sha256_emit(const ledger_sha256_state *state, uint8_t hash[32]);

/* A message that comes in pieces, for files. */
typedef struct {
    ledger_sha256_state state;
    uint64_t size;     /* bytes so far */
    uint8_t block[64]; /* the last size % 64 of them */
} ledger_sha256_stream;

void ledger_sha256_stream_start(ledger_sha256_stream *stream);
void ledger_sha256_stream_add(ledger_sha256_stream *stream, const uint8_t *data, size_t size);
void ledger_sha256_stream_end(ledger_sha256_stream *stream, uint8_t hash[32]); /* start again to use it again */

#endif
