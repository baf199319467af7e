/* SPDX-License-Identifier: Apache-2.0 */
/* lock.c: kernel locks between processes, and the shared words that make waiting for them cheap.
 *
 * Rules     (1) open-file-description locks: a dead holder frees them, a second open in one process does not   [LOCK-2]
 *           (2) the words only shorten waits: every wait is timed, so a writer that dies never blocks another  [LOCK-3]
 *           (3) a wait longer than the caller allows returns LEDGER_WAITING with nothing held
 * See       docs/format.md "lock"; tests/many/ */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core.h"

enum { SPINS = 20, NAP_NS = 1000000, LONG_NAP_NS = 5000000 };

static int try_lock(int file, int byte, short type) {
    struct flock region = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(file, F_OFD_SETLK, &region);
}

void ledger_words_wake(ledger_core *core) {
    if (core->shared) {
        atomic_fetch_add(&core->shared->wakes, 1);
        syscall(SYS_futex, &core->shared->wakes, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    }
}

void ledger_words_wait(ledger_core *core, uint32_t seen, uint64_t wait_ns) {
    struct timespec nap = {0, (long)(wait_ns < LONG_NAP_NS ? wait_ns : LONG_NAP_NS)};
    if (core->shared) {
        syscall(SYS_futex, &core->shared->wakes, FUTEX_WAIT, seen, &nap, NULL, 0);
    } else {
        nap.tv_nsec = nap.tv_nsec < NAP_NS ? nap.tv_nsec : NAP_NS;
        nanosleep(&nap, NULL);
    }
}

int ledger_lock_take(ledger_core *core, int byte, uint64_t wait_ns) {
    uint64_t until = 0;
    for (int tries = 0;; tries++) {
        uint32_t seen = core->shared ? atomic_load(&core->shared->wakes) : 0;
        if (try_lock(core->lock_file, byte, F_WRLCK) == 0) {
            return LEDGER_OK;
        }
        if (errno != EAGAIN && errno != EACCES && errno != EINTR) {
            return ledger_core_fault(core, LEDGER_IO, errno, "locking a byte of the file lock");
        }
        uint64_t now = ledger_os_boot_ns();
        until = until ? until : now + wait_ns;
        if (now >= until) {
            return LEDGER_WAITING;
        }
        if (tries < SPINS) {
            sched_yield(); /* a commit holds byte 0 for some ten microseconds */
        } else {
            ledger_words_wait(core, seen, until - now < NAP_NS ? until - now : NAP_NS);
        }
    }
}

void ledger_lock_release(ledger_core *core, int byte) {
    try_lock(core->lock_file, byte, F_UNLCK); /* cannot fail on a lock that we hold */
    if (byte != 0) {
        ledger_words_wake(core);
    }
}
