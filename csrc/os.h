/* SPDX-License-Identifier: Apache-2.0 */
/* os.h: every system call the core makes, through one table, so that test builds can make call n fail.
 *
 * Calls     as in POSIX, errno included; the wrappers in os.c add the loops (EINTR, short transfers)
 * Owns      ledger_os, one of the two mutable tables of the core; set before the first core opens
 * See       os_fault.c (the failing table), tests/fault/ */
#ifndef LEDGER_OS_H
#define LEDGER_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>

typedef struct {
    int (*openat)(int folder, const char *name, int flags, mode_t mode);
    int (*close)(int file);
    ssize_t (*pread)(int file, void *data, size_t size, off_t offset);
    ssize_t (*pwritev)(int file, const struct iovec *pieces, int count, off_t offset);
    int (*fdatasync)(int file);
    int (*fsync)(int file);
    int (*fallocate)(int file, int mode, off_t offset, off_t size);
    int (*linkat)(int from_folder, const char *from, int to_folder, const char *to, int flags);
    int (*unlinkat)(int folder, const char *name, int flags);
    int (*fstatfs)(int file, struct statfs *facts);
    ssize_t (*getrandom)(void *data, size_t size, unsigned flags);
    void *(*allocate)(size_t size);
} ledger_os_table;

extern ledger_os_table ledger_os;

/* Each true on success; false leaves errno. Reads past the end count as EIO: we never trust an end of file. */
bool ledger_os_read(int file, void *data, size_t size, uint64_t offset);
/* Writes all pieces (which it uses up) or fails; a short write goes on, EINTR is retried, 1000 stalls are EIO. */
bool ledger_os_write_pieces(int file, struct iovec *pieces, int count, uint64_t offset);
bool ledger_os_write(int file, const void *data, size_t size, uint64_t offset);
bool ledger_os_random(void *data, size_t size);
/* EINTR only is retried: a sync that failed may have dropped the pages it failed on. */
bool ledger_os_fdatasync(int file);
bool ledger_os_fsync(int file);

uint64_t ledger_os_wall_ns(void);
uint64_t ledger_os_boot_ns(void); /* counts while the machine sleeps, never steps */

#endif
