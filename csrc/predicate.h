/* SPDX-License-Identifier: Apache-2.0 */
/* predicate.h: the inside of filters, shared by predicate.c (the tree, the path) and predicate_leaf.c (one value).
 *
 * Program   nodes in prefix order, each with a head of 8 bytes: u8 operation, u8 a, u16 b, u32 size of the node with
 *           all below it; then what the table in docs/format.md "Filter programs" says
 * Trust     a program is checked once (ledger_predicate_check), then believed; payloads were checked at the door */
#ifndef LEDGER_PREDICATE_H
#define LEDGER_PREDICATE_H

#include <stdbool.h>

#include "bytes.h"
#include "ledger_core.h"
#include "ledger_index.h"

enum { NODE_HEAD = 8, PREDICATE_DEPTH_MAX = 80 };

enum {
    OP_EVERYTHING = 1,
    OP_NOTHING = 2,
    OP_AND = 3, /* b: children, at least 1 */
    OP_OR = 4,
    OP_NOT = 5,
    OP_SPAN = 6, /* a: axis, b: bit 0 has begin, bit 1 has end; i64 begin, i64 end */
    OP_KIND = 7, /* a: 1 for a note */
    /* Leaves: b keys (u16 size, bytes each), then the operand up to the end of the node. */
    OP_EXISTS = 16,
    OP_TERM = 17,     /* the value as msgpack */
    OP_RANGE = 18,    /* a: RANGE_ bits; low, then high, each msgpack with a u32 size before it */
    OP_PREFIX = 19,   /* a text, as all below but CIDR */
    OP_CONTAINS = 20,
    OP_WILDCARD = 21,
    OP_WORDS = 22,    /* a: 1 for any string of the event (no keys); tokens, each with a u16 size before it */
    OP_CIDR = 23      /* a: prefix bits; 4 or 16 bytes of the network */
};

enum { RANGE_LOW = 1, RANGE_HIGH = 2, RANGE_LOW_OPEN = 4, RANGE_HIGH_OPEN = 8 };
enum { AXIS_INDEX = 0, AXIS_TIME = 1, AXIS_RECORDED = 2 };

/* One msgpack value of a checked payload. */
typedef enum { VALUE_NIL, VALUE_BOOL, VALUE_INT, VALUE_UINT, VALUE_FLOAT, VALUE_STRING, VALUE_BIN, VALUE_EXT,
               VALUE_ARRAY, VALUE_MAP } value_kind;

typedef struct {
    value_kind kind;
    const uint8_t *begin;  /* of the whole value */
    const uint8_t *end;    /* of a scalar */
    const uint8_t *body;   /* of a string's bytes; where a map's or array's elements begin */
    uint32_t size;         /* of a string in bytes; of a map in pairs, of an array in elements */
    union {
        int64_t i;
        uint64_t u;
        double f;
    } number;
} value;

/* Reads the value at p; returns its end, of a map or array the end of its head. */
const uint8_t *ledger_value_read(const uint8_t *p, value *out);
/* The end of the value at p, whatever is in it. */
const uint8_t *ledger_value_skip(const uint8_t *p);

/* Whether one scalar (no map, no array) makes the leaf true. `operand` up to `end`; node is the head. */
bool ledger_leaf_matches(const uint8_t *node, const uint8_t *operand, const uint8_t *end, const value *found);
/* Whether the operand of a leaf is one; the same bytes. */
bool ledger_leaf_is_sound(const uint8_t *node, const uint8_t *operand, const uint8_t *end);

#endif
