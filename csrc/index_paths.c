/* SPDX-License-Identifier: Apache-2.0 */
/* index_paths.c: the tree of keys of a granule, and the list of paths that leaves stand at.
 *
 * First     a path is listed in the order of its first leaf; at most paths_max, each of at most PATH_BYTES_MAX packed
 *           bytes. Leaves elsewhere are not indexed, and the descriptor says so (capped)
 * Guess     events of one kind have their keys in one order: each node remembers which sibling came next, so a key
 *           costs one memcmp; else a keyed hash finds it, since keys are chosen by strangers
 * Owns      nodes, slots and bytes inside the ledger_index
 * See       docs/format.md "Search index"; tests/unit/test_index_build.py */
#include <stdlib.h>

#include "index.h"

uint8_t *ledger_index_room(index_bytes *out, size_t more) {
    if (out->failed) return NULL;
    if (more > out->capacity - out->size) {
        size_t capacity = out->capacity < 4096 ? 4096 : out->capacity;
        while (capacity - out->size < more && capacity <= SIZE_MAX / 4) capacity *= 2;
        uint8_t *bytes = capacity - out->size < more ? NULL : realloc(out->bytes, capacity);
        if (bytes == NULL) {
            out->failed = true;
            return NULL;
        }
        out->bytes = bytes;
        out->capacity = capacity;
    }
    uint8_t *room = out->bytes + out->size;
    out->size += more;
    return room;
}

void ledger_index_put(index_bytes *out, const void *bytes, size_t size) {
    uint8_t *room = ledger_index_room(out, size);
    if (room != NULL && size > 0) memcpy(room, bytes, size);
}

void ledger_index_put_u32(index_bytes *out, uint32_t value) {
    uint8_t *room = ledger_index_room(out, 4);
    if (room != NULL) ledger_store_u32(room, value);
}

/* ---- nodes ------------------------------------------------------------------------------------------------ */

static uint16_t add_node(ledger_index *index, uint16_t parent, const uint8_t *key, size_t key_bytes) {
    const index_node *above = &index->nodes[parent];
    if (index->path_count == index->paths_max || index->node_count == NODES_MAX ||
        key_bytes > PATH_BYTES_MAX - above->path_bytes) {
        ledger_index_leave_open(index, parent, *key == 0xc0 ? LEDGER_INDEX_OPEN_NIL : LEDGER_INDEX_OPEN_KEYS);
        return NO_NODE;
    }
    const uint32_t begin = (uint32_t)index->keys.size;
    ledger_index_put(&index->keys, key, key_bytes);
    if (index->keys.failed) {
        index->status = LEDGER_NOMEM;
        return NO_NODE;
    }
    const uint16_t made = (uint16_t)index->node_count++;
    index->nodes[made] = (index_node){.key_begin = begin,
                                      .key_bytes = (uint32_t)key_bytes,
                                      .parent = parent,
                                      .path = NO_PATH,
                                      .nil_child = NO_NODE,
                                      .first_guess = NO_NODE,
                                      .next_guess = NO_NODE,
                                      .elements = (uint8_t)(above->elements + 1),
                                      .path_bytes = above->path_bytes + (uint32_t)key_bytes};
    return made;
}

static bool has_key(const ledger_index *index, uint16_t node, const uint8_t *key, size_t key_bytes) {
    const index_node *n = &index->nodes[node];
    return n->key_bytes == key_bytes && memcmp(index->keys.bytes + n->key_begin, key, key_bytes) == 0;
}

uint16_t ledger_index_child(ledger_index *index, uint16_t parent, const uint8_t *key, size_t key_bytes) {
    if (key_bytes > PATH_BYTES_MAX) { /* before hashing what cannot be there */
        ledger_index_leave_open(index, parent, LEDGER_INDEX_OPEN_KEYS);
        return NO_NODE;
    }
    uint64_t hash = ledger_siphash24(index->sip_key, key, key_bytes) + parent * UINT64_C(0x9e3779b97f4a7c15);
    for (uint64_t at = hash;; at++) {
        uint16_t *slot = &index->node_slots[at & (NODE_SLOTS - 1)];
        if (*slot == 0) {
            const uint16_t made = add_node(index, parent, key, key_bytes);
            if (made != NO_NODE) *slot = made;
            return made;
        }
        if (index->nodes[*slot].parent == parent && has_key(index, *slot, key, key_bytes)) return *slot;
    }
}

uint16_t ledger_index_nil_child(ledger_index *index, uint16_t parent) {
    static const uint8_t nil[1] = {0xc0};
    if (index->nodes[parent].nil_child == NO_NODE) index->nodes[parent].nil_child = add_node(index, parent, nil, 1);
    return index->nodes[parent].nil_child;
}

/* ---- paths ------------------------------------------------------------------------------------------------ */

/* The packed elements of the path to a node; they end at `end`. */
static void put_elements(const ledger_index *index, uint16_t node, uint8_t *end) {
    for (uint16_t n = node; n != 0; n = index->nodes[n].parent) {
        end -= index->nodes[n].key_bytes;
        memcpy(end, index->keys.bytes + index->nodes[n].key_begin, index->nodes[n].key_bytes);
    }
}

/* 0x10, index key, array of the elements and one value, elements. */
static void put_prefix(ledger_index *index, index_path *path, uint16_t node) {
    const index_node *end = &index->nodes[node];
    const uint32_t header_bytes = end->elements + 1 > 15 ? 3 : 1;
    path->prefix_begin = (uint32_t)index->prefixes.size;
    path->prefix_bytes = 1 + KEY_BYTES + header_bytes + end->path_bytes;
    path->elements = end->elements;
    uint8_t *p = ledger_index_room(&index->prefixes, path->prefix_bytes);
    if (p == NULL) return;
    p[0] = 0x10;
    memcpy(p + 1, index->key, KEY_BYTES);
    uint8_t *header = p + 1 + KEY_BYTES;
    header[0] = header_bytes == 1 ? (uint8_t)(0x90 | (path->elements + 1)) : 0xdc;
    if (header_bytes == 3) {
        header[1] = 0;
        header[2] = (uint8_t)(path->elements + 1);
    }
    put_elements(index, node, p + path->prefix_bytes);
}

uint16_t ledger_index_path_at(ledger_index *index, uint16_t node) {
    index_node *end = &index->nodes[node];
    if (end->path == NO_PATH) {
        if (index->path_count == index->paths_max) {
            ledger_index_leave_open(index, node, LEDGER_INDEX_OPEN_LEAF);
            return NO_PATH;
        }
        index_path *path = &index->paths[index->path_count];
        path->present = calloc((index->row_count + 63) / 64, sizeof *path->present);
        path->node = node;
        put_prefix(index, path, node);
        if (path->present == NULL || index->prefixes.failed) {
            index->status = LEDGER_NOMEM;
            return NO_PATH;
        }
        end->path = (uint16_t)index->path_count++;
    }
    return index->paths[end->path].dropped ? NO_PATH : end->path;
}

/* Per open node: u8 bits, u8 elements, u16 bytes of the elements, the packed elements. */
void ledger_index_put_open(ledger_index *index) {
    for (uint32_t i = 0; i < index->node_count; i++) {
        const index_node *node = &index->nodes[i];
        if (node->open == 0) continue;
        uint8_t *p = ledger_index_room(&index->sections[LEDGER_INDEX_OPEN], 4 + (size_t)node->path_bytes);
        if (p == NULL) return;
        p[0] = node->open;
        p[1] = node->elements;
        ledger_store_u16(p + 2, (uint16_t)node->path_bytes);
        put_elements(index, (uint16_t)i, p + 4 + node->path_bytes);
    }
}
