/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c: events that nobody waits for, and the one thread that commits them.
 *
 * Submit    copies into the open request at the queue's tail and returns: no system call but to wake the thread,
 *           and never a wait for somebody who needs the interpreter, so it may run with the GIL held   [STREAM-1]
 * Batch     a request of its own, all or nothing; packed and checked before the mutex is taken
 * Thread    started by the first submit, or with an interval by the first append; one more possible leader, nothing else.
 *           With an interval it alone leads, once a tick
 * Bound     64 MiB queued or finished and not yet taken; then LEDGER_QUEUE_FULL
 * See       queue.c; tests/unit/test_stream.py */
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core.h"

enum { QUEUE_BYTES_MAX = 64 << 20, OPEN_BYTES = 1 << 20, OPEN_COUNT = 4096, FRAMING_BYTES = 16 };

static const uint64_t IDLE_NS = 500000000;

static void tick(const ledger_core *core) {
    struct timespec nap = {(time_t)(core->interval_ns / 1000000000), (long)(core->interval_ns % 1000000000)};
    nanosleep(&nap, NULL);
}

/* Appends lead themselves, and gather better when nobody is faster: this thread leads for what nobody waits for. */
static bool is_wanted(const ledger_core *core) {
    const ledger_request *request = core->queue;
    while (request && !request->submitted && core->interval_ns == 0 && !core->closed) {
        request = request->next;
    }
    return request && !core->leading && !core->needs_recovery;
}

static void *run(void *argument) {
    ledger_core *core = argument;
    pthread_mutex_lock(&core->mutex);
    while (!core->closed || (core->queue && !core->poisoned && !core->needs_recovery)) {
        if (!is_wanted(core)) {
            ledger_wait_changed(core, IDLE_NS);
            continue;
        }
        if (core->interval_ns && !core->closed) {
            pthread_mutex_unlock(&core->mutex);
            tick(core);
            pthread_mutex_lock(&core->mutex);
        }
        if (is_wanted(core)) {
            uint32_t hints = 0;
            ledger_lead(core, &hints);
            core->stream_hints |= hints;
        }
    }
    pthread_mutex_unlock(&core->mutex);
    return NULL;
}

int ledger_stream_start(ledger_core *core) {
    if (core->thread_runs) {
        return LEDGER_OK;
    }
    core->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    core->thread_runs = pthread_create(&core->thread, NULL, run, core) == 0;
    return core->thread_runs ? LEDGER_OK : LEDGER_NOMEM;
}

void ledger_stream_stop(ledger_core *core) {
    if (core->thread_runs) {
        pthread_join(core->thread, NULL);
        core->thread_runs = false;
    }
    if (core->event >= 0) {
        close(core->event);
        core->event = -1;
    }
}

/* The open request at the tail with room for `size` more bytes, or a new one. */
static ledger_request *open_request(ledger_core *core, uint64_t size) {
    ledger_request *tail = core->queue ? core->queue_tail : NULL;
    uint64_t bytes = size + FRAMING_BYTES;
    if (tail && tail->submitted && tail->state == REQUEST_QUEUED && tail->count < tail->count_max &&
        tail->record_bytes + bytes <= tail->record_capacity) {
        return tail;
    }
    ledger_request *request = ledger_request_new(bytes < OPEN_BYTES ? OPEN_BYTES : bytes, OPEN_COUNT);
    if (request) {
        request->submitted = true;
        request->deadline_ns = UINT64_MAX;
        ledger_enqueue(core, request);
    }
    return request;
}

int ledger_submit(ledger_core *core, const uint8_t *data, uint64_t size) {
    int reason;
    uint64_t offset;
    int status = ledger_event_check(data, (size_t)size, &reason, &offset);
    if (status != LEDGER_OK) {
        return status;
    }
    if (size > core->header.event_bytes_max) {
        return LEDGER_TOO_LARGE;
    }
    pthread_mutex_lock(&core->mutex);
    if (core->closed || core->poisoned) {
        status = core->closed ? LEDGER_CLOSED : LEDGER_POISONED;
    } else if (core->queued_bytes + size > QUEUE_BYTES_MAX && core->queued_bytes > 0) {
        status = LEDGER_QUEUE_FULL;
    } else {
        status = ledger_stream_start(core);
    }
    ledger_request *request = status == LEDGER_OK ? open_request(core, size) : NULL;
    if (request) {
        uint64_t before = request->record_bytes;
        ledger_request_add(request, data, size, 0);
        core->queued_bytes += request->record_bytes - before;
        if (before == 0 && !core->leading) {
            pthread_cond_broadcast(&core->changed); /* a leader looks at the queue again when it is done */
        }
    } else if (status == LEDGER_OK) {
        status = LEDGER_NOMEM;
    }
    pthread_mutex_unlock(&core->mutex);
    return status;
}

int ledger_submit_batch(ledger_core *core, const uint8_t *data, uint64_t size, uint64_t count,
                        ledger_outcome *outcome) {
    ledger_request *request;
    int status = ledger_request_of(core, data, size, count, 0, 1, outcome, &request);
    if (status != LEDGER_OK) {
        return status;
    }
    request->submitted = true; /* full, so that open_request adds nothing */
    request->deadline_ns = UINT64_MAX;
    pthread_mutex_lock(&core->mutex);
    if (core->closed || core->poisoned) {
        status = core->closed ? LEDGER_CLOSED : LEDGER_POISONED;
    } else if (core->queued_bytes + request->record_bytes > QUEUE_BYTES_MAX && core->queued_bytes > 0) {
        status = LEDGER_QUEUE_FULL;
    } else {
        status = ledger_stream_start(core);
    }
    if (status == LEDGER_OK) {
        core->queued_bytes += request->record_bytes;
        ledger_enqueue(core, request);
        if (!core->leading) {
            pthread_cond_broadcast(&core->changed);
        }
    } else {
        ledger_request_free(request);
    }
    pthread_mutex_unlock(&core->mutex);
    return status;
}

int ledger_completed(ledger_core *core, uint64_t wait_ns, ledger_request **request, ledger_outcome *outcome) {
    *request = NULL;
    *outcome = (ledger_outcome){0};
    pthread_mutex_lock(&core->mutex);
    if (!core->done && !core->needs_recovery && wait_ns) {
        ledger_wait_changed(core, wait_ns);
    }
    ledger_request *first = core->done;
    int status = first ? LEDGER_OK : core->needs_recovery ? LEDGER_RECOVER : LEDGER_WAITING;
    if (first) {
        core->done = first->next;
        *request = first;
        *outcome = (ledger_outcome){.base = first->base,
                                    .time = first->time,
                                    .count = first->count,
                                    .hints = core->stream_hints,
                                    .status = first->status};
        core->stream_hints = 0;
    }
    pthread_mutex_unlock(&core->mutex);
    return status;
}

void ledger_completed_take(ledger_core *core, ledger_request *request, uint8_t *rows) {
    if (rows && request->status == LEDGER_OK) {
        ledger_give_rows(request, rows);
    }
    pthread_mutex_lock(&core->mutex);
    core->queued_bytes -= request->record_bytes;
    ledger_request_drop(core, request);
    pthread_mutex_unlock(&core->mutex);
}

int ledger_completed_event(ledger_core *core) {
    pthread_mutex_lock(&core->mutex);
    ledger_stream_start(core);
    int event = core->event;
    pthread_mutex_unlock(&core->mutex);
    return event;
}
