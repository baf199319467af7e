/* SPDX-License-Identifier: Apache-2.0 */
/* commit.c: one group of requests becomes one batch, one write, one sync.
 *
 * Steps     (1) take byte 0; join what other processes wrote                    [JOIN-1]
 *           (2) roll if the batch does not fit, or the segment is full or old
 *           (3) hash; dirty; one pwritev; HEAD (written); clean; free byte 0     a crash in here leaves dirty: recovery
 *           (4) fdatasync outside the lock, shared with other processes           a failure poisons: never retried
 *           (5) HEAD (synced) under byte 0; only now is anything acknowledged     [ACK-1]
 * Invariants  HEAD.written_end never covers bytes not written; HEAD.synced_end none not synced               [HEAD-2]
 * See       docs/guarantees.md; tests/crash/, tests/many/ */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "core.h"

enum { POISONED = 1, DIRTY = 2, HINT_PREPARE = 1, HINT_ROLLED = 2, HINT_CLOCK = 4, HINT_BEGAN = 8, BULK_BATCH_BYTES = 64 << 10 };

static const uint64_t LOCK_SLICE_NS = 100000000; /* then signal handlers run */
static const int64_t CLOCK_STEP_NS = 1000000000;

/* Whether the 64 bytes where the next batch goes are zero: a longer log than HEAD says is for recovery. */
static bool nothing_follows(ledger_core *core) {
    uint8_t next[BATCH_HEADER_BYTES];
    static const uint8_t zero[BATCH_HEADER_BYTES];
    if (core->head.written_end + sizeof next > core->header.file_bytes) {
        return core->head.written_end <= core->header.file_bytes;
    }
    return ledger_os_read(core->active_file, next, sizeof next, core->head.written_end) &&
           memcmp(next, zero, sizeof next) == 0;
}

static bool next_file_unbegun(ledger_core *core) {
    char name[NAME_BYTES];
    uint8_t bytes[HEADER_BYTES];
    static const uint8_t zero[HEADER_BYTES];
    ledger_active_name(name, core->head.segno + 1);
    int file = ledger_os.openat(core->active_folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (file < 0) {
        return errno == ENOENT;
    }
    bool unbegun = ledger_os_read(file, bytes, sizeof bytes, 0) && memcmp(bytes, zero, sizeof bytes) == 0;
    ledger_os.close(file);
    return unbegun;
}

int ledger_join_locked(ledger_core *core) {
    ledger_head found;
    if (core->shared && atomic_load(&core->shared->poison)) {
        return core->joined ? ledger_core_fault(core, LEDGER_POISONED, 0, "a sync failed in another writer")
                            : LEDGER_RECOVER;
    }
    if ((core->shared && atomic_load(&core->shared->dirty)) || !ledger_head_now(core, &found)) {
        return LEDGER_RECOVER;
    }
    if (core->joined && found.generation == core->head.generation) {
        return LEDGER_OK;
    }
    if (memcmp(found.boot_id, core->boot_id, 16) != 0 || found.flags != 0) {
        bool poisoned = core->joined && (found.flags & POISONED);
        return poisoned ? ledger_core_fault(core, LEDGER_POISONED, 0, "HEAD says that a sync failed") : LEDGER_RECOVER;
    }
    bool entered = core->active_file >= 0 && core->header.segno == found.segno;
    int status = entered ? LEDGER_OK : ledger_active_enter(core, found.segno);
    if (status != LEDGER_OK) {
        return status;
    }
    core->head = found;
    if (!nothing_follows(core) || (!core->joined && !next_file_unbegun(core))) {
        return LEDGER_RECOVER;
    }
    core->joined = true;
    return LEDGER_OK;
}

/* Notes do not make a segment old: one of notes alone would be closed, and noted, for ever. [ROLL-2] */
static bool has_event(const ledger_request *group) {
    for (const ledger_request *request = group; request; request = request->next) {
        if (request->rows[0].kind == 0) { /* where a batch holds both, its note is last */
            return true;
        }
    }
    return false;
}

static bool must_roll(const ledger_core *core, uint64_t batch_bytes, uint64_t count) {
    const ledger_active_header *header = &core->header;
    uint64_t held = core->head.written_size - header->base;
    bool full = core->head.written_end + batch_bytes > header->file_bytes;
    bool many = held > 0 && held + count > header->segment_entries_max;
    bool old = held > 0 && core->segment_seen_ns != 0 &&
               ledger_os_boot_ns() - core->segment_seen_ns > header->segment_age_max_ns;
    return full || many || old;
}

/* Hashes the group onto `next` and fills header and tail of the batch. Returns the number of pieces. */
static int build_batch(ledger_core *core, ledger_request *group, uint64_t body, uint64_t bytes, ledger_head *next) {
    ledger_chain chain = {.size = next->written_size, .time = next->time};
    memcpy(chain.ledger_id, core->fingerprint, 16);
    memcpy(chain.link, next->link, 32);
    uint64_t time = ledger_os_wall_ns();
    group->rows[0].flags = time < next->time;
    group->records[5] = group->rows[0].flags;
    uint32_t crc = 0, count = 0;
    int pieces = 1;
    for (ledger_request *request = group; request; request = request->next) {
        request->base = chain.size;
        request->time = time;
        for (uint32_t i = 0; i < request->count; i++) {
            request->rows[i].time = time;
        }
        ledger_chain_extend(&chain, core->header.seed, request->records, request->rows, request->count,
                            request->entries, request->salts, request->leaves);
        ledger_range_push(&next->range, request->leaves, request->count);
        crc = ledger_crc32c(crc, request->records, request->record_bytes);
        core->pieces[pieces++] = (struct iovec){request->records, request->record_bytes};
        count += request->count;
    }
    size_t tail = (size_t)(bytes - BATCH_HEADER_BYTES - body) + 32;
    memset(core->tail, 0, sizeof core->tail);
    memcpy(core->tail, chain.link, 32);
    crc = ledger_crc32c(crc, core->tail, tail);
    core->pieces[pieces++] = (struct iovec){core->tail, tail};
    core->pieces[0] = (struct iovec){core->frame, BATCH_HEADER_BYTES};
    ledger_batch_header batch = {.body_bytes = (uint32_t)body,
                                 .count = count,
                                 .base = next->written_size,
                                 .synced_end = next->synced_end,
                                 .time = time,
                                 .incarnation = next->incarnation,
                                 .body_crc = crc};
    ledger_batch_header_encode(&batch, core->header.salt, core->header.segno, next->written_end, core->frame);
    next->written_end += bytes;
    next->written_size = chain.size;
    next->time = time;
    memcpy(next->link, chain.link, 32);
    return pieces;
}

static bool set_dirty(ledger_core *core, bool dirty) {
    if (core->shared) {
        atomic_store(&core->shared->dirty, dirty);
        return true;
    }
    ledger_head marked = core->head;
    marked.flags = dirty ? marked.flags | DIRTY : marked.flags & ~(uint32_t)DIRTY;
    bool good = ledger_head_put(core, &marked);
    core->head.generation = marked.generation;
    return good;
}

/* A write that failed for want of space left part of a batch: zero it, so that nothing ever finds it. */
static int undo_write(ledger_core *core, uint64_t bytes, int error) {
    static const uint8_t zero[1 << 16];
    bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    for (uint64_t at = 0; full && at < bytes; at += sizeof zero) {
        uint64_t step = bytes - at < sizeof zero ? bytes - at : sizeof zero;
        full = ledger_os_write(core->active_file, zero, (size_t)step, core->head.written_end + at);
    }
    if (!full || !set_dirty(core, false)) {
        return ledger_core_fault(core, LEDGER_UNKNOWN, error, "writing a batch");
    }
    return ledger_core_fault(core, LEDGER_DISK_FULL, error, "writing a batch");
}

static int write_batch(ledger_core *core, ledger_request *group, uint32_t *hints);

/* No segment is ever closed empty: before a roll for a batch that is too large for an unbegun file, a note. */
static int write_heartbeat(ledger_core *core, uint32_t *hints) {
    static const uint8_t note[] = "\x81\xa4note\xa9heartbeat";
    ledger_request *request = ledger_request_new(64, 1);
    if (!request) {
        return LEDGER_NOMEM;
    }
    ledger_request_add(request, note, sizeof note - 1, 1);
    int status = write_batch(core, request, hints);
    ledger_request_free(request);
    return status;
}

static int write_batch(ledger_core *core, ledger_request *group, uint32_t *hints) {
    uint64_t body = 32, count = 0;
    for (ledger_request *request = group; request; request = request->next) {
        body += request->record_bytes;
        count += request->count;
    }
    uint64_t bytes = (BATCH_HEADER_BYTES + body + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    LEDGER_CHECK(core, count > 0 && body <= BATCH_BYTES_MAX);
    if (must_roll(core, bytes, count)) {
        bool empty = core->head.written_size == core->header.base;
        int status = empty ? write_heartbeat(core, hints) : LEDGER_OK;
        status = status == LEDGER_OK ? ledger_roll(core, bytes) : status;
        if (status != LEDGER_OK) {
            return status;
        }
        *hints |= HINT_ROLLED;
    }
    LEDGER_CHECK(core, core->head.written_end + bytes <= core->header.file_bytes);
    ledger_head next = core->head;
    int pieces = build_batch(core, group, body, bytes, &next);
    int64_t offset = (int64_t)(ledger_os_wall_ns() - ledger_os_boot_ns());
    int64_t step = offset - next.wall_minus_boot_ns;
    *hints |= next.wall_minus_boot_ns != 0 && (step > CLOCK_STEP_NS || step < -CLOCK_STEP_NS) ? HINT_CLOCK : 0;
    next.wall_minus_boot_ns = offset;
    if (!set_dirty(core, true)) {
        return ledger_core_fault(core, LEDGER_UNKNOWN, errno, "marking HEAD dirty");
    }
    next.generation = core->head.generation;
    if (!ledger_os_write_pieces(core->active_file, core->pieces, pieces, core->head.written_end)) {
        return undo_write(core, bytes, errno);
    }
    if (!ledger_head_put(core, &next)) {
        return ledger_core_fault(core, LEDGER_UNKNOWN, errno, "writing HEAD");
    }
    core->head = next;
    set_dirty(core, false);
    if (core->segment_seen_ns == 0 && has_event(group)) {
        core->segment_seen_ns = ledger_os_boot_ns();
        *hints |= HINT_BEGAN;
    }
    core->segment_batches++;
    core->segment_bytes += bytes;
    if (!core->next_prepared && core->head.written_end > core->header.file_bytes / 2) {
        core->next_prepared = true;
        atomic_store(&core->bulk, core->segment_bytes / core->segment_batches >= BULK_BATCH_BYTES);
        *hints |= HINT_PREPARE;
    }
    return LEDGER_OK;
}

/* True when HEAD, without poison and of our incarnation, already covers (segno, end). */
static bool is_covered(ledger_core *core, const ledger_head *ours, ledger_head *found) {
    if (!ledger_head_now(core, found) || found->incarnation != ours->incarnation || found->flags) {
        return false;
    }
    return found->segno > ours->segno || (found->segno == ours->segno && found->synced_end >= ours->written_end);
}

/* Publishes a sync that returned: [.., covered) of the segment is on the disk. */
static int publish_sync(ledger_core *core, const ledger_head *ours, const ledger_head *covered) {
    int status = ledger_lock_take(core, 0, core->lock_timeout_ns);
    if (status != LEDGER_OK) {
        return ledger_core_fault(core, LEDGER_UNKNOWN, 0, "waiting for the append lock to publish a sync");
    }
    ledger_head now;
    bool sound = ledger_head_now(core, &now) && now.incarnation == ours->incarnation &&
                 !(now.flags & POISONED) && !(core->shared && atomic_load(&core->shared->poison));
    if (sound && now.segno == ours->segno && now.synced_end < covered->written_end) {
        now.synced_end = covered->written_end;
        now.synced_size = covered->written_size;
        sound = ledger_head_put(core, &now);
        core->head = now;
    }
    ledger_lock_release(core, 0);
    return sound ? LEDGER_OK : ledger_core_fault(core, LEDGER_UNKNOWN, errno, "publishing a sync in HEAD");
}

static int sync_batch(ledger_core *core) {
    ledger_head ours = core->head, found = ours;
    bool own = false;
    for (int waits = 0; core->shared && !own && waits < 2; waits++) {
        uint32_t seen = atomic_load(&core->shared->wakes), idle = 0;
        if (is_covered(core, &ours, &found)) {
            core->stats.syncs_shared++;
            return LEDGER_OK;
        }
        own = atomic_compare_exchange_strong(&core->shared->busy, &idle, 1);
        if (!own) {
            ledger_words_wait(core, seen, UINT64_MAX); /* 5 ms at most: a syncer may have died */
        }
    }
    if (!ledger_head_now(core, &found) || found.segno != ours.segno) {
        found = ours; /* rolled meanwhile: the roll synced this file; syncing again is harmless */
    }
    core->stats.syncs++;
    int status = LEDGER_OK;
    if (!ledger_os_fdatasync(core->active_file)) {
        status = ledger_core_fault(core, LEDGER_UNKNOWN, errno, "syncing the active file");
    }
    status = status == LEDGER_OK ? publish_sync(core, &ours, &found) : status;
    if (core->shared) {
        atomic_store(&core->shared->busy, 0);
        ledger_words_wake(core);
    }
    return status;
}

int ledger_commit_group(ledger_core *core, ledger_request *group, uint32_t *hints) {
    int status = ledger_lock_take(core, 0, LOCK_SLICE_NS);
    if (status != LEDGER_OK) {
        return status;
    }
    status = ledger_join_locked(core);
    if (status == LEDGER_OK) {
        status = write_batch(core, group, hints);
    }
    ledger_lock_release(core, 0);
    return status == LEDGER_OK ? sync_batch(core) : status;
}
