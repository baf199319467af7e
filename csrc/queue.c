/* SPDX-License-Identifier: Apache-2.0 */
/* queue.c: callers' events become requests; one caller leads and commits what has gathered.
 *
 * Leader    whoever waits and finds nobody leading takes the whole queue, up to one batch, and commits it without
 *           the mutex; the others wait. No lingering: the running sync is what gathers the next group       [GROUP-1]
 * Waking    each caller waits on a condition of its own: a finished group wakes its callers and one that leads next.
 *           Waking all would have each take the mutex only to sleep again
 * Order     the queue is first in, first out; submitted events share one open request at its tail
 * Stays     a request that meets LEDGER_WAITING or LEDGER_RECOVER goes back to the front, whole
 * See       commit.c for what the leader does; tests/unit/test_group_commit.py */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "core.h"

enum { RECEIPT_BYTES = 120, LAST_IS_NOTE = 2, SPARE_BYTES_MIN = 64 << 10, SPARE_BYTES_MAX = 8 << 20 };

static const uint64_t WAIT_SLICE_NS = 100000000;

/* One allocation: the request, its rows, entries, salts, leaves, and room for the records. */
static uint64_t memory_bytes(uint64_t record_capacity, uint32_t count_max) {
    return sizeof(ledger_request) + count_max * (sizeof(ledger_row) + 104 + 16 + 32) + record_capacity;
}

static ledger_request *lay_out(uint8_t *memory, uint64_t bytes, uint64_t record_capacity, uint32_t count_max) {
    ledger_request *request = (ledger_request *)(void *)memory;
    memset(request, 0, sizeof *request);
    request->memory_bytes = bytes;
    request->rows = (ledger_row *)(void *)(memory + sizeof *request);
    request->entries = memory + sizeof *request + (size_t)count_max * sizeof(ledger_row);
    request->salts = request->entries + (size_t)count_max * 104;
    request->leaves = request->salts + (size_t)count_max * 16;
    request->records = request->leaves + (size_t)count_max * 32;
    request->record_capacity = record_capacity;
    request->count_max = count_max;
    return request;
}

ledger_request *ledger_request_new(uint64_t record_capacity, uint32_t count_max) {
    uint64_t bytes = memory_bytes(record_capacity, count_max);
    uint8_t *memory = ledger_os.allocate(bytes);
    return memory ? lay_out(memory, bytes, record_capacity, count_max) : NULL;
}

void ledger_request_free(ledger_request *request) { free(request); }

/* A batch's memory is used again by the next one: fresh pages cost more than hashing what goes into them. */
static ledger_request *new_request(ledger_core *core, uint64_t record_capacity, uint32_t count_max) {
    uint64_t bytes = memory_bytes(record_capacity, count_max);
    ledger_request *spare = NULL;
    if (bytes >= SPARE_BYTES_MIN) {
        pthread_mutex_lock(&core->mutex);
        if (core->spare && core->spare->memory_bytes >= bytes) {
            spare = core->spare;
            core->spare = NULL;
        }
        pthread_mutex_unlock(&core->mutex);
    }
    return spare ? lay_out((uint8_t *)spare, spare->memory_bytes, record_capacity, count_max)
                 : ledger_request_new(record_capacity, count_max);
}

void ledger_request_drop(ledger_core *core, ledger_request *request) {
    if (request->memory_bytes >= SPARE_BYTES_MIN && request->memory_bytes <= SPARE_BYTES_MAX) {
        ledger_request *old = core->spare;
        core->spare = request;
        request = old;
    }
    ledger_request_free(request);
}

static uint64_t record_bytes(uint64_t payload) { return (RECORD_BYTES + payload + 7) & ~(uint64_t)7; }

void ledger_request_add(ledger_request *request, const uint8_t *payload, uint64_t size, int kind) {
    uint8_t *to = request->records + request->record_bytes;
    uint64_t bytes = record_bytes(size);
    ledger_store_u32(to, (uint32_t)size);
    to[4] = (uint8_t)kind;
    memset(to + 5, 0, 3);
    memset(to + bytes - 8, 0, bytes > 8 ? 8 : 0); /* the padding; the payload may overwrite its front */
    memcpy(to + RECORD_BYTES, payload, size);
    request->rows[request->count++] = (ledger_row){
        .offset = request->record_bytes + RECORD_BYTES, .bytes = (uint32_t)size, .kind = (uint8_t)kind};
    request->record_bytes += bytes;
}

/* `data` must not change meanwhile: _native.py hands over immutable bytes, or a copy. */
static int fill(const ledger_core *core, ledger_request *request, const uint8_t *data, uint64_t size, uint64_t count,
                int kind, int packed, ledger_outcome *outcome) {
    uint64_t at = packed ? (count < 16 ? 1 : count < 65536 ? 3 : 5) : 0;
    for (uint64_t i = 0; i < count; i++) {
        size_t bytes = (size_t)(size - at);
        int reason = 0;
        uint64_t offset = 0;
        int status = packed ? ledger_event_next(data + at, bytes, &bytes, &reason, &offset)
                            : ledger_event_check(data, bytes, &reason, &offset);
        if (status != LEDGER_OK) {
            *outcome = (ledger_outcome){.base = i, .time = offset, .count = (uint64_t)reason};
            return status;
        }
        if (bytes > core->header.event_bytes_max) {
            *outcome = (ledger_outcome){.base = i, .count = bytes};
            return LEDGER_TOO_LARGE;
        }
        int is_note = kind == LAST_IS_NOTE ? i + 1 == count : kind;
        ledger_request_add(request, data + at, bytes, is_note);
        at += bytes;
    }
    return at == size ? LEDGER_OK : LEDGER_USAGE;
}

void ledger_enqueue(ledger_core *core, ledger_request *request) {
    request->state = REQUEST_QUEUED;
    *(core->queue ? &core->queue_tail->next : &core->queue) = request;
    core->queue_tail = request;
}

static ledger_request *take_group(ledger_core *core) {
    ledger_request *first = core->queue, *last = first;
    uint64_t bytes = first->record_bytes;
    first->state = REQUEST_TAKEN;
    for (int pieces = 1; last->next && pieces < GROUP_PIECES_MAX; pieces++) {
        bytes += last->next->record_bytes;
        if (bytes > BATCH_BYTES_MAX / 2) {
            break;
        }
        last = last->next;
        last->state = REQUEST_TAKEN;
    }
    core->queue = last->next;
    core->queue_tail = core->queue ? core->queue_tail : NULL;
    last->next = NULL;
    return first;
}

static void put_back(ledger_core *core, ledger_request *group) {
    ledger_request *last = group;
    for (ledger_request *request = group; request; request = request->next) {
        request->state = REQUEST_QUEUED;
        last = request;
    }
    last->next = core->queue;
    core->queue_tail = core->queue ? core->queue_tail : last;
    core->queue = group;
}

static void finish(ledger_core *core, ledger_request *group, int status) {
    while (group) {
        ledger_request *request = group;
        group = request->next;
        request->next = NULL;
        request->status = status;
        request->state = REQUEST_DONE;
        core->stats.events += status == LEDGER_OK ? request->count : 0;
        if (request->caller) {
            pthread_cond_signal(request->caller);
        }
        if (request->abandoned) {
            ledger_request_free(request);
        } else if (request->submitted) {
            *(core->done ? &core->done_tail->next : &core->done) = request;
            core->done_tail = request;
            uint64_t one = 1;
            if (core->event >= 0 && write(core->event, &one, sizeof one) < 0) {
                core->event = -1; /* cannot happen below 2^64 groups; waiters then poll */
            }
        }
    }
}

void ledger_wake_next(ledger_core *core) {
    for (ledger_request *request = core->queue; request; request = request->next) {
        if (request->caller) {
            pthread_cond_signal(request->caller);
            if (!core->needs_recovery) {
                break; /* a recovery is for each caller to hear of: the one may not come back */
            }
        }
    }
    pthread_cond_broadcast(&core->changed);
}

/* Mutex held in, held out. What it returns has already reached the requests, but for WAITING and RECOVER. */
int ledger_lead(ledger_core *core, uint32_t *hints) {
    core->leading = true;
    ledger_request *group = take_group(core);
    pthread_mutex_unlock(&core->mutex);
    int status = core->poisoned ? LEDGER_POISONED : ledger_commit_group(core, group, hints);
    pthread_mutex_lock(&core->mutex);
    core->leading = false;
    core->stats.groups += status == LEDGER_OK;
    if (status == LEDGER_WAITING || status == LEDGER_RECOVER) {
        core->needs_recovery = status == LEDGER_RECOVER;
        core->stats.lock_waits++;
        put_back(core, group);
    } else {
        finish(core, group, status);
    }
    ledger_wake_next(core);
    return status;
}

static bool wait_on(ledger_core *core, pthread_cond_t *condition, uint64_t wait_ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t nsec = (uint64_t)until.tv_nsec + wait_ns;
    until.tv_sec += (time_t)(nsec / 1000000000);
    until.tv_nsec = (long)(nsec % 1000000000);
    return pthread_cond_timedwait(condition, &core->mutex, &until) == 0;
}

bool ledger_wait_changed(ledger_core *core, uint64_t wait_ns) { return wait_on(core, &core->changed, wait_ns); }

static void unqueue(ledger_core *core, ledger_request *request) {
    ledger_request **link = &core->queue, *before = NULL;
    while (*link != request) {
        before = *link;
        link = &before->next;
    }
    *link = request->next;
    core->queue_tail = core->queue_tail == request ? before : core->queue_tail;
}

/* Mutex held. Until the request is done, or the caller has something to do first. */
static int wait_done(ledger_core *core, ledger_request *request, uint32_t *hints) {
    while (request->state != REQUEST_DONE) {
        bool queued = request->state == REQUEST_QUEUED;
        if (queued && ledger_os_boot_ns() > request->deadline_ns) {
            unqueue(core, request);
            request->status = LEDGER_LOCKED;
            request->state = REQUEST_DONE;
        } else if (queued && core->needs_recovery) {
            return LEDGER_RECOVER;
        } else if (queued && !core->leading && core->interval_ns == 0) {
            int status = ledger_lead(core, hints);
            if (status == LEDGER_WAITING) {
                return status;
            }
        } else if (!wait_on(core, request->caller, WAIT_SLICE_NS)) {
            return LEDGER_WAITING;
        }
    }
    return LEDGER_OK;
}

void ledger_give_rows(const ledger_request *request, uint8_t *rows) {
    for (uint32_t i = 0; i < request->count; i++) {
        memcpy(rows + (size_t)i * RECEIPT_BYTES, request->entries + (size_t)i * 104, 104);
        memcpy(rows + (size_t)i * RECEIPT_BYTES + 104, request->salts + (size_t)i * 16, 16);
    }
}

static int wait_and_take(ledger_core *core, ledger_request *request, ledger_outcome *outcome, uint8_t *rows,
                         ledger_request **waiting) {
    uint32_t hints = 0;
    pthread_cond_t woken;
    pthread_cond_init(&woken, &core->monotonic);
    request->caller = &woken;
    core->callers++;
    int status = wait_done(core, request, &hints);
    core->callers--;
    request->caller = NULL;
    pthread_cond_destroy(&woken);
    *waiting = status == LEDGER_OK ? NULL : request;
    if (status == LEDGER_OK) {
        status = request->status;
        *outcome = (ledger_outcome){.base = request->base, .time = request->time, .count = request->count};
        if (status == LEDGER_OK) {
            ledger_give_rows(request, rows);
        }
        ledger_request_drop(core, request);
    }
    outcome->hints = hints;
    outcome->status = status;
    if (core->closed) {
        pthread_cond_broadcast(&core->changed); /* it waits for the last caller */
    }
    return status;
}

int ledger_request_of(ledger_core *core, const uint8_t *data, uint64_t size, uint64_t count, int kind, int packed,
                      ledger_outcome *outcome, ledger_request **made) {
    *made = NULL;
    *outcome = (ledger_outcome){0};
    if (count == 0 || count > UINT32_MAX / 2 || size < count) {
        return LEDGER_USAGE;
    }
    uint64_t capacity = size + count * 16;
    if (capacity + 32 > BATCH_BYTES_MAX || (packed == 0 && size > core->header.event_bytes_max)) {
        *outcome = (ledger_outcome){.count = size};
        return LEDGER_TOO_LARGE;
    }
    ledger_request *request = new_request(core, capacity, (uint32_t)count);
    if (!request) {
        return LEDGER_NOMEM;
    }
    int status = fill(core, request, data, size, count, kind, packed, outcome);
    if (status != LEDGER_OK) {
        ledger_request_free(request);
        return status;
    }
    *made = request;
    return LEDGER_OK;
}

int ledger_append(ledger_core *core, const uint8_t *data, uint64_t size, uint64_t count, int kind, int packed,
                  ledger_outcome *outcome, uint8_t *rows, ledger_request **waiting) {
    ledger_request *request;
    *waiting = NULL;
    int status = ledger_request_of(core, data, size, count, kind, packed, outcome, &request);
    if (status != LEDGER_OK) {
        return status;
    }
    request->deadline_ns = ledger_os_boot_ns() + core->lock_timeout_ns;
    pthread_mutex_lock(&core->mutex);
    if (core->closed || core->poisoned) {
        status = core->closed ? LEDGER_CLOSED : LEDGER_POISONED;
        ledger_request_free(request);
    } else {
        ledger_enqueue(core, request);
        if (core->interval_ns) {
            ledger_stream_start(core); /* if it cannot start, the deadline of the request speaks */
            pthread_cond_broadcast(&core->changed);
        }
        status = wait_and_take(core, request, outcome, rows, waiting);
    }
    pthread_mutex_unlock(&core->mutex);
    return status;
}

int ledger_append_wait(ledger_core *core, ledger_request *request, ledger_outcome *outcome, uint8_t *rows) {
    ledger_request *waiting;
    pthread_mutex_lock(&core->mutex);
    int status = wait_and_take(core, request, outcome, rows, &waiting);
    pthread_mutex_unlock(&core->mutex);
    return status;
}

void ledger_append_abandon(ledger_core *core, ledger_request *request) {
    pthread_mutex_lock(&core->mutex);
    if (request->state == REQUEST_DONE) {
        ledger_request_free(request);
    } else {
        request->abandoned = true;
    }
    pthread_mutex_unlock(&core->mutex);
}
