/* SPDX-License-Identifier: Apache-2.0 */
/* msgpack.c: is this one event, in the exact form? Where does it end?
 *
 * Valid     an event is valid when
 *           (1) its outermost value is a map, and maps and arrays nest at most 32 deep, that map being 1
 *           (2) every integer, length and timestamp is in its shortest form; from 0 up in an unsigned form
 *           (3) the keys of a map are strings, no two of one map equal
 *           (4) strings are UTF-8, as utf8.h says
 *           (5) floats are float64 and finite
 *           (6) the only extension is timestamp -1, with at most 999,999,999 nanoseconds
 *           (7) no byte is 0xc1, none is missing, and for `check` none is left over
 * Reports   the first fault in reading order, but a repeated key of a map above SCANNED_KEYS keys when that map ends
 * Cost      one pass, no recursion; memory for keys grows with keys seen, never with a count the bytes declare;
 *           up to INLINE_KEYS open keys there is no allocation; above SCANNED_KEYS in a map they are sorted when it
 *           ends, so chosen keys cost O(n log n), not O(n^2)
 * Owns      nothing but that memory, for the length of a call
 * See       docs/format.md §1; tests/unit/test_event_walk.py, tests/event_walker.py (a second walker) */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ledger_core.h"
#include "utf8.h"

enum {
    DEPTH_MAX = 32,
    SCANNED_KEYS = 64, /* a map up to this size compares each key with those before it */
    INLINE_KEYS = 512  /* 4 KiB of stack */
};

/* Offsets inside an event are 32 bits wide here; docs/format.md stops events far below. */
static const uint64_t EVENT_BYTES_MAX = UINT32_MAX;

/* Left to itself gcc 12 makes read_string a call at -O2, and a walk a third slower. */
#define ALWAYS_INLINE __attribute__((always_inline))

/* An open map or array. */
typedef struct {
    uint64_t seen;    /* map: bit (fingerprint mod 64) of each key so far; a bit not set means a new key */
    size_t key_begin; /* map: its keys are keys[key_begin, key_count) while it is the innermost */
    uint32_t left;    /* elements, or pairs, still to come */
    bool is_map;
    bool is_scanned; /* map: at most SCANNED_KEYS keys */
} level;

typedef struct {
    const uint8_t *data;
    const uint8_t *end;
    uint64_t *keys; /* fingerprint << 32 | offset of the key; inline_keys until that is full */
    size_t key_count;
    size_t key_capacity;
    size_t depth;
    uint64_t fault_offset;
    int fault; /* a ledger_event_fault */
    int status;
    level levels[DEPTH_MAX];
    uint64_t inline_keys[INLINE_KEYS];
} walk;

typedef struct {
    const uint8_t *bytes;
    size_t size;
} text;

/* ---- loads ---------------------------------------------------------------------------------------------- */

static inline uint32_t big_u16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

static inline uint32_t big_u32(const uint8_t *p) { return big_u16(p) << 16 | big_u16(p + 2); }

static inline uint64_t big_u64(const uint8_t *p) { return (uint64_t)big_u32(p) << 32 | big_u32(p + 4); }

static inline size_t bytes_left(const walk *w, const uint8_t *p) { return (size_t)(w->end - p); }

/* Every reader below returns the byte after its value, or NULL through here. */
static const uint8_t *refuse(walk *w, const uint8_t *value, int fault) {
    w->status = LEDGER_BAD_EVENT;
    w->fault = fault;
    w->fault_offset = (uint64_t)(value - w->data);
    return NULL;
}

/* ---- strings -------------------------------------------------------------------------------------------- */

/* The length before a string, bin, array or map, and the place of its body. `head` is the byte of the 8-bit form;
 * arrays and maps have none, and pass the byte before their 16-bit form, and `small` = 15. */
static const uint8_t *read_length(walk *w, const uint8_t *p, uint8_t head, uint32_t small, uint32_t *length) {
    unsigned form = (unsigned)*p - head; /* 0: 8 bits, 1: 16 bits, 2: 32 bits */
    uint32_t shorter = form == 0 ? small : form == 1 ? (small == 15 ? 15 : 0xff) : 0xffff;
    size_t width = (size_t)1 << form;
    if (bytes_left(w, p) < 1 + width) return refuse(w, p, LEDGER_EVENT_TRUNCATED);
    *length = form == 0 ? p[1] : form == 1 ? big_u16(p + 1) : big_u32(p + 1);
    if (*length <= shorter) return refuse(w, p, LEDGER_EVENT_NOT_SHORTEST);
    return p + 1 + width;
}

ALWAYS_INLINE static inline const uint8_t *read_string(walk *w, const uint8_t *p, text *string) {
    uint32_t size = *p & 0x1f;
    const uint8_t *body = p + 1;
    if (*p >= 0xd9) {
        body = read_length(w, p, 0xd9, 31, &size);
        if (body == NULL) return NULL;
    }
    if (bytes_left(w, body) < size) return refuse(w, p, LEDGER_EVENT_TRUNCATED);
    if (!ledger_is_ascii(body, size) && !ledger_is_utf8(body, size)) return refuse(w, p, LEDGER_EVENT_NOT_UTF8);
    *string = (text){body, size};
    return body + size;
}

static inline bool is_string(uint8_t head) { return (head & 0xe0) == 0xa0 || (head >= 0xd9 && head <= 0xdb); }

/* ---- keys ----------------------------------------------------------------------------------------------- */

/* Equal keys have equal fingerprints; the reverse is left to `compare_keys`. Reads the first and last 8 bytes. */
static inline uint32_t fingerprint(text key) {
    uint64_t first = 0, last = 0;
    if (key.size >= 8) {
        first = ledger_load_any_u64(key.bytes);
        last = ledger_load_any_u64(key.bytes + key.size - 8);
    } else if (key.size >= 4) {
        first = ledger_load_any_u32(key.bytes);
        last = ledger_load_any_u32(key.bytes + key.size - 4);
    } else if (key.size > 0) {
        first = (uint64_t)key.bytes[0] << 16 | (uint64_t)key.bytes[key.size / 2] << 8 | key.bytes[key.size - 1];
    }
    uint64_t mixed = (first ^ key.size) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = ((mixed ^ mixed >> 29) + last) * UINT64_C(0xbf58476d1ce4e5b9);
    return (uint32_t)(mixed >> 32);
}

/* The key of a record: its header was read once already and is known to be good. */
static text key_text(const walk *w, uint64_t record) {
    const uint8_t *p = w->data + (uint32_t)record;
    if (*p < 0xd9) return (text){p + 1, *p & 0x1f};
    if (*p == 0xd9) return (text){p + 2, p[1]};
    if (*p == 0xda) return (text){p + 3, big_u16(p + 1)};
    return (text){p + 5, big_u32(p + 1)};
}

static int compare_keys(const walk *w, uint64_t a, uint64_t b) {
    if (a >> 32 != b >> 32) return a >> 32 < b >> 32 ? -1 : 1;
    text x = key_text(w, a), y = key_text(w, b);
    if (x.size != y.size) return x.size < y.size ? -1 : 1;
    return memcmp(x.bytes, y.bytes, x.size);
}

static bool grow_keys(walk *w, size_t more) {
    size_t capacity = w->key_capacity * 2; /* cannot overflow: a key is a byte or more of at most 2^32 */
    while (capacity - w->key_count < more) capacity *= 2;
    uint64_t *keys = capacity > SIZE_MAX / sizeof *keys ? NULL : malloc(capacity * sizeof *keys);
    if (keys == NULL) {
        w->status = LEDGER_NOMEM;
        return false;
    }
    memcpy(keys, w->keys, w->key_count * sizeof *keys);
    if (w->keys != w->inline_keys) free(w->keys);
    w->keys = keys;
    w->key_capacity = capacity;
    return true;
}

/* Room for `more` records after key_count; false sets the status. */
static inline bool reserve_keys(walk *w, size_t more) {
    return w->key_capacity - w->key_count >= more || grow_keys(w, more);
}

static void merge_runs(const walk *w, const uint64_t *source, uint64_t *target, size_t middle, size_t end) {
    size_t left = 0, right = middle;
    for (size_t i = 0; i < end; i++) {
        bool take_left = left < middle && (right == end || compare_keys(w, source[left], source[right]) <= 0);
        target[i] = take_left ? source[left++] : source[right++];
    }
}

/* A merge sort of the keys of the innermost map, bottom up, then equal neighbours are sought. It is stable, so of two
 * equal keys the later in the bytes comes second. */
static bool are_sorted_keys_unique(walk *w, const level *map) {
    size_t count = w->key_count - map->key_begin;
    if (!reserve_keys(w, count)) return false;
    uint64_t *source = w->keys + map->key_begin, *target = w->keys + w->key_count;
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t begin = 0; begin < count; begin += 2 * width) {
            size_t end = count - begin < 2 * width ? count - begin : 2 * width;
            merge_runs(w, source + begin, target + begin, width < end ? width : end, end);
        }
        uint64_t *swap = source;
        source = target;
        target = swap;
    }
    for (size_t i = 1; i < count; i++) {
        if (compare_keys(w, source[i - 1], source[i]) == 0) {
            refuse(w, w->data + (uint32_t)source[i], LEDGER_EVENT_KEY_REPEATED);
            return false;
        }
    }
    return true;
}

static bool is_scanned_key_new(const walk *w, const level *map, uint64_t record) {
    for (size_t i = map->key_begin; i < w->key_count; i++)
        if (compare_keys(w, w->keys[i], record) == 0) return false;
    return true;
}

static inline const uint8_t *read_key(walk *w, const uint8_t *p) {
    level *map = &w->levels[w->depth - 1];
    text key;
    if (p == w->end) return refuse(w, p, LEDGER_EVENT_TRUNCATED);
    if (!is_string(*p)) return refuse(w, p, LEDGER_EVENT_KEY_NOT_STRING);
    const uint8_t *next = read_string(w, p, &key);
    if (next == NULL || !reserve_keys(w, 1)) return NULL;
    uint32_t mark = fingerprint(key);
    uint64_t bit = UINT64_C(1) << (mark & 63), record = (uint64_t)mark << 32 | (uint64_t)(p - w->data);
    if (map->is_scanned && (map->seen & bit) != 0 && !is_scanned_key_new(w, map, record))
        return refuse(w, p, LEDGER_EVENT_KEY_REPEATED);
    map->seen |= bit;
    w->keys[w->key_count++] = record;
    return next;
}

/* ---- values --------------------------------------------------------------------------------------------- */

static const uint8_t *read_integer(walk *w, const uint8_t *p) {
    size_t width = (size_t)1 << (*p & 3);
    bool is_shortest;
    if (bytes_left(w, p) < 1 + width) return refuse(w, p, LEDGER_EVENT_TRUNCATED);
    switch (*p) {
    case 0xcc: is_shortest = p[1] > 0x7f; break;
    case 0xcd: is_shortest = big_u16(p + 1) > 0xff; break;
    case 0xce: is_shortest = big_u32(p + 1) > 0xffff; break;
    case 0xcf: is_shortest = big_u64(p + 1) > UINT32_MAX; break;
    /* Signed forms hold negative numbers: seen unsigned, from 0x80.. up to what the next shorter form reaches. */
    case 0xd0: is_shortest = p[1] >= 0x80 && p[1] < 0xe0; break;
    case 0xd1: is_shortest = big_u16(p + 1) >= 0x8000 && big_u16(p + 1) < 0xff80; break;
    case 0xd2: is_shortest = big_u32(p + 1) >= 0x80000000 && big_u32(p + 1) < 0xffff8000; break;
    default:
        is_shortest = big_u64(p + 1) >= UINT64_C(0x8000000000000000) && big_u64(p + 1) < UINT64_C(0xffffffff80000000);
    }
    return is_shortest ? p + 1 + width : refuse(w, p, LEDGER_EVENT_NOT_SHORTEST);
}

static const uint8_t *read_float(walk *w, const uint8_t *p) {
    if (*p == 0xca) return refuse(w, p, LEDGER_EVENT_FLOAT32);
    if (bytes_left(w, p) < 9) return refuse(w, p, LEDGER_EVENT_TRUNCATED);
    if ((big_u16(p + 1) & 0x7ff0) == 0x7ff0) return refuse(w, p, LEDGER_EVENT_NOT_FINITE);
    return p + 9;
}

static const uint8_t *read_bytes(walk *w, const uint8_t *p) {
    uint32_t size = 0;
    const uint8_t *body = p + 2;
    if (*p == 0xc4) { /* the shortest form of every size to 255, so nothing to compare */
        if (bytes_left(w, p) < 2) return refuse(w, p, LEDGER_EVENT_TRUNCATED);
        size = p[1];
    } else {
        body = read_length(w, p, 0xc4, 0, &size);
        if (body == NULL) return NULL;
    }
    return bytes_left(w, body) < size ? refuse(w, p, LEDGER_EVENT_TRUNCATED) : body + size;
}

/* Timestamp -1: d6 ff u32 seconds; d7 ff u30 nanoseconds, u34 seconds; c7 0c ff u32 nanoseconds, i64 seconds. */
static const uint8_t *read_extension(walk *w, const uint8_t *p) {
    if (*p != 0xd6 && *p != 0xd7 && *p != 0xc7) return refuse(w, p, LEDGER_EVENT_EXT);
    size_t head = *p == 0xc7 ? 3 : 2, body = *p == 0xd6 ? 4 : *p == 0xd7 ? 8 : 12;
    if (bytes_left(w, p) < head) return refuse(w, p, LEDGER_EVENT_TRUNCATED);
    if (p[head - 1] != 0xff || (head == 3 && p[1] != 12)) return refuse(w, p, LEDGER_EVENT_EXT);
    if (bytes_left(w, p) < head + body) return refuse(w, p, LEDGER_EVENT_TRUNCATED);
    uint64_t seconds = 0, nanoseconds = 0;
    bool is_shortest = true;
    if (body == 8) {
        nanoseconds = big_u64(p + 2) >> 34;
        seconds = big_u64(p + 2) & UINT64_C(0x3ffffffff);
        is_shortest = nanoseconds != 0 || seconds > UINT32_MAX;
    } else if (body == 12) {
        nanoseconds = big_u32(p + 3);
        seconds = big_u64(p + 7);
        is_shortest = seconds >> 34 != 0; /* negative ones have high bits too */
    }
    if (nanoseconds > 999999999) return refuse(w, p, LEDGER_EVENT_TIMESTAMP);
    return is_shortest ? p + head + body : refuse(w, p, LEDGER_EVENT_NOT_SHORTEST);
}

static inline bool is_map(uint8_t head) { return (head & 0xf0) == 0x80 || head == 0xde || head == 0xdf; }

static inline bool is_array(uint8_t head) { return (head & 0xf0) == 0x90 || head == 0xdc || head == 0xdd; }

static const uint8_t *open_level(walk *w, const uint8_t *p) {
    uint32_t count = *p & 0x0f;
    const uint8_t *body = p + 1;
    if (*p >= 0xdc) {
        body = read_length(w, p, *p >= 0xde ? 0xdd : 0xdb, 15, &count);
        if (body == NULL) return NULL;
    }
    if (w->depth == DEPTH_MAX) return refuse(w, p, LEDGER_EVENT_TOO_DEEP);
    w->levels[w->depth++] = (level){.key_begin = w->key_count,
                                    .left = count,
                                    .is_map = is_map(*p),
                                    .is_scanned = count <= SCANNED_KEYS};
    return body;
}

static bool close_level(walk *w) {
    const level *ended = &w->levels[w->depth - 1];
    if (ended->is_map && !ended->is_scanned && !are_sorted_keys_unique(w, ended)) return false;
    w->key_count = ended->key_begin;
    w->depth--;
    return true;
}

static inline const uint8_t *read_value(walk *w, const uint8_t *p) {
    text unused;
    if (p == w->end) return refuse(w, p, LEDGER_EVENT_TRUNCATED);
    uint8_t head = *p;
    if (is_string(head)) return read_string(w, p, &unused);
    if (head < 0x80 || head >= 0xe0) return p + 1;
    if (is_map(head) || is_array(head)) return open_level(w, p);
    if (head >= 0xcc && head <= 0xd3) return read_integer(w, p);
    if (head == 0xc0 || head == 0xc2 || head == 0xc3) return p + 1;
    if (head == 0xca || head == 0xcb) return read_float(w, p);
    if (head >= 0xc4 && head <= 0xc6) return read_bytes(w, p);
    return head == 0xc1 ? refuse(w, p, LEDGER_EVENT_UNASSIGNED) : read_extension(w, p);
}

/* The innermost map or array from p on: to its end, or to the first map or array opened inside it. */
static const uint8_t *read_items(walk *w, const uint8_t *p) {
    level *open = &w->levels[w->depth - 1];
    const size_t depth = w->depth;
    const bool has_keys = open->is_map;
    for (uint32_t left = open->left; left > 0;) {
        left--;
        if (has_keys && (p = read_key(w, p)) == NULL) return NULL;
        p = read_value(w, p);
        if (p == NULL) return NULL;
        if (w->depth != depth) {
            open->left = left;
            return p;
        }
    }
    return close_level(w) ? p : NULL;
}

static const uint8_t *read_event(walk *w) {
    const uint8_t *p = w->data;
    if (p == w->end) return refuse(w, p, LEDGER_EVENT_TRUNCATED);
    if (!is_map(*p)) return refuse(w, p, LEDGER_EVENT_NOT_A_MAP);
    p = open_level(w, p);
    while (p != NULL && w->depth > 0) p = read_items(w, p);
    return p;
}

/* ---- the two calls -------------------------------------------------------------------------------------- */

int ledger_event_next(const uint8_t *data, size_t size, size_t *event_size, int *reason, uint64_t *offset) {
    walk w; /* the two arrays stay as they are until used: clearing them would cost more than a walk */
    static const uint8_t nothing[1] = {0};
    bool is_cut = size > EVENT_BYTES_MAX;
    w.data = size == 0 ? nothing : data;
    w.end = w.data + (is_cut ? (size_t)EVENT_BYTES_MAX : size);
    w.keys = w.inline_keys;
    w.key_count = 0;
    w.key_capacity = INLINE_KEYS;
    w.depth = 0;
    w.fault = LEDGER_EVENT_OK;
    w.fault_offset = 0;
    w.status = LEDGER_OK;
    const uint8_t *end = read_event(&w);
    if (w.keys != w.inline_keys) free(w.keys);
    *event_size = end == NULL ? 0 : (size_t)(end - w.data);
    *reason = w.fault;
    *offset = w.fault_offset;
    return is_cut && w.fault == LEDGER_EVENT_TRUNCATED ? LEDGER_TOO_LARGE : w.status;
}

int ledger_event_check(const uint8_t *data, size_t size, int *reason, uint64_t *offset) {
    size_t event_size = 0;
    int status = ledger_event_next(data, size, &event_size, reason, offset);
    if (status != LEDGER_OK || event_size == size) return status;
    *reason = LEDGER_EVENT_TRAILING;
    *offset = event_size;
    return LEDGER_BAD_EVENT;
}
