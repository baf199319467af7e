/* SPDX-License-Identifier: Apache-2.0 */
/* frame.c: headers of active files and batches to bytes and back; docs/format.md "Active file".
 *
 * Valid     a header is valid when magic, version, every reserved byte, every bound and its checks hold; a batch
 *           header's check is keyed and covers where it lies, so no payload forges one             [FRAME-1, FRAME-2]
 * Owns      nothing: pure; no allocation
 * See       tests/unit/test_frame.py */
#include <string.h>

#include "bytes.h"
#include "ledger_core.h"

enum {
    PEAKS_MAX = 64,
    HEADER = 4096,
    ALIGNMENT = 512,
    PEAKS_AT = 248,
    PEAKS_END = 2296,
    ZERO_AT = 2304,
    HASH_AT = 4056,
    CRC_AT = 4088,
    BATCH = 64,
    SIP_AT = 56,
    BODY_BYTES_MAX = (64 << 20) + (16 << 20)
};

static const uint8_t active_magic[8] = {0x89, 'L', 'G', 'A', '\r', '\n', 0x1a, '\n'};
static const uint8_t batch_magic[4] = {'L', 'G', 'B', '1'};

static int all_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0) {
            return 0;
        }
    }
    return 1;
}

void ledger_active_header_encode(const ledger_active_header *header, uint8_t bytes[4096]) {
    memset(bytes, 0, HEADER);
    memcpy(bytes, active_magic, 8);
    bytes[8] = 1; /* major 1, minor 0 */
    ledger_store_u32(bytes + 12, ALIGNMENT);
    memcpy(bytes + 16, header->fingerprint, 32);
    ledger_store_u64(bytes + 48, header->segno);
    ledger_store_u64(bytes + 56, header->base);
    memcpy(bytes + 64, header->root, 32);
    memcpy(bytes + 96, header->link, 32);
    memcpy(bytes + 128, header->salt, 16);
    memcpy(bytes + 144, header->seed, 32);
    ledger_store_u64(bytes + 176, header->created_ns);
    memcpy(bytes + 184, header->boot_id, 16);
    ledger_store_u64(bytes + 200, header->file_bytes);
    ledger_store_u64(bytes + 208, header->segment_bytes_max);
    ledger_store_u64(bytes + 216, header->segment_entries_max);
    ledger_store_u64(bytes + 224, header->segment_age_max_ns);
    ledger_store_u32(bytes + 232, header->event_bytes_max);
    ledger_store_u32(bytes + 244, header->peak_count);
    /* A count that no base has is encoded as it is, for decode to refuse; it must not carry the copy out of bounds. */
    uint32_t peaks = header->peak_count <= PEAKS_MAX ? header->peak_count : PEAKS_MAX;
    memcpy(bytes + PEAKS_AT, header->peaks, (size_t)peaks * 32);
    ledger_store_u64(bytes + PEAKS_END, header->time_before);
    ledger_sha256(bytes, HASH_AT, bytes + HASH_AT);
    ledger_store_u32(bytes + CRC_AT, ledger_crc32c(0, bytes, CRC_AT));
}

int ledger_active_header_decode(const uint8_t bytes[4096], ledger_active_header *header) {
    uint8_t hash[32];
    ledger_sha256(bytes, HASH_AT, hash);
    if (memcmp(bytes, active_magic, 8) != 0 || memcmp(hash, bytes + HASH_AT, 32) != 0 ||
        ledger_load_u32(bytes + CRC_AT) != ledger_crc32c(0, bytes, CRC_AT) || !all_zero(bytes + CRC_AT + 4, 4)) {
        return LEDGER_CORRUPT;
    }
    if (bytes[8] != 1 || bytes[9] != 0 || ledger_load_u32(bytes + 236) != 0) {
        return LEDGER_USAGE; /* sound, but of a version we do not know */
    }
    memset(header, 0, sizeof *header);
    memcpy(header->fingerprint, bytes + 16, 32);
    header->segno = ledger_load_u64(bytes + 48);
    header->base = ledger_load_u64(bytes + 56);
    memcpy(header->root, bytes + 64, 32);
    memcpy(header->link, bytes + 96, 32);
    memcpy(header->salt, bytes + 128, 16);
    memcpy(header->seed, bytes + 144, 32);
    header->created_ns = ledger_load_u64(bytes + 176);
    memcpy(header->boot_id, bytes + 184, 16);
    header->file_bytes = ledger_load_u64(bytes + 200);
    header->segment_bytes_max = ledger_load_u64(bytes + 208);
    header->segment_entries_max = ledger_load_u64(bytes + 216);
    header->segment_age_max_ns = ledger_load_u64(bytes + 224);
    header->event_bytes_max = ledger_load_u32(bytes + 232);
    header->peak_count = ledger_load_u32(bytes + 244);
    memcpy(header->peaks, bytes + PEAKS_AT, sizeof header->peaks);
    header->time_before = ledger_load_u64(bytes + PEAKS_END);
    size_t used = PEAKS_AT + (size_t)header->peak_count * 32;
    int sound = header->peak_count == (uint32_t)__builtin_popcountll(header->base) && header->file_bytes >= 2 * HEADER &&
                header->file_bytes % ALIGNMENT == 0 && ledger_load_u32(bytes + 12) == ALIGNMENT &&
                all_zero(bytes + used, PEAKS_END - used) && all_zero(bytes + ZERO_AT, HASH_AT - ZERO_AT);
    return sound ? LEDGER_OK : LEDGER_CORRUPT;
}

static uint64_t keyed_check(const uint8_t bytes[BATCH], const uint8_t salt[16], uint64_t segno, uint64_t offset) {
    uint8_t message[16 + SIP_AT];
    ledger_store_u64(message, segno);
    ledger_store_u64(message + 8, offset);
    memcpy(message + 16, bytes, SIP_AT);
    return ledger_siphash24(salt, message, sizeof message);
}

void ledger_batch_header_encode(const ledger_batch_header *batch, const uint8_t salt[16], uint64_t segno,
                                uint64_t offset, uint8_t bytes[64]) {
    memset(bytes, 0, BATCH);
    memcpy(bytes, batch_magic, 4);
    bytes[4] = 1;
    ledger_store_u32(bytes + 8, batch->body_bytes);
    ledger_store_u32(bytes + 12, batch->count);
    ledger_store_u64(bytes + 16, batch->base);
    ledger_store_u64(bytes + 24, batch->synced_end);
    ledger_store_u64(bytes + 32, batch->time);
    ledger_store_u32(bytes + 40, batch->incarnation);
    ledger_store_u32(bytes + 48, batch->body_crc);
    ledger_store_u64(bytes + SIP_AT, keyed_check(bytes, salt, segno, offset));
}

int ledger_batch_header_decode(const uint8_t bytes[64], const uint8_t salt[16], uint64_t segno, uint64_t offset,
                               ledger_batch_header *batch) {
    static const uint8_t version[4] = {1, 0, 0, 0};
    if (memcmp(bytes, batch_magic, 4) != 0 || memcmp(bytes + 4, version, 4) != 0 ||
        ledger_load_u64(bytes + SIP_AT) != keyed_check(bytes, salt, segno, offset)) {
        return LEDGER_CORRUPT;
    }
    batch->body_bytes = ledger_load_u32(bytes + 8);
    batch->count = ledger_load_u32(bytes + 12);
    batch->base = ledger_load_u64(bytes + 16);
    batch->synced_end = ledger_load_u64(bytes + 24);
    batch->time = ledger_load_u64(bytes + 32);
    batch->incarnation = ledger_load_u32(bytes + 40);
    batch->body_crc = ledger_load_u32(bytes + 48);
    int sound = batch->count > 0 && batch->body_bytes <= BODY_BYTES_MAX && batch->body_bytes % 8 == 0 &&
                batch->body_bytes >= 32 + (uint64_t)batch->count * 8 && all_zero(bytes + 44, 4) &&
                all_zero(bytes + 52, 4) && batch->base + batch->count > batch->base;
    return sound ? LEDGER_OK : LEDGER_CORRUPT;
}
