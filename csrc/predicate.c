/* SPDX-License-Identifier: Apache-2.0 */
/* predicate.c: filters evaluated on packed events: the tree of a program, and the way to a leaf's path.
 *
 * Meaning   docs/query.md; a leaf is true iff some value at its path makes it true, arrays are passed through at every
 *           level, and all else is false. Entry 0, whose payload is LEDGER, has no fields
 * Cost      a leaf steps over the keys before its own, some 10 ns each; AND and OR stop at the first that decides, so
 *           the caller puts the cheap and the rare ones first
 * Owns      nothing: pure; no allocation; depth is bounded by the check of the program and of the payload
 * See       predicate.h; ledger/query/program.py writes programs; tests/unit/test_predicate.py against a plain oracle */
#include "predicate.h"

#include <string.h>

typedef struct {
    const uint8_t *payload;
    const ledger_row *row;
    uint64_t index;
} entry;

/* ---- the check of a program -------------------------------------------------------------------------------- */

/* The operand of a leaf: past its keys. NULL when they do not fit. */
static const uint8_t *operand_of(const uint8_t *node, const uint8_t *end) {
    const uint8_t *at = node + NODE_HEAD;
    for (uint16_t keys = ledger_load_u16(node + 2); keys > 0; keys--) {
        if (end - at < 2 || end - at - 2 < ledger_load_u16(at)) return NULL;
        at += 2 + ledger_load_u16(at);
    }
    return at;
}

static bool is_sound(const uint8_t *node, const uint8_t *end, unsigned depth) {
    if (depth > PREDICATE_DEPTH_MAX || end - node < NODE_HEAD) return false;
    const uint32_t size = ledger_load_u32(node + 4);
    if (size < NODE_HEAD || size > (uint64_t)(end - node)) return false;
    const uint8_t op = node[0], *stop = node + size, *at = node + NODE_HEAD;
    if (op == OP_AND || op == OP_OR || op == OP_NOT) {
        const uint16_t children = op == OP_NOT ? 1 : ledger_load_u16(node + 2);
        for (uint16_t i = 0; i < children; i++) {
            if (!is_sound(at, stop, depth + 1)) return false;
            at += ledger_load_u32(at + 4);
        }
        return at == stop && children > 0;
    }
    if (op == OP_SPAN) return size == NODE_HEAD + 16 && node[1] <= AXIS_RECORDED && ledger_load_u16(node + 2) <= 3;
    if (op == OP_KIND) return size == NODE_HEAD && node[1] <= 1;
    if (op == OP_EVERYTHING || op == OP_NOTHING) return size == NODE_HEAD;
    if (op < OP_EXISTS || op > OP_CIDR) return false;
    const bool anywhere = op == OP_WORDS && node[1] == 1;
    if (anywhere != (ledger_load_u16(node + 2) == 0)) return false;
    const uint8_t *operand = operand_of(node, stop);
    return operand != NULL && ledger_leaf_is_sound(node, operand, stop);
}

int ledger_predicate_check(const uint8_t *program, uint64_t size) {
    return size >= NODE_HEAD && size <= UINT32_MAX && ledger_load_u32(program + 4) == size &&
                   is_sound(program, program + size, 0)
               ? LEDGER_OK
               : LEDGER_USAGE;
}

/* ---- evaluation -------------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *node, *operand, *end;
} leaf;

/* A value that stands at the leaf's path. */
static bool value_matches(const leaf *l, const uint8_t *p) {
    value found;
    const uint8_t *at = ledger_value_read(p, &found);
    found.end = at;
    if (l->node[0] == OP_EXISTS) return true;
    if (found.kind == VALUE_ARRAY) {
        for (uint32_t i = 0; i < found.size; i++, at = ledger_value_skip(at))
            if (value_matches(l, at)) return true;
        return false;
    }
    return found.kind != VALUE_MAP && ledger_leaf_matches(l->node, l->operand, l->end, &found);
}

static bool find(const leaf *l, const uint8_t *p, const uint8_t *key, unsigned keys) {
    if (keys == 0) return value_matches(l, p);
    value found, name;
    const uint8_t *at = ledger_value_read(p, &found);
    if (found.kind == VALUE_ARRAY) {
        for (uint32_t i = 0; i < found.size; i++, at = ledger_value_skip(at))
            if (find(l, at, key, keys)) return true;
        return false;
    }
    if (found.kind != VALUE_MAP) return false;
    const uint32_t size = ledger_load_u16(key);
    for (uint32_t i = 0; i < found.size; i++, at = ledger_value_skip(at)) {
        at = ledger_value_read(at, &name);
        if (name.size == size && memcmp(name.body, key + 2, size) == 0) {
            return find(l, at, key + 2 + size, keys - 1); /* keys of a map are unique */
        }
    }
    return false;
}

/* Any string of the event, keys left out. */
static bool find_anywhere(const leaf *l, const uint8_t *p) {
    value found;
    for (uint64_t left = 1; left > 0; left--) {
        p = ledger_value_read(p, &found);
        found.end = p;
        if (found.kind == VALUE_STRING && ledger_leaf_matches(l->node, l->operand, l->end, &found)) return true;
        if (found.kind == VALUE_ARRAY) left += found.size;
        if (found.kind == VALUE_MAP) {
            for (uint32_t i = 0; i < found.size; i++) {
                p = ledger_value_skip(p);
                if (find_anywhere(l, p)) return true;
                p = ledger_value_skip(p);
            }
        }
    }
    return false;
}

static bool in_span(const uint8_t *node, const entry *e) {
    const uint8_t *at = node + NODE_HEAD;
    int64_t place = (int64_t)e->index;
    if (node[1] == AXIS_RECORDED) place = (int64_t)e->row->time;
    if (node[1] == AXIS_TIME) {
        place = (int64_t)e->row->time;
        if (e->index != 0) ledger_event_time(e->payload, e->row->bytes, &place);
    }
    if ((node[2] & 1) && place < (int64_t)ledger_load_u64(at)) return false;
    return !(node[2] & 2) || place < (int64_t)ledger_load_u64(at + 8);
}

static bool evaluate(const uint8_t *node, const entry *e) {
    const uint8_t *end = node + ledger_load_u32(node + 4), *at = node + NODE_HEAD;
    switch (node[0]) {
    case OP_EVERYTHING: return true;
    case OP_NOTHING: return false;
    case OP_NOT: return !evaluate(at, e);
    case OP_SPAN: return in_span(node, e);
    case OP_KIND: return (e->row->kind != 0) == (node[1] != 0);
    case OP_AND:
        for (; at < end; at += ledger_load_u32(at + 4))
            if (!evaluate(at, e)) return false;
        return true;
    case OP_OR:
        for (; at < end; at += ledger_load_u32(at + 4))
            if (evaluate(at, e)) return true;
        return false;
    default: break;
    }
    if (e->index == 0) return false;
    const leaf l = {node, operand_of(node, end), end};
    return ledger_load_u16(node + 2) == 0 ? find_anywhere(&l, e->payload)
                                          : find(&l, e->payload, at, ledger_load_u16(node + 2));
}

int ledger_predicate_rows(const uint8_t *program, uint64_t program_size, const uint8_t *data, uint64_t size,
                          const ledger_row *rows, uint32_t row_count, uint64_t first_index, const uint32_t *candidates,
                          uint32_t candidate_count, uint32_t limit, int newest_first, uint32_t *matches,
                          uint32_t *match_count) {
    *match_count = 0;
    if (ledger_predicate_check(program, program_size) != LEDGER_OK) return LEDGER_USAGE;
    const uint32_t count = candidates ? candidate_count : row_count;
    for (uint32_t step = 0; step < count && *match_count < limit; step++) {
        const uint32_t place = newest_first ? count - 1 - step : step;
        const uint32_t i = candidates ? candidates[place] : place;
        if (i >= row_count || rows[i].offset > size || rows[i].bytes > size - rows[i].offset) return LEDGER_USAGE;
        const entry e = {data + rows[i].offset, &rows[i], first_index + i};
        if (evaluate(program, &e)) matches[(*match_count)++] = i;
    }
    return LEDGER_OK;
}
