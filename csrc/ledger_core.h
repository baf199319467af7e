/* SPDX-License-Identifier: Apache-2.0 */
/* ledger_core.h: the whole C API of the core; build_core.py gives cffi the part between the two markers.
 *
 * Rules     every call returns a ledger_status (names and texts in status.c); results go through pointers that
 *           the caller owns; nothing prints, exits or aborts; sizes are bytes, counts are entries
 * Threads   pure functions: any number at once. A core: any number of threads; see commit.c
 * See       docs/format.md for every byte; docs/architecture.md for who calls whom */
#ifndef LEDGER_CORE_H
#define LEDGER_CORE_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
/* ---- status (status.c) ---------------------------------------------------------------------------------- */
typedef enum {
    LEDGER_OK = 0,
    LEDGER_WAITING = 1,     /* not an error: come back with the ticket (after running signal handlers) */
    LEDGER_USAGE = 2,       /* the call itself is wrong; nothing happened */
    LEDGER_BAD_EVENT = 3,   /* bytes that are not an event in the exact form; nothing happened */
    LEDGER_TOO_LARGE = 4,   /* above a limit; nothing happened */
    LEDGER_CORRUPT = 5,     /* bytes on disk that break a rule of docs/format.md */
    LEDGER_IO = 6,          /* a system call failed; errno is in the fault */
    LEDGER_DISK_FULL = 7,   /* ENOSPC, EDQUOT or EFBIG before a sync; the batch failed whole */
    LEDGER_POISONED = 8,    /* an earlier sync failed; the core refuses work until recovery by reopening */
    LEDGER_UNKNOWN = 9,     /* written, but a sync failed: durable or not is unknown until recovery */
    LEDGER_LOCKED = 10,     /* the lock was not free in time */
    LEDGER_RECOVER = 11,    /* someone died between two steps: recovery must run before this call */
    LEDGER_NOMEM = 12,      /* an allocation failed; nothing happened */
    LEDGER_INTERNAL = 13,   /* one of our own invariants does not hold; the core is poisoned */
    LEDGER_CLOSED = 14,     /* the core is closed, or belongs to the parent of this process */
    LEDGER_QUEUE_FULL = 15  /* the submit queue is at its bound; wait for space */
} ledger_status;

const char *ledger_status_name(int status);
const char *ledger_status_text(int status);

/* ---- kernels (cpu.c, sha256.c, crc32c.c, siphash.c) ----------------------------------------------------- */
/* "auto", or a kernel by name: LEDGER_USAGE when it is unknown or this CPU lacks it. For start-up and tests. */
int ledger_kernel_select(const char *name);
const char *ledger_kernel_name(void); /* "sha-ni", "sse4.2" or "portable" */
void ledger_sha256(const uint8_t *data, size_t size, uint8_t hash[32]);
/* n messages of one size, stride bytes apart, hashed four abreast (above 119 bytes: one by one). hashes: n x 32. */
void ledger_sha256_fixed(const uint8_t *messages, size_t stride, size_t size, size_t n, uint8_t *hashes);
/* n node hashes of n x 64 bytes, left || right; hashes (n x 32) may be the same memory as pairs. */
void ledger_sha256_nodes(const uint8_t *pairs, size_t n, uint8_t *hashes);
/* Commitments of n payloads at base + offsets[i], sizes[i] bytes each. salts: n x 16; hashes: hash_stride apart. */
void ledger_sha256_commitments(const uint8_t *salts, const uint8_t *base, const uint64_t *offsets,
                               const uint32_t *sizes, size_t n, uint8_t *hashes, size_t hash_stride);
/* Salts of the indexes [begin, begin + n). salts: n x 16. */
void ledger_sha256_salts(const uint8_t seed[32], uint64_t begin, size_t n, uint8_t *salts);
uint32_t ledger_crc32c(uint32_t crc, const uint8_t *data, size_t size); /* start with 0 */
uint64_t ledger_siphash24(const uint8_t key[16], const uint8_t *data, size_t size);

/* ---- events (msgpack.c) --------------------------------------------------------------------------------- */
typedef enum {
    LEDGER_EVENT_OK = 0,
    LEDGER_EVENT_TRUNCATED = 1,      /* the bytes end inside a value */
    LEDGER_EVENT_NOT_A_MAP = 2,      /* the outermost value is not a map */
    LEDGER_EVENT_NOT_SHORTEST = 3,   /* an integer, length or timestamp has a shorter form */
    LEDGER_EVENT_KEY_NOT_STRING = 4,
    LEDGER_EVENT_KEY_REPEATED = 5,
    LEDGER_EVENT_NOT_UTF8 = 6,
    LEDGER_EVENT_FLOAT32 = 7,        /* floats are float64 */
    LEDGER_EVENT_NOT_FINITE = 8,
    LEDGER_EVENT_EXT = 9,            /* an extension other than timestamp -1 */
    LEDGER_EVENT_TIMESTAMP = 10,     /* nanoseconds above 999,999,999 */
    LEDGER_EVENT_TOO_DEEP = 11,      /* more than 32 nested maps and arrays */
    LEDGER_EVENT_TRAILING = 12,      /* bytes after the event */
    LEDGER_EVENT_UNASSIGNED = 13     /* the byte 0xc1 */
} ledger_event_fault;

/* Exactly one event: LEDGER_OK, or LEDGER_BAD_EVENT with the reason and the offset of the value at fault. */
int ledger_event_check(const uint8_t *data, size_t size, int *reason, uint64_t *offset);
/* One event at the start of data; its size in bytes to *event_size. Faults as above, but never TRAILING. */
int ledger_event_next(const uint8_t *data, size_t size, size_t *event_size, int *reason, uint64_t *offset);
/* ---- tree (merkle.c) ------------------------------------------------------------------------------------- */
/* The perfect subtrees of [0, size), largest first: what it takes to go on and to know the root (RFC 6962 2.1). */
typedef struct {
    uint64_t size;
    uint32_t count;      /* peaks in use = bits set in size */
    uint32_t zero;
    uint8_t peaks[2048]; /* count x 32 */
} ledger_range;

void ledger_range_push(ledger_range *range, const uint8_t *leaves, size_t count); /* count x 32 leaf hashes */
void ledger_range_root(const ledger_range *range, uint8_t root[32]);
/* Root over any number of leaf hashes >= 1; overwrites them. */
void ledger_leaves_root(uint8_t *leaves, size_t count, uint8_t root[32]);

/* ---- entries (entry.c): docs/format.md "Entry" ------------------------------------------------------------ */
/* Where a chain stands: what the next entry needs to know. */
typedef struct {
    uint8_t ledger_id[16];
    uint64_t size;     /* index of the next entry */
    uint64_t time;     /* of the last entry; 0 before the first */
    uint8_t link[32];  /* leaf hash of the last entry; F before the first */
} ledger_chain;

/* One entry's place in some buffer. */
typedef struct {
    uint64_t offset; /* of the payload */
    uint64_t time;
    uint32_t bytes;  /* of the payload */
    uint8_t kind;
    uint8_t flags;
    uint16_t zero;
} ledger_row;

/* Entries, salts and leaf hashes of `count` rows whose payloads lie at data + row.offset; moves the chain on.
 * Trusts kind, bytes, time and flags of the rows. entries: count x 104, salts: count x 16, leaves: count x 32. */
void ledger_chain_extend(ledger_chain *chain, const uint8_t seed[32], const uint8_t *data, const ledger_row *rows,
                         size_t count, uint8_t *entries, uint8_t *salts, uint8_t *leaves);

/* ---- frames (frame.c): docs/format.md "Active file" -------------------------------------------------------- */
typedef struct {
    uint8_t fingerprint[32];
    uint64_t segno;
    uint64_t base;
    uint8_t root[32]; /* of the ledger at base */
    uint8_t link[32]; /* leaf hash before base */
    uint8_t salt[16];
    uint8_t seed[32];
    uint64_t created_ns;
    uint8_t boot_id[16];
    uint64_t file_bytes;
    uint64_t segment_bytes_max;
    uint64_t segment_entries_max;
    uint64_t segment_age_max_ns;
    uint32_t event_bytes_max;
    uint32_t peak_count;
    uint8_t peaks[2048];
    uint64_t time_before; /* of the entry before base; 0 at base 0 */
} ledger_active_header;

typedef struct {
    uint32_t body_bytes;
    uint32_t count;
    uint64_t base;
    uint64_t synced_end;
    uint64_t time;
    uint32_t incarnation;
    uint32_t body_crc;
} ledger_batch_header;

void ledger_active_header_encode(const ledger_active_header *header, uint8_t bytes[4096]);
/* LEDGER_CORRUPT, or LEDGER_USAGE for a newer major or an unknown incompatible flag. */
int ledger_active_header_decode(const uint8_t bytes[4096], ledger_active_header *header);
void ledger_batch_header_encode(const ledger_batch_header *batch, const uint8_t salt[16], uint64_t segno,
                                uint64_t offset, uint8_t bytes[64]);
int ledger_batch_header_decode(const uint8_t bytes[64], const uint8_t salt[16], uint64_t segno, uint64_t offset,
                               ledger_batch_header *batch);

/* ---- scan (scan.c): facts about an active file, no decisions ------------------------------------------------ */
typedef enum {
    LEDGER_STOP_ZERO = 0,   /* 64 zero bytes, or the end of the data: where the log ends */
    LEDGER_STOP_HEADER = 1, /* bytes that are no batch header */
    LEDGER_STOP_BODY = 2,   /* a valid header whose body fails its checksum, its records or its padding */
    LEDGER_STOP_CHAIN = 3,  /* a sound batch that does not follow: base index, incarnation, leaf hash or flags */
    LEDGER_STOP_ROWS = 4    /* the rows are full: go on with more room */
} ledger_stop;

typedef struct {
    uint64_t end;         /* in: where to begin; out: the first byte after the last valid batch */
    ledger_chain chain;   /* in/out */
    ledger_range range;   /* in/out, when hashing */
    uint64_t synced_end;  /* greatest of the valid batches' synced_end */
    uint64_t batch_count;
    uint64_t row_count;   /* rows written by this call */
    uint32_t incarnation; /* in/out: of the last valid batch */
    int32_t stop;         /* a ledger_stop */
} ledger_scan_state;

/* Read batches of data (which holds file bytes [0, size)) from state->end on. hashing: recompute every entry and
 * the tree, and compare leaf hashes (else only checksums are compared, and chain.link is taken from the batch).
 * leaves may be NULL (count x 32, only when hashing). Batches that do not fit rows are left. */
int ledger_scan(const uint8_t *data, uint64_t size, const ledger_active_header *header, int hashing,
                ledger_scan_state *state, ledger_row *rows, uint64_t row_capacity, uint8_t *leaves);

typedef struct {
    uint64_t nonzero_end;      /* first offset from which everything is zero; = begin when all is */
    uint64_t header_count;     /* valid batch headers at or after begin */
    uint64_t entry_count;      /* entries that they declare */
    uint64_t synced_end;       /* the greatest synced_end among them */
    uint64_t witness_offset;   /* offset of a header with that synced_end */
} ledger_tail_facts;

/* What lies in [begin, size): looked for at every 512th byte, found by the keyed check alone. */
void ledger_scan_tail(const uint8_t *data, uint64_t size, const ledger_active_header *header, uint64_t begin,
                      ledger_tail_facts *facts);

/* ---- blocks (block.c): docs/format.md "Block" ---------------------------------------------------------------- */
uint64_t ledger_block_bytes(const ledger_row *rows, uint32_t count);
/* out has ledger_block_bytes; flags and kinds come from the rows. */
void ledger_block_encode(const uint8_t *data, const ledger_row *rows, uint32_t count, uint8_t *out);
/* rows: capacity 128; their offsets count from raw. LEDGER_CORRUPT when any rule fails. */
int ledger_block_decode(const uint8_t *raw, uint64_t size, ledger_row *rows, uint32_t *count);
/* Verification: decode, check the payloads' form (kind 0, and kind 1 except index 0), flags against times, rebuild
 * entries from chain and seed, move the chain on; leaves: 128 x 32; root: of the block's subtree.
 * min/max time and event count are updated. fault_row: the first bad row when LEDGER_CORRUPT. */
int ledger_block_check(const uint8_t *raw, uint64_t size, const uint8_t seed[32], ledger_chain *chain,
                       uint8_t *leaves, uint8_t root[32], uint32_t *count, uint32_t *event_count,
                       uint64_t *time_min, uint64_t *time_max, uint32_t *fault_row);

/* ---- runs of blocks (block_cut.c, block_check.c): docs/format.md "Block", "Block row", "Nodes" ---------------- */
/* Cuts the rows of a whole segment into blocks: level and raw bytes of each (capacity: count); how many there are. */
uint64_t ledger_blocks_cut(const ledger_row *rows, uint64_t count, uint64_t base, uint8_t *levels,
                           uint32_t *raw_bytes);
/* How many of the rows are events (kind 0), and their least and greatest time. */
void ledger_rows_facts(const ledger_row *rows, uint64_t count, uint64_t *event_count, uint64_t *time_min,
                       uint64_t *time_max);
/* The raw bytes of consecutive blocks, one after the other; out has the sum of raw_bytes. */
void ledger_blocks_encode(const uint8_t *data, const ledger_row *rows, const uint8_t *levels,
                          const uint32_t *raw_bytes, uint64_t block_count, uint8_t *out);
/* Block rows (80 bytes each) of consecutive blocks. link: leaf hash before the first; leaves: of all their entries. */
void ledger_block_rows(const uint8_t *frames, const uint32_t *frame_bytes, const uint32_t *raw_bytes,
                       const uint8_t *levels, uint64_t block_count, const uint8_t link[32], const uint8_t *leaves,
                       uint8_t *out);
/* Before decompressing: are the compressed bytes of the rows' blocks sound (CRC32C) and each exactly one zstd frame
 * of the row's raw bytes, window at most 8 MiB? LEDGER_CORRUPT with the first block that is not. */
int ledger_frames_check(const uint8_t *frames, uint64_t size, const uint8_t *rows, uint64_t block_count,
                        uint64_t *fault_block);

typedef enum {
    LEDGER_BLOCK_SOUND = 0,
    LEDGER_BLOCK_LINK = 1,  /* the leaf hash before it is another */
    LEDGER_BLOCK_ENTRY = 2, /* its columns, or a payload or flag of it, break a rule */
    LEDGER_BLOCK_COUNT = 3, /* it holds more or fewer entries than its row says */
    LEDGER_BLOCK_ROOT = 4   /* its entries give another subtree root */
} ledger_block_fault;

typedef struct {
    uint64_t event_count;
    uint64_t time_min;
    uint64_t time_max;
    uint64_t fault_block; /* when LEDGER_CORRUPT: the block, its entry, and why */
    uint32_t fault_row;
    int32_t fault; /* a ledger_block_fault */
} ledger_blocks_facts;

/* ledger_block_check over consecutive blocks (raw: one after the other) and each result against its row. leaves:
 * 32 bytes an entry. LEDGER_USAGE when the rows do not fit the bytes. */
int ledger_blocks_check(const uint8_t *raw, uint64_t size, const uint8_t *rows, uint64_t block_count,
                        const uint8_t seed[32], ledger_chain *chain, uint8_t *leaves, ledger_blocks_facts *facts);
/* Moves a range on by the rows' subtrees; nodes: the hashes of the nodes that come to be, from level 8 up, level by
 * level. LEDGER_USAGE when a block does not begin at a multiple of its count. */
int ledger_blocks_nodes(ledger_range *range, const uint8_t *rows, uint64_t block_count, uint8_t *nodes);
/* ---- the core (core.c, lock.c, head.c, roll.c, queue.c, commit.c): one open ledger, for writing --------------- */
typedef struct ledger_core ledger_core;
typedef struct ledger_request ledger_request;

typedef struct {
    uint64_t generation;
    uint8_t boot_id[16];
    uint64_t segno;
    uint64_t written_end, written_size;
    uint64_t synced_end, synced_size;
    uint32_t incarnation;
    uint32_t flags; /* bit 0 poisoned, bit 1 dirty */
    int64_t wall_minus_boot_ns;
    uint64_t time;
    uint8_t link[32];
    ledger_range range;   /* at written_size */
    uint32_t valid_slots; /* 1: the other slot is damaged, so this may not be the newest */
    uint32_t zero;
} ledger_head;

typedef struct {
    int status;
    int error;      /* errno */
    char what[112]; /* the step that failed */
} ledger_fault;

typedef struct {
    uint64_t groups, events, syncs, syncs_shared, rolls, lock_waits;
} ledger_core_stats;

typedef struct {
    uint64_t base;   /* index of the first entry */
    uint64_t time;
    uint64_t count;
    uint32_t hints;  /* bit 0: the segment is half full and no next one is prepared; bit 1: rolled; bit 2: the clock stepped;
                      * bit 3: the first event of this core in its segment */
    uint32_t zero;
    int32_t status;
    int32_t zero2;
} ledger_outcome;

/* The type of the file system under a folder, as in linux/magic.h. LEDGER_IO leaves errno. */
int ledger_file_system(const char *folder, uint32_t *type);
/* Opens lock, HEAD and active/ of an existing ledger; joins nothing yet. F and boot id as docs/format.md. */
int ledger_core_open(const char *path, const uint8_t fingerprint[32], const uint8_t boot_id[16],
                     uint64_t lock_timeout_ns, uint64_t interval_ns, ledger_core **core, ledger_fault *fault);
/* Waits for callers to leave and for submitted events; a failed sync on the way is the status. Frees the core. */
int ledger_core_close(ledger_core *core);
/* In a forked child: closes descriptors at once, touches no lock. The parent's locks stay the parent's. */
void ledger_core_forget(ledger_core *core);
void ledger_core_read_fault(ledger_core *core, ledger_fault *fault);
void ledger_core_read_stats(ledger_core *core, ledger_core_stats *stats);

/* Becomes current with what is on disk: O(1). LEDGER_RECOVER when recovery must run first. */
int ledger_core_join(ledger_core *core);
/* What is acknowledged, and where, as HEAD says it. Takes no lock. LEDGER_CORRUPT: no valid slot. */
int ledger_core_head(ledger_core *core, ledger_head *head);

/* The same from the 8192 bytes of a HEAD file. */
int ledger_head_parse(const uint8_t *bytes, ledger_head *head);
/* One slot of 4096 bytes; LEDGER_CORRUPT, nothing written, unless peaks fit the size written. */
int ledger_head_format(const ledger_head *head, uint8_t slot[4096]);

/* Under byte 0: as join. */
int ledger_core_join_locked(ledger_core *core);

/* For recovery, seal, sign: kernel lock on a byte, waiting at most timeout_ns (LEDGER_WAITING: not had). */
int ledger_core_lock(ledger_core *core, int byte, uint64_t timeout_ns);
void ledger_core_unlock(ledger_core *core, int byte);
/* Under byte 0: publishes a HEAD that recovery found, clears dirty and poison, and rejoins. */
int ledger_core_publish(ledger_core *core, const ledger_head *head);

/* Appends one event (count 1) or the elements of a msgpack array (count = its length; array header included in
 * data) as one batch, and waits until it is durable. kind 1 is for the
 * ledger's own notes; 2 means events, the last of them a note. rows: count x 120 bytes, entry then salt.
 * LEDGER_WAITING, LEDGER_RECOVER: the request stays queued; run signal handlers, or recovery, then go on with
 * ledger_append_wait. rows is not touched until a call returns OK. On any other status nothing of it is stored, except LEDGER_UNKNOWN.
 * LEDGER_BAD_EVENT: outcome->base is the position in the batch, ->time the offset, ->count the reason. */
int ledger_append(ledger_core *core, const uint8_t *data, uint64_t size, uint64_t count, int kind, int packed,
                  ledger_outcome *outcome, uint8_t *rows, ledger_request **request);
int ledger_append_wait(ledger_core *core, ledger_request *request, ledger_outcome *outcome, uint8_t *rows);
void ledger_append_abandon(ledger_core *core, ledger_request *request);

/* Queues one event for the commit thread and returns; no system call, never waits for a thread that needs the
 * interpreter. LEDGER_QUEUE_FULL at 64 MiB queued. */
int ledger_submit(ledger_core *core, const uint8_t *data, uint64_t size);
/* The same for a msgpack array of events, as one batch, all or none; a refusal's facts are in outcome as in append. */
int ledger_submit_batch(ledger_core *core, const uint8_t *data, uint64_t size, uint64_t count, ledger_outcome *outcome);
/* The oldest finished group of submitted events, waiting at most wait_ns for it; LEDGER_WAITING if none. */
int ledger_completed(ledger_core *core, uint64_t wait_ns, ledger_request **request, ledger_outcome *outcome);
/* count x 120 bytes of a finished request; frees it. */
void ledger_completed_take(ledger_core *core, ledger_request *request, uint8_t *rows);
int ledger_completed_event(ledger_core *core); /* an eventfd that is readable when a group finished; -1: none */

/* Builds the next active file ahead of need; LEDGER_OK also when there is nothing to do. */
int ledger_core_prepare(ledger_core *core);
/* Closes the active segment now, if it holds anything. */
int ledger_core_roll(ledger_core *core);
/* As ledger_core_roll, when the first event of this core in the segment is older than the segment's limit of age.
 * left_ns: how long until it is; 0 when it was closed, UINT64_MAX when this core put no event into it. */
int ledger_core_roll_old(ledger_core *core, uint64_t *left_ns);

/* Creates a file of `bytes` zeros in an open folder, durable when it returns, under `name`: written, or with `reserve`
 * only reserved where the file system can. */
int ledger_active_create(int folder, const char *name, uint64_t bytes, int reserve);

/* ---- filters (predicate.c, event_time.c): docs/query.md ------------------------------------------------------- */
/* LEDGER_OK when the bytes are a filter program (docs/format.md "Filter programs"). */
int ledger_predicate_check(const uint8_t *program, uint64_t size);
/* Which of `row_count` checked payloads at data + row.offset a program is true of: their row numbers to `matches`
 * (room for `limit`), at most `limit`, from the first or with newest_first from the last. Entry `first_index` is row 0.
 * candidates: ascending row numbers to look at, or NULL for all. LEDGER_USAGE: no program, or a row outside the data. */
int ledger_predicate_rows(const uint8_t *program, uint64_t program_size, const uint8_t *data, uint64_t size,
                          const ledger_row *rows, uint32_t row_count, uint64_t first_index, const uint32_t *candidates,
                          uint32_t candidate_count, uint32_t limit, int newest_first, uint32_t *matches,
                          uint32_t *match_count);

/* faults: begin */
int ledger_fault_arm(const char *name, uint64_t nth, int error, int forever, int bytes);
uint64_t ledger_fault_count(const char *name);
/* faults: end */
/* cffi: end */

/* sha256.h declares what the kernels offer to the rest of csrc/ alone. */
#endif
