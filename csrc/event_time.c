/* SPDX-License-Identifier: Apache-2.0 */
/* event_time.c: when an event says that it happened.
 *
 * Keys      timestamp, @timestamp, eventTime, time, created_at, at the top of the event: the first of them, in this
 *           order, whose value is a time
 * A time    a msgpack timestamp · a number: below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds, else
 *           nanoseconds; a fraction is taken exactly and rounded down · a string of RFC 3339: upper or lower T and Z, any
 *           offset, up to nine decimals, second 60 is the next one, years 1678 to 2261
 * Range     int64 nanoseconds since 1970; what does not fit is no time
 * Owns      nothing: pure
 * See       docs/format.md "Search index"; tests/unit/test_event_time.py */
#include <string.h>

#include "packed.h"

enum { KEYS = 5, NS = 1000000000 };

/* ---- numbers and timestamps ----------------------------------------------------------------------------------- */

static bool scale(int64_t value, int64_t factor, int64_t *time) {
    if (value > INT64_MAX / factor || value < INT64_MIN / factor) return false;
    *time = value * factor;
    return true;
}

static bool time_of_integer(const packed_item *it, int64_t *time) {
    const uint8_t head = *it->begin;
    int64_t value;
    if (head < 0x80) value = head;
    else if (head >= 0xe0) value = (int64_t)head - 0x100;
    else {
        const unsigned bytes = 1U << (head & 3);
        const uint64_t raw = packed_big(it->begin + 1, bytes);
        const bool is_negative = head >= 0xd0 && raw >> (8 * bytes - 1) != 0;
        if (!is_negative && raw > INT64_MAX) return false;
        value = (int64_t)(is_negative && bytes < 8 ? raw | UINT64_MAX << 8 * bytes : raw);
    }
    const int64_t factor = value < 100000000000       ? NS
                           : value < 100000000000000  ? 1000000
                           : value < 100000000000000000 ? 1000
                                                        : 1;
    return scale(value, factor, time);
}

/* mantissa x 2^exponent x factor, rounded down. */
static bool time_of_float(const packed_item *it, int64_t *time) {
    const uint64_t bits = packed_big(it->begin + 1, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    if (!(value > -1e19 && value < 1e19)) return false;
    const int64_t factor = value < 1e11 ? NS : value < 1e14 ? 1000000 : value < 1e17 ? 1000 : 1;
    const uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1), biased = bits >> 52 & 0x7ff;
    const __int128 mantissa = (__int128)(biased == 0 ? fraction : fraction | UINT64_C(1) << 52);
    const int exponent = (biased == 0 ? 1 : (int)biased) - 1075;
    __int128 product = (bits >> 63 ? -mantissa : mantissa) * factor;
    /* below 1e19 the exponent is at most 11; right shifts of negative numbers round down with our compilers */
    if (exponent >= 0) product *= (__int128)1 << exponent;
    else product >>= -exponent > 126 ? 126 : -exponent;
    if (product > INT64_MAX || product < INT64_MIN) return false;
    *time = (int64_t)product;
    return true;
}

static bool time_of_timestamp(const packed_item *it, int64_t *time) {
    const uint8_t *p = it->begin;
    int64_t seconds, nanoseconds = 0;
    if (*p == 0xd6 && p[1] == 0xff) seconds = (int64_t)packed_big(p + 2, 4);
    else if (*p == 0xd7 && p[1] == 0xff) {
        nanoseconds = (int64_t)(packed_big(p + 2, 8) >> 34);
        seconds = (int64_t)(packed_big(p + 2, 8) & UINT64_C(0x3ffffffff));
    } else if (*p == 0xc7 && p[1] == 12 && p[2] == 0xff) {
        nanoseconds = (int64_t)packed_big(p + 3, 4);
        seconds = (int64_t)packed_big(p + 7, 8);
    } else return false;
    const __int128 total = (__int128)seconds * NS + nanoseconds;
    if (total > INT64_MAX || total < INT64_MIN) return false;
    *time = (int64_t)total;
    return true;
}

/* ---- RFC 3339 ---------------------------------------------------------------------------------------------------- */

/* `count` digits at *p, which moves on; -1 when they are not all there. */
static int digits(const uint8_t **p, const uint8_t *end, int count) {
    int value = 0;
    if (end - *p < count) return -1;
    for (int i = 0; i < count; i++, ++*p) {
        if (**p < '0' || **p > '9') return -1;
        value = 10 * value + (**p - '0');
    }
    return value;
}

static bool is_next(const uint8_t **p, const uint8_t *end, char wanted) {
    if (*p == end || **p != (uint8_t)wanted) return false;
    ++*p;
    return true;
}

/* Days from 1970-01-01, of the proleptic Gregorian calendar; years count from March, so that leap days come last. */
static int64_t days_from_civil(int year, int month, int day) {
    const int y = month <= 2 ? year - 1 : year, m = month <= 2 ? month + 9 : month - 3;
    return 365 * (int64_t)y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static bool is_date(int year, int month, int day) {
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1678 || year > 2261 || month < 1 || month > 12 || day < 1) return false;
    const bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= days[month - 1] + (month == 2 && is_leap);
}

/* Up to nine decimals, as nanoseconds; -1: a point and nothing after it, or too many. */
static int64_t decimals(const uint8_t **p, const uint8_t *end) {
    int64_t value = 0;
    if (!is_next(p, end, '.')) return 0;
    int count = 0;
    for (; *p < end && **p >= '0' && **p <= '9'; ++*p, count++) {
        if (count == 9) return -1;
        value = 10 * value + (**p - '0');
    }
    if (count == 0) return -1;
    for (; count < 9; count++) value *= 10;
    return value;
}

/* Seconds east of UTC; INT32_MAX: no offset. */
static int32_t offset_seconds(const uint8_t **p, const uint8_t *end) {
    if (is_next(p, end, 'Z') || is_next(p, end, 'z')) return 0;
    const bool is_west = is_next(p, end, '-');
    if (!is_west && !is_next(p, end, '+')) return INT32_MAX;
    const int hours = digits(p, end, 2);
    if (hours < 0 || hours > 23 || !is_next(p, end, ':')) return INT32_MAX;
    const int minutes = digits(p, end, 2);
    if (minutes < 0 || minutes > 59) return INT32_MAX;
    return (is_west ? -1 : 1) * (hours * 3600 + minutes * 60);
}

static bool time_of_text(const uint8_t *p, const uint8_t *end, int64_t *time) {
    const int year = digits(&p, end, 4);
    if (year < 0 || !is_next(&p, end, '-')) return false;
    const int month = digits(&p, end, 2);
    if (month < 0 || !is_next(&p, end, '-')) return false;
    const int day = digits(&p, end, 2);
    if (day < 0 || !is_date(year, month, day) || !(is_next(&p, end, 'T') || is_next(&p, end, 't'))) return false;
    const int hour = digits(&p, end, 2);
    if (hour < 0 || hour > 23 || !is_next(&p, end, ':')) return false;
    const int minute = digits(&p, end, 2);
    if (minute < 0 || minute > 59 || !is_next(&p, end, ':')) return false;
    const int second = digits(&p, end, 2);
    if (second < 0 || second > 60) return false;
    const int64_t nanoseconds = decimals(&p, end);
    const int32_t offset = nanoseconds < 0 ? INT32_MAX : offset_seconds(&p, end);
    if (offset == INT32_MAX || p != end) return false;
    const int64_t seconds = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    *time = seconds * NS + nanoseconds;
    return true;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static bool time_of_value(const packed_item *it, int64_t *time) {
    if (it->type == LEDGER_INDEX_INTEGER) return time_of_integer(it, time);
    if (it->type == LEDGER_INDEX_FLOAT) return time_of_float(it, time);
    if (it->type == LEDGER_INDEX_TIMESTAMP) return time_of_timestamp(it, time);
    if (it->type != LEDGER_INDEX_STRING) return false;
    const uint8_t head = *it->begin;
    return time_of_text(it->begin + (head < 0xd9 ? 1 : 1 + (1U << (head - 0xd9))), it->next, time);
}

static size_t rank_of_key(const packed_item *key) {
    static const char *const keys[KEYS] = {"\xa9timestamp", "\xaa@timestamp", "\xa9" "eventTime", "\xa4time",
                                           "\xaa" "created_at"};
    const size_t size = (size_t)(key->next - key->begin);
    if (size != 5 && size != 10 && size != 11) return KEYS;
    for (size_t i = 0; i < KEYS; i++)
        if (strlen(keys[i]) == size && memcmp(keys[i], key->begin, size) == 0) return i;
    return KEYS;
}

int ledger_event_time(const uint8_t *payload, size_t size, int64_t *time) {
    const uint8_t *const end = payload + size;
    const packed_item event = packed_read(payload, end);
    size_t best = KEYS;
    if (event.type == 0 || !event.is_map) return 0;
    const uint8_t *p = event.next;
    for (uint32_t left = event.count; left > 0 && p != NULL && best > 0; left--) {
        const packed_item key = packed_read(p, end);
        if (key.type != LEDGER_INDEX_STRING) break;
        const packed_item value = packed_read(key.next, end);
        const size_t rank = rank_of_key(&key);
        int64_t found;
        if (rank < best && time_of_value(&value, &found)) {
            best = rank;
            *time = found;
        }
        p = value.is_map || value.is_array ? packed_skip(value.begin, end) : value.type == 0 ? NULL : value.next;
    }
    return best < KEYS;
}
