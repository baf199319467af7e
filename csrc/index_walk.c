/* SPDX-License-Identifier: Apache-2.0 */
/* index_walk.c: one event to its leaves: every scalar, and every empty map or array below the event itself.
 *
 * Form      the event was checked before it was stored; here only what memory safety needs is checked again: every
 *           byte read lies inside, nesting ends at 32, keys are strings
 * Skipped   what hangs below a node that is not indexed is walked over, since its size is not known before
 * Owns      nothing: leaves wait inside the ledger_index, WAITING_MAX of them, so that the table can prefetch
 * See       msgpack.c for the exact form; index_terms.c for what becomes of a leaf */
#include "index.h"
#include "packed.h"

typedef struct {
    uint16_t node, guess, last; /* the container; the child expected next; the child before */
    bool is_map;
    uint32_t left;
} level;

static uint32_t string_types(const packed_item *it) {
    const size_t size = (size_t)(it->next - it->begin);
    return memchr(it->begin + 1, ' ', size - 1) != NULL ? LEDGER_INDEX_STRING | LEDGER_INDEX_TEXT
                                                        : LEDGER_INDEX_STRING | LEDGER_INDEX_WORD;
}

static void take_leaf(ledger_index *index, const packed_item *it, uint16_t node, uint16_t row) {
    if (node == NO_NODE) return;
    const uint16_t at = ledger_index_path_at(index, node);
    if (at == NO_PATH) return;
    index_path *path = &index->paths[at];
    path->types |= it->type == LEDGER_INDEX_STRING ? string_types(it) : it->type;
    path->present[row / 64] |= UINT64_C(1) << row % 64;
    if (it->is_map || it->is_array) return;
    const uint32_t size = (uint32_t)(it->next - it->begin);
    const uint64_t hash = ledger_index_value_hash(index, at, it->begin, size);
    if (index->slots != NULL) __builtin_prefetch(&index->slots[hash & index->slot_mask]);
    index->waiting[index->waiting_count++] = (index_leaf){.hash = hash,
                                                          .value_begin = (uint32_t)(it->begin - index->data),
                                                          .value_bytes = size,
                                                          .path = at,
                                                          .row = row};
    if (index->waiting_count == WAITING_MAX) ledger_index_flush(index);
}

/* Does the key at p belong to the expected child? Its bytes begin with their length, so equal bytes are that key. */
static bool is_guessed(const ledger_index *index, const level *open, const uint8_t *p, const uint8_t *end) {
    if (open->guess == NO_NODE) return false;
    const index_node *guess = &index->nodes[open->guess];
    return (size_t)(end - p) >= guess->key_bytes &&
           memcmp(p, index->keys.bytes + guess->key_begin, guess->key_bytes) == 0;
}

/* The node of the next element of an open container; *p moves over a key. False: no string where a key must be. */
static bool enter_child(ledger_index *index, level *open, const uint8_t **p, const uint8_t *end, uint16_t *node) {
    if (!open->is_map) {
        *node = open->node == NO_NODE ? (uint16_t)NO_NODE : ledger_index_nil_child(index, open->node);
        return true;
    }
    if (is_guessed(index, open, *p, end)) {
        *node = open->guess;
        *p += index->nodes[*node].key_bytes;
    } else {
        const packed_item key = packed_read(*p, end);
        if (key.type != LEDGER_INDEX_STRING) return false;
        *p = key.next;
        *node = NO_NODE;
        if (open->node == NO_NODE) return true;
        *node = ledger_index_child(index, open->node, key.begin, (size_t)(key.next - key.begin));
        if (*node == NO_NODE) return true;
        if (open->last == NO_NODE) index->nodes[open->node].first_guess = *node;
        else index->nodes[open->last].next_guess = *node;
    }
    open->last = *node;
    open->guess = index->nodes[*node].next_guess;
    return true;
}

static level open_level(const ledger_index *index, const packed_item *it, uint16_t node) {
    return (level){.node = node,
                   .guess = node == NO_NODE ? (uint16_t)NO_NODE : index->nodes[node].first_guess,
                   .last = NO_NODE,
                   .is_map = it->is_map,
                   .left = it->count};
}

int ledger_index_walk(ledger_index *index, const uint8_t *payload, uint32_t size, uint16_t row) {
    const uint8_t *const end = payload + size;
    level levels[DEPTH_MAX];
    packed_item it = packed_read(payload, end);
    if (it.type == 0 || !it.is_map) return LEDGER_BAD_EVENT;
    const uint8_t *p = it.next;
    size_t depth = 1;
    levels[0] = open_level(index, &it, 0);
    while (depth > 0 && index->status == LEDGER_OK) {
        level *open = &levels[depth - 1];
        if (open->left == 0) {
            depth--;
            continue;
        }
        open->left--;
        uint16_t node;
        if (!enter_child(index, open, &p, end, &node)) return LEDGER_BAD_EVENT;
        it = packed_read(p, end);
        if (it.type == 0) return LEDGER_BAD_EVENT;
        p = it.next;
        if (it.count == 0) {
            take_leaf(index, &it, node, row);
            continue;
        }
        if (depth == DEPTH_MAX) return LEDGER_BAD_EVENT;
        levels[depth++] = open_level(index, &it, node);
    }
    if (index->status != LEDGER_OK) return index->status;
    return p == end ? LEDGER_OK : LEDGER_BAD_EVENT;
}
