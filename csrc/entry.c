/* SPDX-License-Identifier: Apache-2.0 */
/* entry.c: rows to entries, commitments and leaf hashes; docs/format.md "Entry".
 *
 * Speed     commitments and salts run four abreast; so does the first compression of each leaf, which covers 0x00 and
 *           entry[0, 63) and knows no predecessor; only the second compression is serial, one block an entry
 * Owns      nothing: pure; no allocation; 128 entries of stack scratch at a time
 * See       tests/unit/test_entry.py against tests/plain.py */
#include <string.h>

#include "bytes.h"
#include "ledger_core.h"
#include "sha256.h"

enum { ENTRY = 104, CHUNK = 128, FRONT = 63 /* entry bytes in the first block, after 0x00 */ };

_Static_assert(1 + ENTRY == 105 && 105 - 64 + 9 <= 64, "a leaf is two blocks");

static void fill_front(uint8_t *entry, const ledger_chain *chain, uint64_t index, const ledger_row *row) {
    entry[0] = 1;
    entry[1] = row->kind;
    entry[2] = 1;
    entry[3] = row->flags;
    ledger_store_u32(entry + 4, row->bytes);
    memcpy(entry + 8, chain->ledger_id, 16);
    ledger_store_u64(entry + 24, index);
    ledger_store_u64(entry + 32, row->time);
}

/* The states after the first block of each leaf. */
static void first_blocks(const uint8_t *entries, size_t count, ledger_sha256_state *states) {
    uint8_t blocks[4][64];
    ledger_sha256_state spare[4];
    for (size_t i = 0; i < count; i += 4) {
        ledger_sha256_state *four[4];
        const uint8_t *data[4];
        for (size_t lane = 0; lane < 4; lane++) {
            size_t at = i + lane < count ? i + lane : i;
            four[lane] = i + lane < count ? &states[at] : &spare[lane];
            ledger_sha256_start(four[lane]);
            blocks[lane][0] = 0;
            memcpy(blocks[lane] + 1, entries + at * ENTRY, FRONT);
            data[lane] = blocks[lane];
        }
        ledger_sha256_blocks4(four, data, 1);
    }
}

/* Serial: each entry takes the leaf hash before it, then gives its own. */
static void second_blocks(ledger_chain *chain, uint8_t *entries, size_t count, ledger_sha256_state *states,
                          uint8_t *leaves) {
    uint8_t block[64] = {0};
    block[ENTRY - FRONT] = 0x80;
    block[62] = (uint8_t)(105 * 8 >> 8);
    block[63] = (uint8_t)(105 * 8 & 0xff);
    for (size_t i = 0; i < count; i++) {
        uint8_t *entry = entries + i * ENTRY;
        memcpy(entry + 72, i == 0 ? chain->link : leaves + (i - 1) * 32, 32);
        memcpy(block, entry + FRONT, ENTRY - FRONT);
        ledger_sha256_blocks(&states[i], block, 1);
        ledger_sha256_emit(&states[i], leaves + i * 32);
    }
    memcpy(chain->link, leaves + (count - 1) * 32, 32);
}

static void extend_chunk(ledger_chain *chain, const uint8_t seed[32], const uint8_t *data, const ledger_row *rows,
                         size_t count, uint8_t *entries, uint8_t *salts, uint8_t *leaves) {
    uint64_t offsets[CHUNK];
    uint32_t sizes[CHUNK];
    ledger_sha256_state states[CHUNK];
    for (size_t i = 0; i < count; i++) {
        offsets[i] = rows[i].offset;
        sizes[i] = rows[i].bytes;
        fill_front(entries + i * ENTRY, chain, chain->size + i, &rows[i]);
    }
    ledger_sha256_salts(seed, chain->size, count, salts);
    ledger_sha256_commitments(salts, data, offsets, sizes, count, entries + 40, ENTRY);
    first_blocks(entries, count, states);
    second_blocks(chain, entries, count, states, leaves);
    chain->size += count;
    chain->time = rows[count - 1].time;
}

void ledger_chain_extend(ledger_chain *chain, const uint8_t seed[32], const uint8_t *data, const ledger_row *rows,
                         size_t count, uint8_t *entries, uint8_t *salts, uint8_t *leaves) {
    for (size_t at = 0; at < count; at += CHUNK) {
        size_t part = count - at < CHUNK ? count - at : CHUNK;
        extend_chunk(chain, seed, data, rows + at, part, entries + at * ENTRY, salts + at * 16, leaves + at * 32);
    }
}
