/* SPDX-License-Identifier: Apache-2.0 */
/* block_check.c: runs of blocks of a sealed file, checked: the frames before they are decompressed, the entries after.
 *
 * Frame     RFC 8878 3.1.1: magic, descriptor, window, dictionary id, content size, then data blocks of 3 + n bytes up
 *           to the one marked last, then an optional checksum. Walking the headers alone tells whether the bytes are
 *           exactly one frame, which decompressors do not: they stop at its end and say nothing of what follows
 * Row       0: u32 compressed, 4: u32 raw, 8: u32 CRC32C, 12: u8 j, 13: 3 zero, 16: leaf hash before, 48: root
 * Owns      nothing: pure functions over the caller's buffers; no allocation, no I/O
 * See       docs/format.md 7; block_cut.c goes the other way; tests/unit/test_sealed.py, test_block.py */
#include <string.h>

#include "bytes.h"
#include "ledger_core.h"

enum { BLOCK_LEVEL_MAX = 7, BLOCK_COUNT_MAX = 1 << BLOCK_LEVEL_MAX, ROW_BYTES = 80 };
enum { ROW_RAW = 4, ROW_CRC = 8, ROW_LEVEL = 12, ROW_LINK = 16, ROW_ROOT = 48 };
enum { NODE_LEVEL_MIN = 8, NODE_LEVELS = 64 };

static const uint32_t FRAME_MAGIC = UINT32_C(0xFD2FB528);
static const uint64_t WINDOW_MAX = UINT64_C(8) << 20;

typedef struct {
    uint64_t header_bytes;
    uint64_t window;
    uint64_t content_bytes;
    uint64_t checksum_bytes;
} frame_header;

static uint64_t load_sized(const uint8_t *p, unsigned size) {
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)p[i] << 8 * i;
    }
    return value;
}

/* False when the bytes are no frame header with a declared content size. */
static bool frame_header_read(const uint8_t *frame, uint64_t size, frame_header *header) {
    static const uint8_t dictionary_id_bytes[4] = {0, 1, 2, 4};
    if (size < 5 || ledger_load_u32(frame) != FRAME_MAGIC) {
        return false;
    }
    const uint8_t descriptor = frame[4];
    const bool single_segment = (descriptor & 0x20) != 0;
    const unsigned window_bytes = single_segment ? 0 : 1;
    const unsigned id_bytes = dictionary_id_bytes[descriptor & 3];
    const unsigned size_flag = descriptor >> 6;
    const unsigned content_size_bytes = size_flag == 0 ? (single_segment ? 1U : 0U) : 1U << size_flag;
    header->header_bytes = 5U + window_bytes + id_bytes + content_size_bytes;
    if ((descriptor & 0x08) != 0 || content_size_bytes == 0 || header->header_bytes > size) {
        return false;
    }
    header->checksum_bytes = (descriptor & 0x04) != 0 ? 4 : 0;
    header->content_bytes = load_sized(frame + 5 + window_bytes + id_bytes, content_size_bytes);
    header->content_bytes += size_flag == 1 ? 256 : 0;
    header->window = header->content_bytes;
    if (!single_segment) {
        const uint64_t base = UINT64_C(1) << (10 + (frame[5] >> 3));
        header->window = base + base / 8 * (frame[5] & 7);
    }
    return true;
}

/* Exactly one frame of raw_bytes, with a window that a reader may be asked to hold. */
static bool frame_is_sound(const uint8_t *frame, uint64_t size, uint64_t raw_bytes) {
    frame_header header;
    if (!frame_header_read(frame, size, &header) || header.content_bytes != raw_bytes || header.window > WINDOW_MAX) {
        return false;
    }
    uint64_t at = header.header_bytes;
    bool last = false;
    while (!last) {
        if (size - at < 3) {
            return false;
        }
        const uint32_t word = (uint32_t)load_sized(frame + at, 3);
        const uint32_t type = word >> 1 & 3; /* raw, one repeated byte, compressed, reserved */
        const uint64_t bytes = type == 1 ? 1 : word >> 3;
        last = (word & 1) != 0;
        at += 3;
        if (type == 3 || size - at < bytes) {
            return false;
        }
        at += bytes;
    }
    return size - at == header.checksum_bytes;
}

int ledger_frames_check(const uint8_t *frames, uint64_t size, const uint8_t *rows, uint64_t block_count,
                        uint64_t *fault_block) {
    for (uint64_t k = 0; k < block_count; k++, rows += ROW_BYTES) {
        const uint64_t bytes = ledger_load_u32(rows);
        *fault_block = k;
        if (bytes > size || ledger_crc32c(0, frames, bytes) != ledger_load_u32(rows + ROW_CRC) ||
            !frame_is_sound(frames, bytes, ledger_load_u32(rows + ROW_RAW))) {
            return LEDGER_CORRUPT;
        }
        frames += bytes;
        size -= bytes;
    }
    *fault_block = block_count;
    return size == 0 ? LEDGER_OK : LEDGER_CORRUPT;
}

/* One block against its row; moves the chain on. */
static int block_against_row(const uint8_t *raw, const uint8_t *row, const uint8_t seed[32], ledger_chain *chain,
                             uint8_t *leaves, ledger_blocks_facts *facts) {
    uint8_t root[32];
    uint32_t count = 0, events = 0;
    if (row[ROW_LEVEL] > BLOCK_LEVEL_MAX) {
        return LEDGER_USAGE;
    }
    facts->fault_row = 0;
    facts->fault = LEDGER_BLOCK_LINK;
    if (memcmp(row + ROW_LINK, chain->link, 32) != 0) {
        return LEDGER_CORRUPT;
    }
    facts->fault = LEDGER_BLOCK_ENTRY;
    const int status = ledger_block_check(raw, ledger_load_u32(row + ROW_RAW), seed, chain, leaves, root, &count,
                                          &events, &facts->time_min, &facts->time_max, &facts->fault_row);
    if (status != LEDGER_OK) {
        return status;
    }
    facts->event_count += events;
    facts->fault_row = 0;
    facts->fault = LEDGER_BLOCK_COUNT;
    if (count != UINT32_C(1) << row[ROW_LEVEL]) {
        return LEDGER_CORRUPT;
    }
    facts->fault = LEDGER_BLOCK_ROOT;
    return memcmp(row + ROW_ROOT, root, 32) == 0 ? LEDGER_OK : LEDGER_CORRUPT;
}

int ledger_blocks_check(const uint8_t *raw, uint64_t size, const uint8_t *rows, uint64_t block_count,
                        const uint8_t seed[32], ledger_chain *chain, uint8_t *leaves, ledger_blocks_facts *facts) {
    uint8_t scratch[BLOCK_COUNT_MAX * 32]; /* a block may hold more entries than its row says */
    facts->event_count = 0;
    facts->time_min = UINT64_MAX;
    facts->time_max = 0;
    for (uint64_t k = 0; k < block_count; k++, rows += ROW_BYTES) {
        const uint64_t bytes = ledger_load_u32(rows + ROW_RAW);
        if (bytes > size) {
            return LEDGER_USAGE;
        }
        facts->fault_block = k;
        const int status = block_against_row(raw, rows, seed, chain, scratch, facts);
        if (status != LEDGER_OK) {
            return status;
        }
        const size_t leaf_bytes = (size_t)32 << rows[ROW_LEVEL];
        memcpy(leaves, scratch, leaf_bytes);
        leaves += leaf_bytes;
        raw += bytes;
        size -= bytes;
    }
    facts->fault = LEDGER_BLOCK_SOUND;
    return size == 0 ? LEDGER_OK : LEDGER_USAGE;
}

/* Where each level's next node goes: level by level, as the nodes section has them. */
static void node_places(uint64_t base, uint64_t end, uint8_t *nodes, uint8_t *places[NODE_LEVELS]) {
    for (unsigned level = NODE_LEVEL_MIN; level < NODE_LEVELS; level++) {
        places[level] = nodes;
        nodes += ((end >> level) - (base >> level)) * 32;
    }
}

int ledger_blocks_nodes(ledger_range *range, const uint8_t *rows, uint64_t block_count, uint8_t *nodes) {
    uint8_t *places[NODE_LEVELS] = {NULL};
    uint64_t end = range->size;
    for (uint64_t k = 0; k < block_count; k++) {
        const unsigned level = rows[k * ROW_BYTES + ROW_LEVEL];
        if (level > BLOCK_LEVEL_MAX || (end & ((UINT64_C(1) << level) - 1)) != 0) {
            return LEDGER_USAGE;
        }
        end += UINT64_C(1) << level;
    }
    if (end >> 63 != 0) {
        return LEDGER_USAGE;
    }
    node_places(range->size, end, nodes, places);
    for (uint64_t k = 0; k < block_count; k++, rows += ROW_BYTES) {
        unsigned level = rows[ROW_LEVEL];
        uint8_t pair[65] = {1};
        memcpy(pair + 33, rows + ROW_ROOT, 32);
        const uint64_t size = range->size;
        for (; (size >> level & 1) != 0; level++) {
            memcpy(pair + 1, range->peaks + (size_t)--range->count * 32, 32);
            ledger_sha256(pair, sizeof pair, pair + 33);
            if (level + 1 >= NODE_LEVEL_MIN) {
                memcpy(places[level + 1], pair + 33, 32);
                places[level + 1] += 32;
            }
        }
        memcpy(range->peaks + (size_t)range->count++ * 32, pair + 33, 32);
        range->size = size + (UINT64_C(1) << rows[ROW_LEVEL]);
    }
    return LEDGER_OK;
}
