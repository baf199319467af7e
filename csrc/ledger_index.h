/* SPDX-License-Identifier: Apache-2.0 */
/* ledger_index.h: the C API of search indexes; build_core.py gives cffi the part between the two markers.
 *
 * Rules     as ledger_core.h: every call returns a ledger_status; sizes are bytes, counts are entries
 * Threads   pure functions and one ledger_index: one thread at a time each; any number of them at once
 * Trust     readers take bytes of a file as they are: each is checked before it steers anything
 * See       docs/format.md "Search index"; index.h for the inside */
#ifndef LEDGER_INDEX_H
#define LEDGER_INDEX_H

#include "ledger_core.h"

/* cffi: begin */
/* ---- building (index_build.c and what it calls) --------------------------------------------------------------- */
/* What stands at a path, by its types. TEXT: a string with a space; WORD: one without. */
typedef enum {
    LEDGER_INDEX_NIL = 1,
    LEDGER_INDEX_BOOL = 2,
    LEDGER_INDEX_INTEGER = 4,
    LEDGER_INDEX_FLOAT = 8,
    LEDGER_INDEX_STRING = 16,
    LEDGER_INDEX_BYTES = 32,
    LEDGER_INDEX_TIMESTAMP = 64,
    LEDGER_INDEX_EMPTY_MAP = 128,
    LEDGER_INDEX_EMPTY_ARRAY = 256,
    LEDGER_INDEX_TEXT = 512,
    LEDGER_INDEX_WORD = 1024
} ledger_index_type;

/* What is not indexed at a step of a path: something under another key than those known; in an array; a leaf here. */
typedef enum { LEDGER_INDEX_OPEN_KEYS = 1, LEDGER_INDEX_OPEN_NIL = 2, LEDGER_INDEX_OPEN_LEAF = 4 } ledger_index_open;

/* Sections of a granule as ledger_index_encode makes them; VALUES is compressed and OPEN read by
 * the caller. */
typedef enum {
    LEDGER_INDEX_TERMS = 0,
    LEDGER_INDEX_TERM_FENCES = 1,
    LEDGER_INDEX_POSTINGS = 2,
    LEDGER_INDEX_SINGLES = 3,
    LEDGER_INDEX_SINGLE_FENCES = 4,
    LEDGER_INDEX_WORDS = 5,
    LEDGER_INDEX_WORD_FENCES = 6,
    LEDGER_INDEX_VALUES = 7,
    LEDGER_INDEX_OPEN = 8,
    LEDGER_INDEX_SECTIONS = 9
} ledger_index_section;

typedef struct ledger_index ledger_index;

typedef struct {
    uint32_t path_count;  /* listed, those that were dropped included */
    uint32_t term_count;
    uint32_t event_count;
    uint32_t is_complete; /* every leaf has a path in the list */
    uint32_t has_words;   /* all texts are in the words section; else there were too many */
} ledger_index_facts;

typedef struct {
    const uint8_t *elements; /* packed, one after the other; valid until the index is freed */
    uint32_t elements_bytes;
    uint32_t element_count;
    uint32_t is_dropped;
    uint32_t types;
    uint32_t rows;           /* in which something stands there */
    uint32_t multi, single;  /* distinct values that stand in several rows, in one */
} ledger_index_path_facts;

/* The terms of one granule: at most 65,536 rows of at most 4 GiB - 1; rows of kind 1 give none. data and rows stay as
 * they are until ledger_index_free. sip_key: 16 random bytes; the result does not depend on them. LEDGER_BAD_EVENT:
 * a payload is no event. Memory: some 120 bytes a term and 8 a pair, at most pairs_max of each. */
int ledger_index_build(const uint8_t *data, uint64_t size, const ledger_row *rows, uint32_t row_count,
                       const uint8_t key[16], const uint8_t sip_key[16], uint32_t paths_max, uint32_t pairs_max,
                       ledger_index **index, ledger_index_facts *facts);
void ledger_index_free(ledger_index *index);
int ledger_index_path(const ledger_index *index, uint32_t path, ledger_index_path_facts *facts);
/* The RFC 6962 root over the leaves of all terms. */
int ledger_index_root(const ledger_index *index, const uint8_t seed[32], uint8_t root[32]);
/* Makes the sections; then each can be had. */
int ledger_index_encode(ledger_index *index, ledger_index_facts *facts);
int ledger_index_section_bytes(const ledger_index *index, uint32_t section, const uint8_t **bytes, uint64_t *size);
/* One row more for each entry of consecutive raw blocks (rows.offset counts from raw), from the entry `skip` on, at
 * most row_max. LEDGER_CORRUPT when a block breaks a rule or the blocks do not fill the bytes. */
int ledger_index_rows(const uint8_t *raw, uint64_t size, const uint64_t *raw_bytes, uint64_t block_count, uint64_t skip,
                      ledger_row *rows, uint32_t row_max, uint32_t *row_count);
/* ---- sets of rows (index_rows.c) -------------------------------------------------------------------------------- */
/* Rows of one granule, each once. Up to 4,096: ascending in list; more: one bit a row in bits. */
typedef struct {
    uint32_t count;
    uint32_t is_bitmap;
    union {
        uint16_t list[4096];
        uint64_t bits[1024];
    } in;
} ledger_rows;

void ledger_rows_fill(uint32_t begin, uint32_t end, ledger_rows *out); /* [begin, end), end <= 65,536 */
/* The u16 rows, ascending, each once: LEDGER_USAGE when they are not. */
int ledger_rows_take(const uint16_t *rows, uint32_t count, ledger_rows *out);
/* out is not one of the two. */
void ledger_rows_and(const ledger_rows *a, const ledger_rows *b, ledger_rows *out);
void ledger_rows_or(const ledger_rows *a, const ledger_rows *b, ledger_rows *out);
void ledger_rows_and_not(const ledger_rows *a, const ledger_rows *b, ledger_rows *out);
int ledger_rows_has(const ledger_rows *rows, uint32_t row);
/* The rows of ranks [begin, end) in ascending order; out has end - begin. LEDGER_USAGE unless end <= count. */
int ledger_rows_slice(const ledger_rows *rows, uint32_t begin, uint32_t end, uint16_t *out);

/* ---- reading (index_read.c): bytes of a chunk that its fence's CRC32C was compared with, or not ------------------- */
enum { LEDGER_INDEX_NEAR = 0, LEDGER_INDEX_FAR = 1 };

/* Where the rows of a key are: near: `bytes` at `offset` of the chunk; far: of the postings section. */
typedef struct {
    uint32_t count;  /* rows */
    uint32_t form;
    uint32_t place;  /* LEDGER_INDEX_NEAR, LEDGER_INDEX_FAR */
    uint32_t bytes;
    uint32_t offset;
    uint32_t crc;    /* when far */
} ledger_index_posting;

/* The postings of the keys that equal `key` in a chunk whose first key is `first`: at most 4 to places, all to *found.
 * LEDGER_CORRUPT when the chunk breaks a rule. */
int ledger_index_find_terms(const uint8_t *chunk, uint64_t size, uint64_t first, uint64_t key, uint32_t row_count,
                            ledger_index_posting places[4], uint32_t *found);
/* The rows of a posting; LEDGER_CORRUPT unless its bytes hold exactly `count` ascending rows below row_count. */
int ledger_index_posting_rows(const uint8_t *bytes, uint64_t size, uint32_t form, uint32_t count, uint32_t row_count,
                              ledger_rows *out);
/* The rows of single-row terms whose upper 32 bits are `key`; at most `capacity` to rows, all to *found. */
int ledger_index_find_singles(const uint8_t *chunk, uint64_t size, uint64_t first, uint64_t key, uint32_t row_count,
                              uint16_t *rows, uint32_t capacity, uint32_t *found);
/* The rows of the frames in which a word of that key may stand. */
int ledger_index_find_word(const uint8_t *chunk, uint64_t size, uint64_t first, uint64_t key, uint32_t row_count,
                           ledger_rows *out);
/* The key of the first token of a text, for the words section. */
uint32_t ledger_index_word_key(const uint8_t key[16], const uint8_t *word, uint64_t size);
/* 1, and the time, when the event names one; else 0, and *time is left alone (event_time.c). */
int ledger_event_time(const uint8_t *payload, size_t size, int64_t *time);

/* Least and greatest times of events alone; zeros when there are none. */
typedef struct {
    int64_t time_min, time_max;
    uint64_t recorded_min, recorded_max;
} ledger_index_bounds;

/* The event time of each row; of a note, and of an event that names none, the entry's own. */
int ledger_index_times(const uint8_t *data, uint64_t size, const ledger_row *rows, uint32_t row_count, int64_t *times,
                       ledger_index_bounds *bounds);
/* Differences of times to the one before (the first to 0), byte planes apart: what compresses well; and back. */
void ledger_index_times_split(const int64_t *times, uint32_t count, uint8_t *planes);
void ledger_index_times_join(const uint8_t *planes, uint32_t count, int64_t *times);
/* The rows whose time is in [begin, end]; count <= 65,536. */
void ledger_index_times_between(const int64_t *times, uint32_t count, int64_t begin, int64_t end, ledger_rows *out);
/* Adds each row's time to buckets[(time - origin) / width]; those outside are left out. LEDGER_USAGE: width <= 0, or a
 * row not below count. */
int ledger_index_histogram(const int64_t *times, uint32_t count, const ledger_rows *rows, int64_t origin, int64_t width,
                           uint64_t *buckets, uint32_t bucket_count);
/* cffi: end */

#endif
