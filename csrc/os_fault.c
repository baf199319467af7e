/* SPDX-License-Identifier: Apache-2.0 */
/* os_fault.c: test builds only (LEDGER_FAULTS). Makes the n-th call of one kind fail, once or from then on.
 *
 * Owns      what to fail, in one static; tests arm it from one thread before the call under test */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ledger_core.h"
#include "os.h"

typedef enum { OPENAT, PREAD, PWRITEV, FDATASYNC, FSYNC, FALLOCATE, LINKAT, UNLINKAT, FSTATFS, RANDOM, ALLOCATE, CALLS } call;

static const char *const names[CALLS] = {"openat", "pread",    "pwritev", "fdatasync", "fsync",
                                         "fallocate", "linkat", "unlinkat", "fstatfs", "random",  "allocate"};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static ledger_os_table real;
static int armed = -1, failure, sticky, short_bytes;
static uint64_t left, counts[CALLS];

static int fails(call which) {
    pthread_mutex_lock(&mutex);
    counts[which]++;
    int hit = armed == (int)which && (left == 0 || --left == 0);
    if (hit && !sticky) {
        armed = -1;
    }
    int error = hit ? failure : 0;
    pthread_mutex_unlock(&mutex);
    errno = error ? error : errno;
    return error;
}

static int fault_openat(int folder, const char *name, int flags, mode_t mode) {
    return fails(OPENAT) ? -1 : real.openat(folder, name, flags, mode);
}
static ssize_t fault_pread(int file, void *data, size_t size, off_t offset) {
    return fails(PREAD) ? -1 : real.pread(file, data, size, offset);
}
/* A failing write first writes `short_bytes` of its first piece: what a full disk or a torn write leaves. */
static ssize_t fault_pwritev(int file, const struct iovec *pieces, int count, off_t offset) {
    int error = fails(PWRITEV);
    if (!error) {
        return real.pwritev(file, pieces, count, offset);
    }
    if (short_bytes > 0) {
        struct iovec part = pieces[0];
        part.iov_len = part.iov_len < (size_t)short_bytes ? part.iov_len : (size_t)short_bytes;
        ssize_t put = real.pwritev(file, &part, 1, offset);
        if (error < 0) {
            return put; /* a short write that is no error: the caller goes on */
        }
        errno = error;
    }
    return -1;
}
static int fault_fdatasync(int file) { return fails(FDATASYNC) ? -1 : real.fdatasync(file); }
static int fault_fsync(int file) { return fails(FSYNC) ? -1 : real.fsync(file); }
static int fault_fallocate(int file, int mode, off_t offset, off_t size) {
    return fails(FALLOCATE) ? -1 : real.fallocate(file, mode, offset, size);
}
static int fault_linkat(int from, const char *a, int to, const char *b, int flags) {
    return fails(LINKAT) ? -1 : real.linkat(from, a, to, b, flags);
}
static int fault_unlinkat(int folder, const char *name, int flags) {
    return fails(UNLINKAT) ? -1 : real.unlinkat(folder, name, flags);
}
/* `failure` above 4095 is no errno: the type of a file system that is not at hand, to be reported. */
static int fault_fstatfs(int file, struct statfs *facts) {
    int error = fails(FSTATFS);
    if (error > 0 && error <= 4095) {
        return -1;
    }
    int failed = real.fstatfs(file, facts);
    if (error) {
        facts->f_type = (uint32_t)error;
    }
    return failed;
}
static ssize_t fault_random(void *data, size_t size, unsigned flags) {
    return fails(RANDOM) ? -1 : real.getrandom(data, size, flags);
}
static void *fault_allocate(size_t size) { return fails(ALLOCATE) ? NULL : real.allocate(size); }

int ledger_fault_arm(const char *name, uint64_t nth, int error, int forever, int bytes) {
    pthread_mutex_lock(&mutex);
    if (!real.openat) {
        real = ledger_os;
        ledger_os = (ledger_os_table){fault_openat,   real.close,  fault_pread,    fault_pwritev, fault_fdatasync,
                                      fault_fsync,    fault_fallocate, fault_linkat, fault_unlinkat,
                                      fault_fstatfs,  fault_random, fault_allocate};
    }
    memset(counts, 0, sizeof counts);
    armed = -1;
    for (int i = 0; i < CALLS; i++) {
        armed = nth && strcmp(name, names[i]) == 0 ? i : armed;
    }
    left = nth;
    failure = error;
    sticky = forever;
    short_bytes = bytes;
    pthread_mutex_unlock(&mutex);
    return armed >= 0 || nth == 0 ? LEDGER_OK : LEDGER_USAGE;
}

uint64_t ledger_fault_count(const char *name) {
    for (int i = 0; i < CALLS; i++) {
        if (strcmp(name, names[i]) == 0) {
            return counts[i];
        }
    }
    return 0;
}
