/* SPDX-License-Identifier: Apache-2.0 */
/* roll.c: from one active file to the next.
 *
 * Steps     under byte 0, the current file being n:
 *           (1) fdatasync n, so that everything in it is acknowledged            crash: n goes on
 *           (2) have n+1 under its name, zeroed and synced: prepared, or built   crash: n goes on, n+1 waits unused
 *           (3) fsync active/                                                    crash: the same
 *           (4) write both header copies of n+1, fdatasync                       crash: recovery sees n closed or open
 *           (5) HEAD names n+1                                                   from here n may be sealed      [ROLL-1]
 * Room      a file of written zeros makes each later sync cheaper by a journal commit, and costs its bytes twice. It pays
 *           for itself in some thousand syncs: so a writer that waits (it outran the preparation), or writes batches so
 *           large that the file has fewer, gets blocks that are only reserved. They read as zeros all the same
 * See       docs/format.md "Active file"; docs/decisions/8-reserved-or-zeroed.md; tests/crash/ */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core.h"

enum { STEP_BYTES = 1 << 20, FIRST_BYTES = 1 << 20, PAGE = 4096, LOCK_PREPARE = 4 };

static const uint8_t zeros[STEP_BYTES];

void ledger_active_name(char name[NAME_BYTES], uint64_t segno) {
    snprintf(name, NAME_BYTES, "%020" PRIu64 ".act", segno);
}

static bool make_room(int file, uint64_t bytes, bool reserve) {
    if (reserve) {
        if (ledger_os.fallocate(file, 0, 0, (off_t)bytes) == 0) {
            return true;
        }
        if (errno != EOPNOTSUPP && errno != ENOSYS) {
            return false;
        }
    }
    bool good = true;
    for (uint64_t at = 0; good && at < bytes; at += STEP_BYTES) {
        uint64_t step = bytes - at < STEP_BYTES ? bytes - at : STEP_BYTES;
        good = ledger_os_write(file, zeros, (size_t)step, at) && ledger_os_fdatasync(file);
    }
    return good;
}

int ledger_active_create(int folder, const char *name, uint64_t bytes, int reserve) {
    int file = ledger_os.openat(folder, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file < 0) {
        return errno == ENOSPC || errno == EDQUOT ? LEDGER_DISK_FULL : LEDGER_IO;
    }
    bool good = make_room(file, bytes, reserve) && ledger_os_fsync(file);
    int error = errno;
    if (ledger_os.close(file) != 0 && good) {
        error = errno;
        good = false;
    }
    if (good) {
        return LEDGER_OK;
    }
    ledger_os.unlinkat(folder, name, 0); /* a leftover .tmp is harmless: names with .tmp are never read */
    errno = error;
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? LEDGER_DISK_FULL : LEDGER_IO;
}

/* 1, 4, 16, 64 MiB: a ten-event ledger stays small, a busy one soon has full segments. */
static uint64_t next_bytes(const ledger_core *core, uint64_t batch_bytes) {
    uint64_t most = core->header.segment_bytes_max;
    uint64_t bytes = core->header.file_bytes >= most / 4 ? most : core->header.file_bytes * 4;
    bytes = bytes < FIRST_BYTES ? FIRST_BYTES : bytes;
    uint64_t need = BATCHES_BEGIN + batch_bytes;
    bytes = bytes < need ? need : bytes;
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static int build(ledger_core *core, uint64_t segno, uint64_t bytes, bool locked) {
    char name[NAME_BYTES], building[NAME_BYTES];
    ledger_active_name(name, segno);
    /* A roll may have to build while this process also prepares: two names. */
    snprintf(building, sizeof building, "%" PRIu64 ".%s.%ld.tmp", segno, locked ? "roll" : "prepare", (long)core->pid);
    ledger_os.unlinkat(core->active_folder, building, 0); /* of an earlier process with our pid, dead by now */
    bool reserve = locked || atomic_load(&core->bulk);
    int status = ledger_active_create(core->active_folder, building, bytes, reserve);
    if (status != LEDGER_OK) {
        return ledger_core_fault(core, status, errno, "making room for the next active file");
    }
    if (!locked) {
        status = ledger_lock_take(core, 0, core->lock_timeout_ns);
    }
    ledger_head now;
    if (status == LEDGER_OK) {
        /* Link only what is still wanted: another process may have rolled meanwhile. */
        bool wanted = locked || (ledger_head_load(core->head_file, &now) && now.segno + 1 == segno);
        if (wanted && ledger_os.linkat(core->active_folder, building, core->active_folder, name, 0) != 0 &&
            errno != EEXIST) {
            status = ledger_core_fault(core, LEDGER_IO, errno, "naming the next active file");
        }
        if (!locked) {
            ledger_lock_release(core, 0);
        }
    }
    ledger_os.unlinkat(core->active_folder, building, 0);
    return status;
}

int ledger_core_prepare(ledger_core *core) {
    int status = ledger_lock_take(core, LOCK_PREPARE, 0);
    if (status != LEDGER_OK) {
        return status == LEDGER_WAITING ? LEDGER_OK : status; /* somebody else is at it */
    }
    ledger_head head;
    char name[NAME_BYTES];
    struct stat there;
    if (ledger_head_load(core->head_file, &head)) {
        ledger_active_name(name, head.segno + 1);
        if (fstatat(core->active_folder, name, &there, AT_SYMLINK_NOFOLLOW) != 0) {
            status = build(core, head.segno + 1, next_bytes(core, 0), false);
        }
    }
    ledger_lock_release(core, LOCK_PREPARE);
    return status;
}

static bool read_header(int file, uint64_t offset, ledger_active_header *header) {
    uint8_t bytes[HEADER_BYTES];
    return ledger_os_read(file, bytes, sizeof bytes, offset) && ledger_active_header_decode(bytes, header) == LEDGER_OK;
}

static void begin_segment(ledger_core *core) {
    core->segment_seen_ns = core->segment_batches = core->segment_bytes = 0;
    core->next_prepared = false;
}

int ledger_active_enter(ledger_core *core, uint64_t segno) {
    char name[NAME_BYTES];
    struct stat is;
    ledger_active_name(name, segno);
    int file = ledger_os.openat(core->active_folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
    if (file < 0) {
        return errno == ENOENT ? LEDGER_RECOVER : ledger_core_fault(core, LEDGER_IO, errno, "opening the active file");
    }
    ledger_active_header header;
    bool good = fstat(file, &is) == 0 && S_ISREG(is.st_mode) &&
                (read_header(file, 0, &header) || read_header(file, HEADER_BYTES, &header)) && header.segno == segno &&
                memcmp(header.fingerprint, core->fingerprint, 32) == 0 && header.file_bytes == (uint64_t)is.st_size;
    if (!good) {
        ledger_os.close(file);
        return LEDGER_RECOVER; /* recovery looks closer, and names what is wrong */
    }
    if (core->active_file >= 0) {
        ledger_os.close(core->active_file); /* only ever written through syncs of its own: nothing is pending */
    }
    core->active_file = file;
    core->header = header;
    begin_segment(core);
    return LEDGER_OK;
}

static void next_header(const ledger_core *core, uint64_t bytes, ledger_active_header *next) {
    *next = core->header;
    next->segno = core->header.segno + 1;
    next->base = core->head.written_size;
    ledger_range_root(&core->head.range, next->root);
    memcpy(next->link, core->head.link, 32);
    next->time_before = core->head.time;
    next->created_ns = ledger_os_wall_ns();
    memcpy(next->boot_id, core->boot_id, 16);
    next->file_bytes = bytes;
    next->peak_count = core->head.range.count;
    memset(next->peaks, 0, sizeof next->peaks);
    memcpy(next->peaks, core->head.range.peaks, (size_t)next->peak_count * 32);
}

/* n+1 under its name, large enough and never begun; its size to *bytes and a descriptor to *file. */
static int obtain(ledger_core *core, uint64_t batch_bytes, uint64_t *bytes, int *file) {
    char name[NAME_BYTES];
    ledger_active_name(name, core->header.segno + 1);
    struct stat is;
    if (fstatat(core->active_folder, name, &is, AT_SYMLINK_NOFOLLOW) == 0 &&
        (uint64_t)is.st_size < BATCHES_BEGIN + batch_bytes && ledger_os.unlinkat(core->active_folder, name, 0) != 0) {
        return ledger_core_fault(core, LEDGER_IO, errno, "removing a prepared file that is too small");
    }
    if (fstatat(core->active_folder, name, &is, AT_SYMLINK_NOFOLLOW) != 0) {
        int status = build(core, core->header.segno + 1, next_bytes(core, batch_bytes), true);
        if (status != LEDGER_OK) {
            return status;
        }
    }
    *file = ledger_os.openat(core->active_folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
    if (*file < 0 || fstat(*file, &is) != 0) {
        return ledger_core_fault(core, LEDGER_IO, errno, "opening the next active file");
    }
    *bytes = (uint64_t)is.st_size;
    return LEDGER_OK;
}

int ledger_roll(ledger_core *core, uint64_t batch_bytes) {
    if (!ledger_os_fdatasync(core->active_file)) {
        return ledger_core_fault(core, LEDGER_UNKNOWN, errno, "syncing the active file before a roll");
    }
    uint64_t bytes = 0;
    int file = -1;
    int status = obtain(core, batch_bytes, &bytes, &file);
    if (status != LEDGER_OK) {
        return status;
    }
    ledger_active_header next;
    uint8_t encoded[HEADER_BYTES];
    next_header(core, bytes, &next);
    bool good = ledger_os_random(next.salt, sizeof next.salt) && ledger_os_random(next.seed, sizeof next.seed);
    ledger_active_header_encode(&next, encoded);
    if (!good || !ledger_os_fsync(core->active_folder)) {
        status = ledger_core_fault(core, good ? LEDGER_UNKNOWN : LEDGER_IO, errno, "syncing the folder active/");
    } else if (!ledger_os_write(file, encoded, HEADER_BYTES, 0) ||
               !ledger_os_write(file, encoded, HEADER_BYTES, HEADER_BYTES) || !ledger_os_fdatasync(file)) {
        status = ledger_core_fault(core, LEDGER_UNKNOWN, errno, "writing the header of the next active file");
    }
    if (status != LEDGER_OK) {
        ledger_os.close(file);
        return status;
    }
    ledger_os.close(core->active_file);
    core->active_file = file;
    core->header = next;
    begin_segment(core);
    core->head.segno = next.segno;
    core->head.written_end = core->head.synced_end = BATCHES_BEGIN;
    core->head.synced_size = core->head.written_size;
    core->stats.rolls++;
    return ledger_head_put(core, &core->head)
               ? LEDGER_OK
               : ledger_core_fault(core, LEDGER_UNKNOWN, errno, "writing HEAD after a roll");
}
