/* SPDX-License-Identifier: Apache-2.0 */
/* core.c: the life of a core: open, join, the calls recovery and seal need, close.
 *
 * Life      open (descriptors only) -> join (current, or LEDGER_RECOVER) -> appends -> close
 * Poison    a failed sync, a failed write that is not for want of space, or a broken invariant; final for the core,
 *           told to other processes by a shared word first and by HEAD after                              [POISON-1]
 * Fork      ledger_core_forget in the child: descriptors closed at once, locks neither freed nor kept      [FORK-1]
 * See       core.h; tests/unit/test_group_commit.py, tests/fault/, tests/many/ */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core.h"

enum { WORDS_OFFSET = 4096, WORDS_BYTES = 4096, POISONED_FLAG = 1, CLOSE_WAIT_NS = 100000000 };

int ledger_core_fault(ledger_core *core, int status, int error, const char *what) {
    bool poisons = status == LEDGER_UNKNOWN || status == LEDGER_POISONED || status == LEDGER_INTERNAL;
    if (poisons && core->shared && status != LEDGER_POISONED) {
        atomic_store(&core->shared->poison, 1);
    }
    if (!core->poisoned) {
        core->fault.status = status;
        core->fault.error = error;
        snprintf(core->fault.what, sizeof core->fault.what, "%s", what);
    }
    core->poisoned = core->poisoned || poisons;
    errno = error;
    return status;
}

static shared_words *map_words(const char *path) {
    char name[4096];
    if (snprintf(name, sizeof name, "%s/lock", path) >= (int)sizeof name) {
        return NULL;
    }
    int file = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW); /* its own: closing it frees no lock of ours */
    if (file < 0) {
        return NULL;
    }
    void *page = mmap(NULL, WORDS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, WORDS_OFFSET);
    close(file);
    if (page == MAP_FAILED) {
        return NULL;
    }
    madvise(page, WORDS_BYTES, MADV_DONTFORK);
    return page;
}

static int open_part(int folder, const char *name, int flags, ledger_fault *fault) {
    int file = ledger_os.openat(folder, name, flags | O_CLOEXEC | O_NOFOLLOW, 0);
    if (file < 0) {
        fault->status = LEDGER_IO;
        fault->error = errno;
        snprintf(fault->what, sizeof fault->what, "opening %s", name);
    }
    return file;
}

static void init_sync(ledger_core *core) {
    pthread_condattr_init(&core->monotonic);
    pthread_condattr_setclock(&core->monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&core->changed, &core->monotonic);
    pthread_mutex_init(&core->mutex, NULL);
}

static void close_files(ledger_core *core) {
    int *const files[] = {&core->active_file, &core->head_file, &core->lock_file, &core->active_folder, &core->folder};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (*files[i] >= 0) {
            ledger_os.close(*files[i]);
            *files[i] = -1;
        }
    }
}

int ledger_core_open(const char *path, const uint8_t fingerprint[32], const uint8_t boot_id[16],
                     uint64_t lock_timeout_ns, uint64_t interval_ns, ledger_core **opened, ledger_fault *fault) {
    memset(fault, 0, sizeof *fault);
    *opened = NULL;
    ledger_core *core = ledger_os.allocate(sizeof *core);
    if (!core) {
        return fault->status = LEDGER_NOMEM;
    }
    memset(core, 0, sizeof *core);
    core->active_folder = core->lock_file = core->head_file = core->active_file = core->event = -1;
    core->pid = getpid();
    core->lock_timeout_ns = lock_timeout_ns;
    core->interval_ns = interval_ns;
    core->header.event_bytes_max = UINT32_MAX; /* until joined */
    memcpy(core->fingerprint, fingerprint, 32);
    memcpy(core->boot_id, boot_id, 16);
    core->folder = ledger_os.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (core->folder < 0) {
        *fault = (ledger_fault){.status = LEDGER_IO, .error = errno, .what = "opening the ledger's folder"};
    } else {
        core->active_folder = open_part(core->folder, "active", O_RDONLY | O_DIRECTORY, fault);
        core->lock_file = open_part(core->folder, "lock", O_RDWR, fault);
        core->head_file = open_part(core->folder, "HEAD", O_RDWR, fault);
    }
    if (fault->status != LEDGER_OK) {
        close_files(core);
        free(core);
        return fault->status;
    }
    core->shared = map_words(path);
    init_sync(core);
    *opened = core;
    return LEDGER_OK;
}

/* Takes the leader role, so that no commit runs meanwhile. */
static int become_leader(ledger_core *core) {
    pthread_mutex_lock(&core->mutex);
    while (core->leading) {
        ledger_wait_changed(core, CLOSE_WAIT_NS);
    }
    bool closed = core->closed;
    core->leading = !closed;
    pthread_mutex_unlock(&core->mutex);
    return closed ? LEDGER_CLOSED : LEDGER_OK;
}

static void resign(ledger_core *core) {
    pthread_mutex_lock(&core->mutex);
    core->leading = false;
    ledger_wake_next(core);
    pthread_mutex_unlock(&core->mutex);
}

int ledger_core_join(ledger_core *core) {
    int status = become_leader(core);
    if (status != LEDGER_OK) {
        return status;
    }
    status = ledger_lock_take(core, 0, core->lock_timeout_ns);
    if (status == LEDGER_OK) {
        status = ledger_core_join_locked(core);
        ledger_lock_release(core, 0);
    }
    resign(core);
    return status == LEDGER_WAITING ? LEDGER_LOCKED : status;
}

int ledger_core_join_locked(ledger_core *core) {
    int status = ledger_join_locked(core);
    pthread_mutex_lock(&core->mutex);
    core->needs_recovery = core->needs_recovery && status != LEDGER_OK;
    pthread_mutex_unlock(&core->mutex);
    return status;
}

int ledger_core_head(ledger_core *core, ledger_head *head) {
    return ledger_head_load(core->head_file, head) ? LEDGER_OK : LEDGER_CORRUPT;
}

int ledger_core_lock(ledger_core *core, int byte, uint64_t timeout_ns) {
    /* Byte 0 is also guarded inside this process by the leader role: the kernel lock belongs to the descriptor. */
    int status = byte == 0 ? become_leader(core) : LEDGER_OK;
    if (status == LEDGER_OK) {
        status = ledger_lock_take(core, byte, timeout_ns);
        if (status != LEDGER_OK && byte == 0) {
            resign(core);
        }
    }
    return status;
}

void ledger_core_unlock(ledger_core *core, int byte) {
    ledger_lock_release(core, byte);
    if (byte == 0) {
        resign(core);
    }
}

int ledger_core_publish(ledger_core *core, const ledger_head *head) {
    ledger_head next = *head, old;
    if (ledger_head_load(core->head_file, &old) && old.generation > next.generation) {
        next.generation = old.generation;
    }
    next.flags = 0;
    if (!ledger_head_put(core, &next) || !ledger_head_put(core, &next) || !ledger_os_fdatasync(core->head_file)) {
        return ledger_core_fault(core, LEDGER_IO, errno, "writing HEAD after recovery");
    }
    if (core->shared) {
        atomic_store(&core->shared->poison, 0);
        atomic_store(&core->shared->dirty, 0);
        atomic_store(&core->shared->busy, 0);
    }
    core->joined = false;
    int status = ledger_active_enter(core, next.segno);
    status = status == LEDGER_OK ? ledger_join_locked(core) : status;
    pthread_mutex_lock(&core->mutex);
    core->needs_recovery = core->needs_recovery && status != LEDGER_OK;
    ledger_wake_next(core);
    pthread_mutex_unlock(&core->mutex);
    return status;
}

static uint64_t until_old(const ledger_core *core) {
    uint64_t age = ledger_os_boot_ns() - core->segment_seen_ns, limit = core->header.segment_age_max_ns;
    return core->segment_seen_ns == 0 ? UINT64_MAX : age > limit ? 0 : limit - age + 1;
}

static int roll_if(ledger_core *core, uint64_t *left_ns) {
    int status = ledger_core_lock(core, 0, core->lock_timeout_ns);
    if (status != LEDGER_OK) {
        return status == LEDGER_WAITING ? LEDGER_LOCKED : status;
    }
    status = ledger_join_locked(core);
    if (status == LEDGER_OK && left_ns) {
        *left_ns = until_old(core);
    }
    if (status == LEDGER_OK && (!left_ns || *left_ns == 0) && core->head.written_size > core->header.base) {
        status = ledger_roll(core, 0);
    }
    ledger_core_unlock(core, 0);
    return status;
}

int ledger_core_roll(ledger_core *core) { return roll_if(core, NULL); }

int ledger_core_roll_old(ledger_core *core, uint64_t *left_ns) { return roll_if(core, left_ns); }

void ledger_core_read_fault(ledger_core *core, ledger_fault *fault) {
    pthread_mutex_lock(&core->mutex);
    *fault = core->fault;
    pthread_mutex_unlock(&core->mutex);
}

void ledger_core_read_stats(ledger_core *core, ledger_core_stats *stats) {
    pthread_mutex_lock(&core->mutex);
    *stats = core->stats;
    pthread_mutex_unlock(&core->mutex);
}

int ledger_core_close(ledger_core *core) {
    pthread_mutex_lock(&core->mutex);
    core->closed = true;
    ledger_wake_next(core);
    pthread_mutex_unlock(&core->mutex);
    ledger_stream_stop(core); /* commits what was submitted */
    pthread_mutex_lock(&core->mutex);
    while (core->callers > 0 || core->leading) {
        ledger_wait_changed(core, CLOSE_WAIT_NS);
    }
    int status = core->queue ? LEDGER_CLOSED : core->poisoned ? core->fault.status : LEDGER_OK;
    pthread_mutex_unlock(&core->mutex);
    for (ledger_request *list = core->queue, *next; list; list = next) {
        next = list->next;
        ledger_request_free(list);
    }
    for (ledger_request *list = core->done, *next; list; list = next) {
        next = list->next;
        ledger_request_free(list);
    }
    ledger_request_free(core->spare);
    /* So that a power loss after a clean close finds the newest acknowledgement mark. */
    if (core->joined && !core->poisoned && !ledger_os_fdatasync(core->head_file)) {
        status = LEDGER_UNKNOWN;
    }
    if (core->shared) {
        munmap(core->shared, WORDS_BYTES);
    }
    close_files(core);
    pthread_cond_destroy(&core->changed);
    pthread_condattr_destroy(&core->monotonic);
    pthread_mutex_destroy(&core->mutex);
    free(core);
    return status;
}

void ledger_core_forget(ledger_core *core) {
    close_files(core);
    if (core->event >= 0) {
        close(core->event);
    }
}
