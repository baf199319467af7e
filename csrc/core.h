/* SPDX-License-Identifier: Apache-2.0 */
/* core.h: the inside of a ledger_core, shared by core.c, lock.c, head.c, roll.c, queue.c and commit.c.
 *
 * Owner     `mutex` guards the queue, the leader word and the flags; everything under "leader" below belongs to the
 *           one thread that leads, or holds no meaning while nobody does
 * Order     leader, then kernel lock byte 0; nobody waits for another byte while holding 0             [LOCK-1] */
#ifndef LEDGER_CORE_INTERNAL_H
#define LEDGER_CORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "ledger_core.h"
#include "os.h"

enum {
    HEADER_BYTES = 4096,
    BATCHES_BEGIN = 8192, /* after both copies of the header */
    BATCH_HEADER_BYTES = 64,
    RECORD_BYTES = 8, /* in front of each payload */
    ALIGNMENT = 512,
    BATCH_BYTES_MAX = (64 << 20) + (16 << 20),
    GROUP_PIECES_MAX = 1000, /* requests in one write; IOV_MAX is 1024 */
    NAME_BYTES = 64
};

/* An invariant of ours that is kept in release: a failed one poisons the core instead of going on. */
#define LEDGER_CHECK(core, condition)                                                                                  \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            return ledger_core_fault(core, LEDGER_INTERNAL, 0, #condition);                                            \
        }                                                                                                              \
    } while (0)

/* The words at 4096 of `lock`, shared by the writers of one boot. */
typedef struct {
    _Atomic uint32_t dirty;  /* a write is between its first byte and its HEAD */
    _Atomic uint32_t poison; /* a sync failed; only recovery clears it */
    _Atomic uint32_t busy;   /* some process syncs right now: waiting beats syncing too */
    _Atomic uint32_t wakes;  /* counts finished syncs and released locks; the futex word */
    _Atomic uint64_t generation; /* of HEAD, or one more: stored before HEAD is written */
} shared_words;

typedef enum { REQUEST_QUEUED, REQUEST_TAKEN, REQUEST_DONE } request_state;

/* One caller's events, framed. The records grow in place; nothing here is copied again before the write. */
typedef struct ledger_request {
    struct ledger_request *next;
    request_state state;
    int status;
    bool submitted; /* by submit: completes through the done list; open for more while queued */
    bool abandoned; /* nobody waits any more: freed when done */
    pthread_cond_t *caller; /* on the stack of the thread that waits for it right now, or NULL */
    uint32_t count, count_max;
    uint64_t memory_bytes; /* of the whole allocation, this struct included */
    uint64_t record_bytes, record_capacity;
    uint64_t base, time, deadline_ns;
    ledger_row *rows;  /* offsets count from records */
    uint8_t *records;
    uint8_t *entries, *salts, *leaves; /* count x 104, 16, 32; filled under the lock */
} ledger_request;

struct ledger_core {
    pthread_mutex_t mutex;
    pthread_condattr_t monotonic;
    pthread_cond_t changed; /* for all who wait for no request of their own: close, the stream's thread, its readers */
    int folder, active_folder, lock_file, head_file, active_file;
    shared_words *shared; /* NULL: no mapping; HEAD carries dirty and poison */
    pid_t pid;
    uint8_t fingerprint[32], boot_id[16];
    uint64_t lock_timeout_ns, interval_ns;
    /* guarded by mutex */
    bool closed, poisoned, leading, thread_runs, needs_recovery;
    uint32_t callers;
    ledger_request *queue, *queue_tail, *done, *done_tail;
    ledger_request *spare; /* one finished batch's memory, or NULL */
    uint64_t queued_bytes;
    uint32_t stream_hints;
    pthread_t thread;
    int event; /* eventfd of finished submissions */
    ledger_fault fault;
    ledger_core_stats stats;
    /* leader */
    bool joined;
    ledger_active_header header;
    ledger_head head;
    uint64_t segment_seen_ns; /* boot time when this core first saw events in the segment */
    bool next_prepared;
    uint64_t segment_batches, segment_bytes; /* that this core wrote into it */
    _Atomic bool bulk;                       /* these are large: the next file is reserved, not zeroed (roll.c) */
    struct iovec pieces[GROUP_PIECES_MAX + 2];
    uint8_t frame[BATCH_HEADER_BYTES];
    uint8_t tail[32 + ALIGNMENT];
};

/* core.c: records what went wrong (first fault wins); poisons when status is UNKNOWN, POISONED or INTERNAL. */
int ledger_core_fault(ledger_core *core, int status, int error, const char *what);

/* lock.c: kernel lock on one byte of `lock`; LEDGER_WAITING when not had within wait_ns. */
int ledger_lock_take(ledger_core *core, int byte, uint64_t wait_ns);
void ledger_lock_release(ledger_core *core, int byte);
void ledger_words_wake(ledger_core *core);
void ledger_words_wait(ledger_core *core, uint32_t seen, uint64_t wait_ns);

/* head.c: the better valid slot; false when there is none. Store writes the next generation into the other slot. */
bool ledger_head_load(int file, ledger_head *head);
bool ledger_head_now(const ledger_core *core, ledger_head *head); /* leader only: the same, unread if ours is the newest */
bool ledger_head_put(ledger_core *core, ledger_head *head);

/* roll.c */
void ledger_active_name(char name[NAME_BYTES], uint64_t segno);
int ledger_active_enter(ledger_core *core, uint64_t segno); /* open, check, make current */
int ledger_roll(ledger_core *core, uint64_t batch_bytes);

/* queue.c: those with a core want the mutex held. */
ledger_request *ledger_request_new(uint64_t record_capacity, uint32_t count_max);
void ledger_request_free(ledger_request *request);
void ledger_request_drop(ledger_core *core, ledger_request *request); /* frees it, or keeps its memory for the next */
/* Without the mutex: a request of checked events, or why not, with the facts in outcome. */
int ledger_request_of(ledger_core *core, const uint8_t *data, uint64_t size, uint64_t count, int kind, int packed,
                      ledger_outcome *outcome, ledger_request **made);
void ledger_request_add(ledger_request *request, const uint8_t *payload, uint64_t size, int kind);
void ledger_enqueue(ledger_core *core, ledger_request *request);
int ledger_lead(ledger_core *core, uint32_t *hints);
bool ledger_wait_changed(ledger_core *core, uint64_t wait_ns); /* false: nothing changed in that time */
void ledger_wake_next(ledger_core *core);                       /* whoever may lead now */
void ledger_give_rows(const ledger_request *request, uint8_t *rows);

/* stream.c */
int ledger_stream_start(ledger_core *core);
void ledger_stream_stop(ledger_core *core);

/* commit.c: both with the leader role and no mutex. */
int ledger_join_locked(ledger_core *core); /* under byte 0 */
int ledger_commit_group(ledger_core *core, ledger_request *group, uint32_t *hints);

#endif
