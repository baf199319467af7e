/* SPDX-License-Identifier: Apache-2.0 */
/* merkle.c: compact ranges of RFC 6962 trees; roots over leaf hashes.
 *
 * Range     the perfect subtrees given by the bits set in size, largest first; to push a leaf, put it last and merge
 *           while the size's trailing bits are ones                                     (RFC 6962 2.1)
 * Owns      nothing: pure; no allocation
 * See       tests/unit/test_range.py, against the recursion of RFC 6962 2.1 */
#include <string.h>

#include "ledger_core.h"
#include "sha256.h"

enum { CHUNK = 256, CHUNK_LEVEL = 8 };

static void push_subtree(ledger_range *range, const uint8_t root[32], unsigned level) {
    uint8_t pair[64];
    uint64_t nodes = range->size >> level;
    memcpy(pair + 32, root, 32);
    while (nodes & 1) {
        memcpy(pair, range->peaks + (size_t)(--range->count) * 32, 32);
        ledger_sha256_nodes(pair, 1, pair + 32);
        nodes >>= 1;
    }
    memcpy(range->peaks + (size_t)range->count++ * 32, pair + 32, 32);
    range->size += UINT64_C(1) << level;
}

/* The root of 2^level leaf hashes in `hashes`, which it overwrites: whole levels at a time, four nodes abreast. */
static void reduce(uint8_t *hashes, unsigned level) {
    for (size_t nodes = (size_t)1 << level; nodes > 1; nodes /= 2) {
        ledger_sha256_nodes(hashes, nodes / 2, hashes);
    }
}

void ledger_range_push(ledger_range *range, const uint8_t *leaves, size_t count) {
    uint8_t chunk[CHUNK * 32];
    while (count > 0) {
        unsigned level = 0;
        while (level < CHUNK_LEVEL && (range->size >> level & 1) == 0 && (size_t)2 << level <= count) {
            level++;
        }
        size_t taken = (size_t)1 << level;
        memcpy(chunk, leaves, taken * 32);
        reduce(chunk, level);
        push_subtree(range, chunk, level);
        leaves += taken * 32;
        count -= taken;
    }
}

void ledger_range_root(const ledger_range *range, uint8_t root[32]) {
    uint8_t pair[64];
    if (range->count == 0) {
        ledger_sha256((const uint8_t *)"", 0, root);
        return;
    }
    memcpy(pair + 32, range->peaks + (size_t)(range->count - 1) * 32, 32);
    for (uint32_t i = range->count - 1; i > 0; i--) {
        memcpy(pair, range->peaks + (size_t)(i - 1) * 32, 32);
        ledger_sha256_nodes(pair, 1, pair + 32);
    }
    memcpy(root, pair + 32, 32);
}

void ledger_leaves_root(uint8_t *leaves, size_t count, uint8_t root[32]) {
    /* Pairing level by level, an odd last node moving up unchanged, gives the tree of RFC 6962 2.1. */
    while (count > 1) {
        ledger_sha256_nodes(leaves, count / 2, leaves);
        if (count % 2) {
            memmove(leaves + count / 2 * 32, leaves + (count - 1) * 32, 32);
        }
        count = count / 2 + count % 2;
    }
    memcpy(root, leaves, 32);
}
