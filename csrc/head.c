/* SPDX-License-Identifier: Apache-2.0 */
/* head.c: the two slots of HEAD, docs/format.md "HEAD".
 *
 * Valid     a slot is valid when magic, peak count and CRC32C hold; the higher generation counts
 * Why two   a torn write spoils one slot; the other still is a sound lower bound, being older               [HEAD-1]
 * See       tests/unit/test_recover.py, tests/corrupt/test_flip_every_byte.py */
#include <stdatomic.h>
#include <string.h>

#include "bytes.h"
#include "core.h"

enum { SLOT_BYTES = 4096, FIXED_BYTES = 136, CRC_OFFSET = 132, SLOT_USED_MAX = FIXED_BYTES + 2048 };

static const uint8_t magic[8] = "LGHEAD1";

_Static_assert(SLOT_USED_MAX <= SLOT_BYTES, "a slot holds 64 peaks");

static uint32_t slot_crc(const uint8_t *slot, uint32_t peaks) {
    uint32_t crc = ledger_crc32c(0, slot, CRC_OFFSET);
    return ledger_crc32c(crc, slot + FIXED_BYTES, (size_t)peaks * 32);
}

static size_t encode(const ledger_head *head, uint8_t slot[SLOT_USED_MAX]) {
    memcpy(slot, magic, 8);
    ledger_store_u64(slot + 8, head->generation);
    memcpy(slot + 16, head->boot_id, 16);
    ledger_store_u64(slot + 32, head->segno);
    ledger_store_u64(slot + 40, head->written_end);
    ledger_store_u64(slot + 48, head->written_size);
    ledger_store_u64(slot + 56, head->synced_end);
    ledger_store_u64(slot + 64, head->synced_size);
    ledger_store_u32(slot + 72, head->incarnation);
    ledger_store_u32(slot + 76, head->flags);
    ledger_store_u64(slot + 80, (uint64_t)head->wall_minus_boot_ns);
    ledger_store_u64(slot + 88, head->time);
    memcpy(slot + 96, head->link, 32);
    ledger_store_u32(slot + 128, head->range.count);
    memcpy(slot + FIXED_BYTES, head->range.peaks, (size_t)head->range.count * 32);
    ledger_store_u32(slot + CRC_OFFSET, slot_crc(slot, head->range.count));
    return FIXED_BYTES + (size_t)head->range.count * 32;
}

static bool decode(const uint8_t *slot, ledger_head *head) {
    uint32_t peaks = ledger_load_u32(slot + 128);
    if (memcmp(slot, magic, 8) != 0 || peaks > 64 || ledger_load_u32(slot + CRC_OFFSET) != slot_crc(slot, peaks)) {
        return false;
    }
    memset(head, 0, sizeof *head);
    head->generation = ledger_load_u64(slot + 8);
    memcpy(head->boot_id, slot + 16, 16);
    head->segno = ledger_load_u64(slot + 32);
    head->written_end = ledger_load_u64(slot + 40);
    head->written_size = ledger_load_u64(slot + 48);
    head->synced_end = ledger_load_u64(slot + 56);
    head->synced_size = ledger_load_u64(slot + 64);
    head->incarnation = ledger_load_u32(slot + 72);
    head->flags = ledger_load_u32(slot + 76);
    head->wall_minus_boot_ns = (int64_t)ledger_load_u64(slot + 80);
    head->time = ledger_load_u64(slot + 88);
    memcpy(head->link, slot + 96, 32);
    head->range.size = head->written_size;
    head->range.count = peaks;
    memcpy(head->range.peaks, slot + FIXED_BYTES, (size_t)peaks * 32);
    return peaks == (uint32_t)__builtin_popcountll(head->written_size) && head->synced_end <= head->written_end &&
           head->synced_size <= head->written_size;
}

int ledger_head_parse(const uint8_t *bytes, ledger_head *head) {
    ledger_head other;
    bool first = decode(bytes, head);
    bool second = decode(bytes + SLOT_BYTES, &other);
    if (second && (!first || other.generation > head->generation)) {
        *head = other;
    }
    head->valid_slots = (uint32_t)first + (uint32_t)second;
    return first || second ? LEDGER_OK : LEDGER_CORRUPT;
}

int ledger_head_format(const ledger_head *head, uint8_t slot[4096]) {
    ledger_head back;
    memset(slot, 0, SLOT_BYTES);
    encode(head, slot);
    if (decode(slot, &back)) {
        return LEDGER_OK;
    }
    memset(slot, 0, SLOT_BYTES);
    return LEDGER_CORRUPT;
}

bool ledger_head_load(int file, ledger_head *head) {
    uint8_t slots[SLOT_BYTES + SLOT_USED_MAX];
    return ledger_os_read(file, slots, sizeof slots, 0) && ledger_head_parse(slots, head) == LEDGER_OK;
}

/* The word is stored before HEAD is written: equal to ours, no HEAD newer than ours can be there [HEAD-3]. */
bool ledger_head_now(const ledger_core *core, ledger_head *head) {
    if (core->joined && core->shared && atomic_load(&core->shared->generation) == core->head.generation) {
        *head = core->head;
        return true;
    }
    return ledger_head_load(core->head_file, head);
}

bool ledger_head_put(ledger_core *core, ledger_head *head) {
    uint8_t slot[SLOT_USED_MAX];
    head->generation++;
    if (core->shared) {
        atomic_store(&core->shared->generation, head->generation);
    }
    memcpy(head->boot_id, core->boot_id, 16);
    size_t size = encode(head, slot);
    return ledger_os_write(core->head_file, slot, size, head->generation % 2 * SLOT_BYTES);
}
