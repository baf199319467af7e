/* SPDX-License-Identifier: Apache-2.0 */
/* os.c: the table of system calls, and the loops around them. See os.h. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "ledger_core.h"

enum { STALLS_MAX = 1000 };

static int open_in(int folder, const char *name, int flags, mode_t mode) {
    return openat(folder, name, flags, mode);
}

ledger_os_table ledger_os = {open_in, close,    pread,    pwritev, fdatasync, fsync,
                             fallocate, linkat, unlinkat, fstatfs, getrandom, malloc};

bool ledger_os_read(int file, void *data, size_t size, uint64_t offset) {
    uint8_t *to = data;
    int stalls = 0;
    while (size > 0) {
        ssize_t got = ledger_os.pread(file, to, size, (off_t)offset);
        if (got < 0 && (errno == EINTR || errno == EAGAIN) && ++stalls < STALLS_MAX) {
            continue;
        }
        if (got <= 0) {
            errno = got == 0 ? EIO : errno;
            return false;
        }
        to += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

bool ledger_os_write_pieces(int file, struct iovec *pieces, int count, uint64_t offset) {
    int stalls = 0;
    while (count > 0) {
        ssize_t put = ledger_os.pwritev(file, pieces, count, (off_t)offset);
        if (put <= 0) {
            bool again = put == 0 || errno == EINTR || errno == EAGAIN;
            if (again && ++stalls < STALLS_MAX) {
                continue;
            }
            errno = again ? EIO : errno;
            return false;
        }
        offset += (uint64_t)put;
        size_t left = (size_t)put;
        while (count > 0 && left >= pieces->iov_len) {
            left -= pieces->iov_len;
            pieces++;
            count--;
        }
        if (count > 0) {
            pieces->iov_base = (uint8_t *)pieces->iov_base + left;
            pieces->iov_len -= left;
        }
    }
    return true;
}

bool ledger_os_write(int file, const void *data, size_t size, uint64_t offset) {
    struct iovec piece = {(void *)(uintptr_t)data, size};
    return ledger_os_write_pieces(file, &piece, 1, offset);
}

bool ledger_os_random(void *data, size_t size) {
    ssize_t got;
    do {
        got = ledger_os.getrandom(data, size, 0);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)size; /* whole up to 256 bytes, says getrandom(2) */
}

bool ledger_os_fdatasync(int file) {
    int failed;
    do {
        failed = ledger_os.fdatasync(file);
    } while (failed && errno == EINTR);
    return !failed;
}

bool ledger_os_fsync(int file) {
    int failed;
    do {
        failed = ledger_os.fsync(file);
    } while (failed && errno == EINTR);
    return !failed;
}

int ledger_file_system(const char *folder, uint32_t *type) {
    int file = ledger_os.openat(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (file < 0) {
        return LEDGER_IO;
    }
    struct statfs facts;
    int failed;
    do {
        failed = ledger_os.fstatfs(file, &facts);
    } while (failed && errno == EINTR);
    ledger_os.close(file);
    *type = failed ? 0 : (uint32_t)facts.f_type; /* a signed word on some systems; the magic numbers are 32 bits */
    return failed ? LEDGER_IO : LEDGER_OK;
}

static uint64_t clock_ns(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t ledger_os_wall_ns(void) { return clock_ns(CLOCK_REALTIME); }

uint64_t ledger_os_boot_ns(void) { return clock_ns(CLOCK_BOOTTIME); }
