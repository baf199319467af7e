/* SPDX-License-Identifier: Apache-2.0 */
/* index_build.c: one granule from rows to sorted terms, and what the caller may ask of the result.
 *
 * Limits    rows, bytes, paths_max and pairs_max are checked first; all later sizes follow from them
 * Fails     LEDGER_NOMEM and LEDGER_BAD_EVENT leave nothing behind
 * Owns      makes and frees a ledger_index; see index.h
 * See       docs/format.md "Search index"; ledger/index/build.py; tests/unit/test_index_build.py */
#include <stdlib.h>

#include "index.h"

static int start(ledger_index *index) {
    index->nodes = malloc(NODES_MAX * sizeof *index->nodes);
    index->node_slots = calloc(NODE_SLOTS, sizeof *index->node_slots);
    if (index->nodes == NULL || index->node_slots == NULL) return LEDGER_NOMEM;
    index->nodes[0] = (index_node){.parent = NO_NODE,
                                   .path = NO_PATH,
                                   .nil_child = NO_NODE,
                                   .first_guess = NO_NODE,
                                   .next_guess = NO_NODE};
    index->node_count = 1;
    return LEDGER_OK;
}

static int walk_rows(ledger_index *index) {
    for (uint32_t i = 0; i < index->row_count; i++) {
        const ledger_row *row = &index->rows[i];
        if (row->offset > index->size || row->bytes > index->size - row->offset) return LEDGER_USAGE;
        if (row->kind != 0) continue;
        index->event_count++;
        const int status = ledger_index_walk(index, index->data + row->offset, row->bytes, (uint16_t)i);
        if (status != LEDGER_OK) return status;
    }
    ledger_index_flush(index);
    return index->status;
}

int ledger_index_build(const uint8_t *data, uint64_t size, const ledger_row *rows, uint32_t row_count,
                       const uint8_t key[16], const uint8_t sip_key[16], uint32_t paths_max, uint32_t pairs_max,
                       ledger_index **out, ledger_index_facts *facts) {
    *out = NULL;
    if (row_count > ROWS_MAX || size > UINT32_MAX || paths_max > PATHS_MAX || pairs_max == 0 ||
        pairs_max > UINT32_C(1) << 30)
        return LEDGER_USAGE;
    ledger_index *index = calloc(1, sizeof *index);
    if (index == NULL) return LEDGER_NOMEM;
    index->data = data;
    index->size = size;
    index->rows = rows;
    index->row_count = row_count;
    index->paths_max = paths_max;
    index->pairs_max = pairs_max;
    memcpy(index->key, key, KEY_BYTES);
    memcpy(index->sip_key, sip_key, KEY_BYTES);
    int status = start(index);
    if (status == LEDGER_OK) status = walk_rows(index);
    if (status == LEDGER_OK) status = ledger_index_sort(index);
    if (status != LEDGER_OK) {
        ledger_index_free(index);
        return status;
    }
    *facts = (ledger_index_facts){.path_count = index->path_count,
                                  .term_count = index->sorted_count,
                                  .event_count = index->event_count,
                                  .is_complete = !index->capped};
    *out = index;
    return LEDGER_OK;
}

void ledger_index_free(ledger_index *index) {
    if (index == NULL) return;
    for (uint32_t i = 0; i < PATHS_MAX; i++) free(index->paths[i].present);
    for (uint32_t i = 0; i < LEDGER_INDEX_SECTIONS; i++) free(index->sections[i].bytes);
    free(index->nodes);
    free(index->node_slots);
    free(index->keys.bytes);
    free(index->prefixes.bytes);
    free(index->terms);
    free(index->slots);
    free(index->pairs);
    free(index->hashes);
    free(index->sorted);
    free(index->postings);
    free(index);
}

int ledger_index_path(const ledger_index *index, uint32_t at, ledger_index_path_facts *facts) {
    if (at >= index->path_count) return LEDGER_USAGE;
    const index_path *path = &index->paths[at];
    const uint32_t front = 1 + KEY_BYTES + (path->elements + 1 > 15 ? 3 : 1);
    *facts = (ledger_index_path_facts){.elements = index->prefixes.bytes + path->prefix_begin + front,
                                       .elements_bytes = path->prefix_bytes - front,
                                       .element_count = path->elements,
                                       .is_dropped = path->dropped,
                                       .types = path->types,
                                       .rows = path->rows,
                                       .multi = path->multi,
                                       .single = path->single};
    return LEDGER_OK;
}

int ledger_index_section_bytes(const ledger_index *index, uint32_t section, const uint8_t **bytes, uint64_t *size) {
    if (section >= LEDGER_INDEX_SECTIONS) return LEDGER_USAGE;
    *bytes = index->sections[section].bytes;
    *size = index->sections[section].size;
    return LEDGER_OK;
}

int ledger_index_rows(const uint8_t *raw, uint64_t size, const uint64_t *raw_bytes, uint64_t block_count, uint64_t skip,
                      ledger_row *rows, uint32_t row_max, uint32_t *row_count) {
    ledger_row block[128];
    uint64_t at = 0;
    *row_count = 0;
    for (uint64_t i = 0; i < block_count; i++) {
        uint32_t count = 0;
        if (raw_bytes[i] > size - at || ledger_block_decode(raw + at, raw_bytes[i], block, &count) != LEDGER_OK)
            return LEDGER_CORRUPT;
        for (uint32_t k = 0; k < count; k++) {
            if (skip > 0) {
                skip--;
                continue;
            }
            if (*row_count == row_max) break;
            rows[*row_count] = block[k];
            rows[(*row_count)++].offset += at;
        }
        at += raw_bytes[i];
    }
    return at == size ? LEDGER_OK : LEDGER_CORRUPT;
}
