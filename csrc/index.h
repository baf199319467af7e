/* SPDX-License-Identifier: Apache-2.0 */
/* index.h: the inside of a ledger_index, one granule of a search index being built; shared by index_*.c.
 *
 * Steps     index_walk.c payloads to leaves · index_paths.c a leaf's path · index_terms.c values to terms and pairs ·
 *           index_hash.c K, order, root · index_write.c, index_words.c, index_values.c sections
 * Pair      one (term, row): a value that stands twice at a path of one row is one pair
 * Owns      a ledger_index owns its arrays; the caller's data and rows stay alive and unchanged while it lives
 * See       docs/format.md "Search index"; tests/index_oracle.py */
#ifndef LEDGER_INDEX_INTERNAL_H
#define LEDGER_INDEX_INTERNAL_H

#include <stdbool.h>
#include <string.h>

#include "bytes.h"
#include "ledger_index.h"
#include "sha256.h"

enum {
    ROWS_MAX = 65536,
    PATHS_MAX = 256,
    PATH_BYTES_MAX = 1024, /* packed elements of a path */
    NODES_MAX = 8192, /* steps, the event itself counted */
    NODE_SLOTS = 1 << 15,
    KEY_BYTES = 16,
    DEPTH_MAX = 32,
    NO_NODE = 0xffff,
    NO_PATH = 0xffff,
    WAITING_MAX = 64, /* leaves between the walk and the table */
    CHUNK_KEYS = 256, /* keys between two fences */
    HASH_BYTES = 32
};

/* A growing run of bytes; `failed` stays once an allocation has failed. */
typedef struct {
    uint8_t *bytes;
    size_t size, capacity;
    bool failed;
} index_bytes;

uint8_t *ledger_index_room(index_bytes *out, size_t more); /* NULL: failed */
void ledger_index_put(index_bytes *out, const void *bytes, size_t size);
void ledger_index_put_u32(index_bytes *out, uint32_t value);

/* One step of a path: a key, or nil for an element of an array. Node 0 is the event itself. */
typedef struct {
    uint32_t key_begin, key_bytes; /* packed, in keys */
    uint16_t parent, path;         /* NO_PATH until a leaf stands here */
    uint16_t nil_child;
    uint16_t first_guess, next_guess; /* the child seen first, the sibling seen next, last time */
    uint8_t elements;                 /* of the path to here */
    uint8_t open;                     /* ledger_index_open bits */
    uint32_t path_bytes;              /* packed, of the path to here */
} index_node;

typedef struct {
    uint32_t prefix_begin, prefix_bytes; /* 0x10, index key, array header, elements: in prefixes */
    uint32_t elements;
    uint32_t types; /* ledger_index_type bits */
    uint32_t pairs; /* held now */
    uint32_t rows;  /* in which something stands here */
    uint32_t multi, single; /* distinct values in several rows, in one; after sorting */
    uint16_t node;
    bool dropped;
    uint64_t *present; /* one bit a row */
} index_path;

/* A distinct value at a path. */
typedef struct {
    uint64_t hash;
    uint32_t value_begin, value_bytes; /* in data */
    uint32_t count;                    /* rows */
    uint16_t path, last_row;
} index_term;

typedef struct {
    uint32_t term;
    uint16_t row;
    uint16_t zero;
} index_pair;

typedef struct {
    uint64_t hash;
    uint32_t value_begin, value_bytes;
    uint16_t path, row;
} index_leaf;

/* A term in order. source: a term, or with bit 31 the path that exists. rows: postings[begin, begin + count). */
typedef struct {
    uint64_t top;
    uint32_t source, count, begin;
} index_sorted;

struct ledger_index {
    const uint8_t *data;
    uint64_t size;
    const ledger_row *rows;
    uint32_t row_count, event_count;
    uint8_t key[KEY_BYTES], sip_key[KEY_BYTES];
    uint32_t paths_max, pairs_max;
    bool capped; /* some leaf has no path in the list */
    index_node *nodes;
    uint32_t node_count;
    uint16_t *node_slots; /* open addressing, by parent and key; 0: free */
    index_bytes keys, prefixes;
    index_path paths[PATHS_MAX];
    uint32_t path_count;
    index_term *terms;
    uint32_t term_count, term_capacity;
    uint64_t *slots; /* upper half of a hash, term + 1; 0: free */
    uint64_t slot_mask;
    index_pair *pairs;
    uint32_t pair_count, pair_capacity;
    index_leaf waiting[WAITING_MAX];
    uint32_t waiting_count;
    uint8_t *hashes; /* K by term, then by path */
    index_sorted *sorted;
    uint32_t sorted_count;
    uint16_t *postings;
    index_bytes sections[LEDGER_INDEX_SECTIONS];
    int status;
};

/* index_paths.c: the child of `parent` under a packed key, or under nil; NO_NODE when it is not indexed. */
uint16_t ledger_index_child(ledger_index *index, uint16_t parent, const uint8_t *key, size_t key_bytes);
uint16_t ledger_index_nil_child(ledger_index *index, uint16_t parent);
/* The path that ends at a node, made when new; NO_PATH when there are too many, or it was dropped. */
uint16_t ledger_index_path_at(ledger_index *index, uint16_t node);

/* index_walk.c: leaves of one event into the table. */
int ledger_index_walk(ledger_index *index, const uint8_t *payload, uint32_t size, uint16_t row);

/* index_terms.c */
void ledger_index_flush(ledger_index *index); /* waiting leaves into terms and pairs; failure: index->status */
uint64_t ledger_index_value_hash(const ledger_index *index, uint16_t path, const uint8_t *value, size_t size);

/* index_hash.c */
int ledger_index_sort(ledger_index *index);

/* index_paths.c: something at a node is not indexed. */
static inline void ledger_index_leave_open(ledger_index *index, uint16_t node, uint8_t bit) {
    index->nodes[node].open |= bit;
    index->capped = true;
}

void ledger_index_put_open(ledger_index *index); /* the section of open nodes */

static inline const uint8_t *ledger_index_key_of(const ledger_index *index, uint32_t source) {
    const uint32_t at = source >> 31 ? index->term_count + (source & 0x7fffffff) : source;
    return index->hashes + (size_t)at * HASH_BYTES;
}

#endif
