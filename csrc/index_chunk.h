/* SPDX-License-Identifier: Apache-2.0 */
/* index_chunk.h: what writers and readers of index chunks share: forms, fences, tokens, sets of rows.
 *
 * See       index_write.c for the layout; docs/format.md "Search index" */
#ifndef LEDGER_INDEX_CHUNK_H
#define LEDGER_INDEX_CHUNK_H

#include "index.h"

enum {
    INDEX_FENCE_BYTES = 16,
    INDEX_FORM_ARRAY = 0,
    INDEX_FORM_BITMAP = 0xffff, /* between them: the number of runs */
    INDEX_INLINE_BYTES = 64,    /* a posting up to here stands in its chunk */
    INDEX_WORD_BITMAP = 0xff,   /* of frames; less: the number of frames */
    INDEX_FRAME_ROWS = 64,
    INDEX_TOKEN_BYTES_MAX = 256 /* of a token that are hashed */
};

/* index_write.c */
void ledger_index_put_keys(index_bytes *out, const uint64_t *keys, uint32_t count);
void ledger_index_put_fence(index_bytes *fences, const index_bytes *chunks, size_t begin, uint64_t first);

/* index_words.c: the words sections; facts->has_words */
int ledger_index_words(ledger_index *index, ledger_index_facts *facts);
/* The next token at *p, folded; its bytes, 0 at the end. */
size_t ledger_index_token(const uint8_t **p, const uint8_t *end, uint8_t token[INDEX_TOKEN_BYTES_MAX]);

/* index_rows.c: the set of the rows whose bits are set. */
void ledger_rows_from_bits(const uint64_t bits[1024], ledger_rows *out);

#endif
