/* SPDX-License-Identifier: Apache-2.0 */
/* status.c: what each ledger_status is called and what it means, for exceptions and reports.
 *
 * Text      what is true now and what is still safe, in lower case, without a full stop: it ends a longer sentence
 * Owns      one constant table, as long as the enum
 * See       ledger_core.h "status"; ledger/_native.py; tests/unit/test_kernels.py */
#include "ledger_core.h"

typedef struct {
    const char *name;
    const char *text;
} meaning;

static const meaning meanings[] = {
    [LEDGER_OK] = {"OK", "done"},
    [LEDGER_WAITING] = {"WAITING", "not yet known; ask again with the same ticket"},
    [LEDGER_USAGE] = {"USAGE", "the call is wrong; nothing happened"},
    [LEDGER_BAD_EVENT] = {"BAD_EVENT", "not an event in the exact form; nothing was stored"},
    [LEDGER_TOO_LARGE] = {"TOO_LARGE", "above a limit; nothing was stored"},
    [LEDGER_CORRUPT] = {"CORRUPT", "the bytes on disk break a rule of the format; no byte was changed"},
    [LEDGER_IO] = {"IO", "a system call failed"},
    [LEDGER_DISK_FULL] = {"DISK_FULL", "no space left; the batch was not stored, earlier ones are safe"},
    [LEDGER_POISONED] = {"POISONED", "an earlier sync failed; what was acknowledged is safe, reopen to recover"},
    [LEDGER_UNKNOWN] = {"UNKNOWN", "written, but the sync failed; reopen to learn whether it is durable"},
    [LEDGER_LOCKED] = {"LOCKED", "another writer held the lock for too long; nothing happened"},
    [LEDGER_RECOVER] = {"RECOVER", "a writer died between two steps; recovery must run first"},
    [LEDGER_NOMEM] = {"NOMEM", "out of memory; nothing happened"},
    [LEDGER_INTERNAL] = {"INTERNAL", "an invariant of the core does not hold; reopen, and report it"},
    [LEDGER_CLOSED] = {"CLOSED", "the core is closed, or belongs to the parent of this process"},
    [LEDGER_QUEUE_FULL] = {"QUEUE_FULL", "the queue is full; nothing was taken, wait for space"},
};

#define MEANING_COUNT (sizeof meanings / sizeof meanings[0])

_Static_assert(MEANING_COUNT == LEDGER_QUEUE_FULL + 1, "every status has a name and a text");

static meaning meaning_of(int status) {
    if (status < 0 || (size_t)status >= MEANING_COUNT) return (meaning){"?", "a number that is no status"};
    return meanings[status];
}

const char *ledger_status_name(int status) {
    return meaning_of(status).name;
}

const char *ledger_status_text(int status) {
    return meaning_of(status).text;
}
