/* SPDX-License-Identifier: Apache-2.0 */
/* index_terms.c: leaves to terms and pairs: which values stand where, and in which rows.
 *
 * Table     open addressing, two thirds full at most, keyed hash: values are chosen by strangers. A slot is the upper half
 *           of a hash and a term; equal halves are compared byte by byte with the payload that showed the value first
 * Bound     at most pairs_max pairs are held. One more drops the path that holds most (of equals the first listed):
 *           its terms and pairs go, it is not indexed. So one event with a million numbers costs its own path, no more
 * Cost      slots are prefetched for WAITING_MAX leaves at a time: a granule's table is larger than the cache
 * See       docs/format.md "Search index"; tests/index_oracle.py */
#include <stdlib.h>

#include "index.h"

enum { SLOTS_BEGIN = 1 << 10 };

uint64_t ledger_index_value_hash(const ledger_index *index, uint16_t path, const uint8_t *value, size_t size) {
    const uint64_t hash = ledger_siphash24(index->sip_key, value, size) + path * UINT64_C(0xbf58476d1ce4e5b9);
    return (hash ^ hash >> 29) * UINT64_C(0x9e3779b97f4a7c15);
}

/* ---- table ------------------------------------------------------------------------------------------------ */

static uint64_t slot_of(uint64_t hash, uint32_t term) {
    return (hash & UINT64_C(0xffffffff00000000)) | (term + 1);
}

static bool fill_slots(ledger_index *index, uint64_t slot_count) {
    uint64_t *slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL) {
        index->status = LEDGER_NOMEM;
        return false;
    }
    free(index->slots);
    index->slots = slots;
    index->slot_mask = slot_count - 1;
    for (uint32_t term = 0; term < index->term_count; term++) {
        uint64_t at = index->terms[term].hash & index->slot_mask;
        while (slots[at] != 0) at = (at + 1) & index->slot_mask;
        slots[at] = slot_of(index->terms[term].hash, term);
    }
    return true;
}

static bool reserve_term(ledger_index *index) {
    if (index->term_count == index->term_capacity) {
        const uint32_t capacity = index->term_capacity == 0 ? 4096 : 2 * index->term_capacity;
        index_term *terms = realloc(index->terms, capacity * sizeof *terms);
        if (terms == NULL) {
            index->status = LEDGER_NOMEM;
            return false;
        }
        index->terms = terms;
        index->term_capacity = capacity;
    }
    if (index->slots != NULL && 3 * (uint64_t)(index->term_count + 1) <= 2 * (index->slot_mask + 1)) return true;
    if (index->slots != NULL) return fill_slots(index, 2 * (index->slot_mask + 1));
    uint64_t slot_count = SLOTS_BEGIN; /* a value in 64 bytes, or it grows */
    while (slot_count < index->size / 32) slot_count *= 2;
    return fill_slots(index, slot_count);
}

static bool reserve_pair(ledger_index *index) {
    if (index->pair_count < index->pair_capacity) return true;
    const uint32_t capacity = index->pair_capacity == 0 ? 16384 : 2 * index->pair_capacity;
    index_pair *pairs = realloc(index->pairs, capacity * sizeof *pairs);
    if (pairs == NULL) {
        index->status = LEDGER_NOMEM;
        return false;
    }
    index->pairs = pairs;
    index->pair_capacity = capacity;
    return true;
}

/* The term of a leaf, made when new (count 0); UINT32_MAX: no memory. */
static uint32_t find_term(ledger_index *index, const index_leaf *leaf) {
    if (!reserve_term(index)) return UINT32_MAX;
    const uint8_t *value = index->data + leaf->value_begin;
    uint64_t at = leaf->hash & index->slot_mask;
    for (; index->slots[at] != 0; at = (at + 1) & index->slot_mask) {
        if ((index->slots[at] ^ leaf->hash) >> 32 != 0) continue;
        const uint32_t found = (uint32_t)index->slots[at] - 1;
        const index_term *term = &index->terms[found];
        if (term->hash == leaf->hash && term->path == leaf->path && term->value_bytes == leaf->value_bytes &&
            memcmp(index->data + term->value_begin, value, leaf->value_bytes) == 0)
            return found;
    }
    const uint32_t made = index->term_count++;
    index->terms[made] = (index_term){.hash = leaf->hash,
                                      .value_begin = leaf->value_begin,
                                      .value_bytes = leaf->value_bytes,
                                      .path = leaf->path};
    index->slots[at] = slot_of(leaf->hash, made);
    return made;
}

/* ---- pairs ------------------------------------------------------------------------------------------------ */

/* Takes the terms and pairs of dropped paths out; numbers of terms change. */
static bool sweep(ledger_index *index) {
    uint32_t *moved = malloc(((size_t)index->term_count + 1) * sizeof *moved);
    if (moved == NULL) {
        index->status = LEDGER_NOMEM;
        return false;
    }
    uint32_t kept = 0;
    for (uint32_t term = 0; term < index->term_count; term++) {
        const bool stays = !index->paths[index->terms[term].path].dropped;
        moved[term] = stays ? kept : UINT32_MAX;
        if (stays) index->terms[kept++] = index->terms[term];
    }
    index->term_count = kept;
    uint32_t pairs = 0;
    for (uint32_t i = 0; i < index->pair_count; i++) {
        const index_pair pair = index->pairs[i];
        if (moved[pair.term] != UINT32_MAX) index->pairs[pairs++] = (index_pair){.term = moved[pair.term], .row = pair.row};
    }
    index->pair_count = pairs;
    free(moved);
    return fill_slots(index, index->slot_mask + 1);
}

static bool drop_largest(ledger_index *index) {
    index_path *largest = &index->paths[0];
    for (uint32_t i = 1; i < index->path_count; i++)
        if (index->paths[i].pairs > largest->pairs) largest = &index->paths[i];
    largest->dropped = true;
    largest->pairs = 0;
    ledger_index_leave_open(index, largest->node, LEDGER_INDEX_OPEN_LEAF);
    return sweep(index);
}

static void add_leaf(ledger_index *index, const index_leaf *leaf) {
    index_path *path = &index->paths[leaf->path];
    if (path->dropped) return;
    uint32_t found = find_term(index, leaf);
    if (found == UINT32_MAX || !reserve_pair(index)) return;
    if (index->terms[found].count > 0 && index->terms[found].last_row == leaf->row) return;
    if (index->pair_count == index->pairs_max) {
        if (!drop_largest(index) || path->dropped) return;
        found = find_term(index, leaf); /* it may have moved */
        if (found == UINT32_MAX) return;
    }
    index_term *term = &index->terms[found];
    term->count++;
    term->last_row = leaf->row;
    path->pairs++;
    index->pairs[index->pair_count++] = (index_pair){.term = found, .row = leaf->row};
}

/* The walk has asked for the slots: now the terms that they seem to name, then those terms' values. */
static void prefetch_waiting(const ledger_index *index) {
    uint32_t found[WAITING_MAX], count = 0;
    for (uint32_t i = 0; i < index->waiting_count; i++) {
        const uint64_t hash = index->waiting[i].hash, slot = index->slots[hash & index->slot_mask];
        if (slot == 0 || (slot ^ hash) >> 32 != 0) continue;
        found[count++] = (uint32_t)slot - 1;
        __builtin_prefetch(&index->terms[(uint32_t)slot - 1]);
    }
    for (uint32_t i = 0; i < count; i++) __builtin_prefetch(index->data + index->terms[found[i]].value_begin);
}

void ledger_index_flush(ledger_index *index) {
    if (index->slots != NULL) prefetch_waiting(index);
    for (uint32_t i = 0; i < index->waiting_count && index->status == LEDGER_OK; i++)
        add_leaf(index, &index->waiting[i]);
    index->waiting_count = 0;
}
