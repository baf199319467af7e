/* SPDX-License-Identifier: Apache-2.0 */
/* predicate_leaf.c: one scalar against one leaf of a filter.
 *
 * Numbers   int64, uint64 and float64 compare as the numbers they are: nothing is rounded
 * Strings   by bytes, which for UTF-8 is by code point; ? in a wildcard is one code point
 * Words     tokens by "ascii-fold/1" (ledger/query/words.py), one after the other in the string
 * Owns      nothing: pure; no allocation
 * See       predicate.h; tests/unit/test_predicate.py */
#include <arpa/inet.h>
#include <math.h>
#include <string.h>

#include "predicate.h"

/* ---- numbers ----------------------------------------------------------------------------------------------- */

static bool is_number(const value *v) {
    return v->kind == VALUE_INT || v->kind == VALUE_UINT || v->kind == VALUE_FLOAT;
}

static int sign_of(__int128 difference) { return difference < 0 ? -1 : difference > 0; }

static __int128 whole(const value *v) { return v->kind == VALUE_INT ? (__int128)v->number.i : (__int128)v->number.u; }

/* -1, 0, 1 as a is below, equal to, above the float b. */
static int compare_to_float(const value *a, double b) {
    if (b >= 0x1p64) return -1;
    if (b < -0x1p63) return 1;
    const double floor_b = floor(b);
    const int order = sign_of(whole(a) - (__int128)floor_b);
    return order != 0 || b == floor_b ? order : -1;
}

static int compare_numbers(const value *a, const value *b) {
    if (a->kind == VALUE_FLOAT && b->kind == VALUE_FLOAT) {
        return a->number.f < b->number.f ? -1 : a->number.f > b->number.f;
    }
    if (b->kind == VALUE_FLOAT) return compare_to_float(a, b->number.f);
    if (a->kind == VALUE_FLOAT) return -compare_to_float(b, a->number.f);
    return sign_of(whole(a) - whole(b));
}

static int compare_strings(const value *a, const value *b) {
    const uint32_t shorter = a->size < b->size ? a->size : b->size;
    const int order = memcmp(a->body, b->body, shorter);
    return order != 0 ? order : a->size < b->size ? -1 : a->size > b->size;
}

/* ---- ranges ------------------------------------------------------------------------------------------------ */

static bool bound_holds(const value *found, const uint8_t *bound, bool is_low, bool is_open) {
    value limit;
    ledger_value_read(bound, &limit);
    int order;
    if (is_number(found) && is_number(&limit)) {
        order = compare_numbers(found, &limit);
    } else if (found->kind == VALUE_STRING && limit.kind == VALUE_STRING) {
        order = compare_strings(found, &limit);
    } else {
        return false;
    }
    return order == 0 ? !is_open : (order > 0) == is_low;
}

static bool in_range(uint8_t flags, const uint8_t *operand, const value *found) {
    const uint8_t *high = operand + 4 + ledger_load_u32(operand);
    return (!(flags & RANGE_LOW) || bound_holds(found, operand + 4, true, flags & RANGE_LOW_OPEN)) &&
           (!(flags & RANGE_HIGH) || bound_holds(found, high + 4, false, flags & RANGE_HIGH_OPEN));
}

/* ---- texts ------------------------------------------------------------------------------------------------- */

static const uint8_t *after_character(const uint8_t *p, const uint8_t *end) {
    const uint8_t lead = *p;
    const ptrdiff_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    return end - p < size ? end : p + size;
}

/* Greedy, back to the last star only: linear in text x stars. */
static bool wildcard(const uint8_t *pattern, const uint8_t *pattern_end, const uint8_t *text, const uint8_t *end) {
    const uint8_t *star = NULL, *from = NULL;
    while (text < end) {
        if (pattern < pattern_end && *pattern == '*') {
            star = ++pattern;
            from = text;
            continue;
        }
        if (pattern < pattern_end && *pattern == '?') {
            pattern++;
            text = after_character(text, end);
            continue;
        }
        const uint8_t *literal = pattern;
        if (literal < pattern_end && *literal == '\\' && literal + 1 < pattern_end) literal++;
        if (literal < pattern_end && *literal == *text) {
            pattern = literal + 1;
            text++;
        } else if (star != NULL) {
            pattern = star;
            from = after_character(from, end);
            text = from;
        } else {
            return false;
        }
    }
    while (pattern < pattern_end && *pattern == '*') pattern++;
    return pattern == pattern_end;
}

static bool is_word(uint8_t c) {
    return c >= 0x80 || c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static uint8_t lowered(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c; }

/* The token at *p, or none: moves past it. */
static bool token_equals(const uint8_t **p, const uint8_t *end, const uint8_t *word, uint32_t size) {
    const uint8_t *at = *p;
    uint32_t same = 0;
    while (at < end && !is_word(*at)) at++;
    for (; at < end && is_word(*at); at++) {
        if (same < size && lowered(*at) == word[same]) {
            same++;
        } else {
            return false;
        }
    }
    *p = at;
    return size > 0 && same == size;
}

static bool has_words(const uint8_t *operand, const uint8_t *operand_end, const uint8_t *text, const uint8_t *end) {
    while (text < end) {
        while (text < end && !is_word(*text)) text++;
        const uint8_t *at = text, *word = operand;
        while (word < operand_end && token_equals(&at, end, word + 2, ledger_load_u16(word))) {
            word += 2 + ledger_load_u16(word);
        }
        if (word == operand_end) return true;
        while (text < end && is_word(*text)) text++;
    }
    return false;
}

static bool in_network(unsigned prefix, const uint8_t *network, size_t size, const value *found) {
    char text[64];
    uint8_t address[16];
    if (found->size >= sizeof text || memchr(found->body, 0, found->size) != NULL) return false;
    memcpy(text, found->body, found->size);
    text[found->size] = 0;
    if (inet_pton(size == 4 ? AF_INET : AF_INET6, text, address) != 1) return false;
    const unsigned bytes = prefix / 8, bits = prefix % 8;
    if (memcmp(address, network, bytes) != 0) return false;
    return bits == 0 || (address[bytes] ^ network[bytes]) >> (8 - bits) == 0;
}

/* ---- the leaf ---------------------------------------------------------------------------------------------- */

bool ledger_leaf_matches(const uint8_t *node, const uint8_t *operand, const uint8_t *end, const value *found) {
    const size_t size = (size_t)(end - operand);
    if (node[0] == OP_TERM) {
        return (size_t)(found->end - found->begin) == size && memcmp(found->begin, operand, size) == 0;
    }
    if (node[0] == OP_RANGE) return in_range(node[1], operand, found);
    if (found->kind != VALUE_STRING) return false;
    const uint8_t *text = found->body, *text_end = text + found->size;
    switch (node[0]) {
    case OP_PREFIX: return found->size >= size && memcmp(text, operand, size) == 0;
    case OP_CONTAINS: return memmem(text, found->size, operand, size) != NULL;
    case OP_WILDCARD: return wildcard(operand, end, text, text_end);
    case OP_WORDS: return has_words(operand, end, text, text_end);
    default: return in_network(node[1], operand, size, found);
    }
}

/* A scalar that fills [p, end) exactly. */
static bool is_scalar(const uint8_t *p, const uint8_t *end, value *out) {
    static const uint8_t head[32] = {1, 0, 1, 1, 2, 3, 5, 3, 0, 0, 0, 9, 2, 3, 5, 9, /* c0 .. cf */
                                     2, 3, 5, 9, 0, 0, 6, 10, 0, 2, 3, 5, 0, 0, 0, 0};
    if (p == end) return false;
    const size_t have = (size_t)(end - p);
    if (*p >= 0x80 && *p <= 0x9f) return false; /* a map, an array */
    const size_t need = *p >= 0xc0 && *p <= 0xdf ? head[*p - 0xc0] : 1;
    if (need == 0 || need > have) return false;
    return ledger_value_read(p, out) == end;
}

static bool range_is_sound(uint8_t flags, const uint8_t *operand, const uint8_t *end) {
    value bound[2];
    bool number[2] = {false, false};
    if (flags > 15 || !(flags & (RANGE_LOW | RANGE_HIGH))) return false;
    for (int i = 0; i < 2; i++) {
        if (end - operand < 4) return false;
        const uint32_t size = ledger_load_u32(operand);
        operand += 4;
        if (size > (uint64_t)(end - operand)) return false;
        if (!(flags & (i == 0 ? RANGE_LOW : RANGE_HIGH))) {
            if (size != 0) return false;
            continue;
        }
        if (!is_scalar(operand, operand + size, &bound[i])) return false;
        number[i] = is_number(&bound[i]);
        if (!number[i] && bound[i].kind != VALUE_STRING) return false;
        operand += size;
    }
    return operand == end && (!(flags & RANGE_LOW) || !(flags & RANGE_HIGH) || number[0] == number[1]);
}

static bool words_are_sound(const uint8_t *operand, const uint8_t *end) {
    while (operand < end) {
        if (end - operand < 2 || ledger_load_u16(operand) == 0 || end - operand - 2 < ledger_load_u16(operand)) {
            return false;
        }
        operand += 2 + ledger_load_u16(operand);
    }
    return true;
}

bool ledger_leaf_is_sound(const uint8_t *node, const uint8_t *operand, const uint8_t *end) {
    value scalar;
    const size_t size = (size_t)(end - operand);
    switch (node[0]) {
    case OP_EXISTS: return size == 0;
    case OP_TERM: return is_scalar(operand, end, &scalar);
    case OP_RANGE: return range_is_sound(node[1], operand, end);
    case OP_WORDS: return size > 0 && words_are_sound(operand, end);
    case OP_CIDR: return (size == 4 && node[1] <= 32) || (size == 16 && node[1] <= 128);
    default: return true;
    }
}
