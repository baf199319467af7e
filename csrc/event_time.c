/* SPDX-License-Identifier: Apache-2.0 */
/* event_time.c: when an event says that it happened, in ns since the epoch.
 *
 * Rule      the first of the top-level keys timestamp, @timestamp, eventTime, time, created_at that holds a time: a
 *           msgpack timestamp, an RFC 3339 string (any offset, up to nine decimals, T t or a space, second 60 is the
 *           next one), or a number: below 1e11 seconds, below 1e14 ms, below 1e17 us, else ns. None: the entry's time
 * Range     what fits an i64, 1677 to 2262; other times count as none
 * Owns      nothing: pure; the payload was checked
 * See       docs/query.md "Time"; tests/unit/test_event_time.py against a plain oracle */
#include <math.h>
#include <string.h>

#include "predicate.h"

enum { KEYS = 5 };

static const int64_t NS = 1000000000;

static bool scaled(__int128 number, int64_t scale, int64_t *ns) {
    const __int128 product = number * scale;
    *ns = (int64_t)product;
    return product >= INT64_MIN && product <= INT64_MAX;
}

static bool from_number(__int128 number, int64_t *ns) {
    const __int128 size = number < 0 ? -number : number;
    const int64_t scale = size < 100000000000 ? NS : size < 100000000000000 ? 1000000 : size < 100000000000000000 ? 1000 : 1;
    return scaled(number, scale, ns);
}

/* Fractions of a second count for floats of seconds, ms and us alike, to the ns below. */
static bool from_float(double number, int64_t *ns) {
    const double size = fabs(number);
    const double scale = size < 1e11 ? 1e9 : size < 1e14 ? 1e6 : size < 1e17 ? 1e3 : 1;
    if (size >= 0x1p63) return false;
    const double whole = floor(number);
    int64_t base;
    if (!scaled((__int128)whole, (int64_t)scale, &base)) return false;
    const int64_t rest = (int64_t)((number - whole) * scale);
    return !__builtin_add_overflow(base, rest, ns);
}

static bool from_timestamp(const value *found, int64_t *ns) {
    uint64_t both;
    if (found->begin[0] == 0xc7) { /* 12 bytes: u32 nanoseconds, i64 seconds */
        const int64_t seconds = (int64_t)ledger_load_be_u64(found->body + 4);
        return scaled(seconds, NS, ns) && !__builtin_add_overflow(*ns, (int64_t)ledger_load_be_u32(found->body), ns);
    }
    if (found->size == 4) return scaled(ledger_load_be_u32(found->body), NS, ns);
    both = ledger_load_be_u64(found->body);
    return scaled((int64_t)(both & 0x3ffffffff), NS, ns) && !__builtin_add_overflow(*ns, (int64_t)(both >> 34), ns);
}

/* ---- RFC 3339 ---------------------------------------------------------------------------------------------- */

static bool digits(const uint8_t **p, const uint8_t *end, int count, int *number) {
    *number = 0;
    for (int i = 0; i < count; i++, (*p)++) {
        if (*p == end || **p < '0' || **p > '9') return false;
        *number = *number * 10 + (**p - '0');
    }
    return true;
}

static bool one_of(const uint8_t **p, const uint8_t *end, const char *set) {
    if (*p == end || **p == 0 || strchr(set, **p) == NULL) return false;
    (*p)++;
    return true;
}

/* Days since the epoch of a date in the Gregorian calendar; years begin in March, eras have 400. */
static int64_t days_of(int year, int month, int day) {
    const int64_t y = month <= 2 ? year - 1 : year;
    const int64_t era = y / 400, of_era = y - era * 400;
    const int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int month_days(int year, int month) {
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

static bool read_offset(const uint8_t **p, const uint8_t *end, int64_t *seconds) {
    int hours, minutes;
    *seconds = 0;
    if (one_of(p, end, "Zz")) return true;
    const bool behind = *p < end && **p == '-';
    if (!one_of(p, end, "+-") || !digits(p, end, 2, &hours) || !one_of(p, end, ":") || !digits(p, end, 2, &minutes)) {
        return false;
    }
    *seconds = (hours * 60 + minutes) * (behind ? -60 : 60);
    return hours < 24 && minutes < 60;
}

static bool from_text(const uint8_t *p, const uint8_t *end, int64_t *ns) {
    int year, month, day, hour, minute, second;
    int64_t fraction = 0, offset;
    if (!digits(&p, end, 4, &year) || !one_of(&p, end, "-") || !digits(&p, end, 2, &month) || !one_of(&p, end, "-") ||
        !digits(&p, end, 2, &day) || !one_of(&p, end, "Tt ") || !digits(&p, end, 2, &hour) || !one_of(&p, end, ":") ||
        !digits(&p, end, 2, &minute) || !one_of(&p, end, ":") || !digits(&p, end, 2, &second)) {
        return false;
    }
    if (year == 0 || month < 1 || month > 12 || day < 1 || day > month_days(year, month) || hour > 23 || minute > 59 ||
        second > 60) {
        return false;
    }
    if (one_of(&p, end, ".")) {
        int64_t unit = NS;
        const uint8_t *first = p;
        for (; p < end && *p >= '0' && *p <= '9'; p++) {
            unit /= 10;
            fraction += (*p - '0') * unit;
        }
        if (p == first || p - first > 9) return false;
    }
    if (!read_offset(&p, end, &offset) || p != end) return false;
    const int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    return scaled(seconds, NS, ns) && !__builtin_add_overflow(*ns, fraction, ns);
}

/* ---- the event --------------------------------------------------------------------------------------------- */

static bool from_value(const value *found, int64_t *ns) {
    switch (found->kind) {
    case VALUE_STRING: return from_text(found->body, found->body + found->size, ns);
    case VALUE_INT: return from_number(found->number.i, ns);
    case VALUE_UINT: return from_number(found->number.u, ns);
    case VALUE_FLOAT: return from_float(found->number.f, ns);
    case VALUE_EXT: return from_timestamp(found, ns);
    default: return false;
    }
}

int64_t ledger_event_time(const uint8_t *payload, uint64_t size, uint64_t recorded) {
    static const char *const names[KEYS] = {"timestamp", "@timestamp", "eventTime", "time", "created_at"};
    static const uint32_t sizes[KEYS] = {9, 10, 9, 4, 10};
    int best = KEYS;
    int64_t time = (int64_t)recorded, ns;
    value map, name, found;
    if (size == 0) return time;
    const uint8_t *at = ledger_value_read(payload, &map);
    for (uint32_t i = 0; i < map.size && best > 0; i++) {
        at = ledger_value_read(at, &name);
        const uint8_t *next = ledger_value_skip(at);
        for (int k = 0; k < best; k++) {
            if (name.size == sizes[k] && memcmp(name.body, names[k], sizes[k]) == 0) {
                ledger_value_read(at, &found);
                if (from_value(&found, &ns)) {
                    time = ns;
                    best = k;
                }
                break;
            }
        }
        at = next;
    }
    return time;
}
