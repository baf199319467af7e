/* SPDX-License-Identifier: Apache-2.0 */
/* value.c: msgpack values of payloads that were checked: read one, step over one.
 *
 * Trust     bytes that ledger_event_check accepted, or a program's operands after ledger_predicate_check; nothing here
 *           looks for an end
 * Owns      nothing: pure
 * See       msgpack.c for the check */
#include <string.h>

#include "predicate.h"

static double load_double(const uint8_t *p) {
    const uint64_t bits = ledger_load_be_u64(p);
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static uint32_t load_be_u16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

static const uint8_t *sized(value *out, value_kind kind, const uint8_t *body, uint32_t size) {
    out->kind = kind;
    out->body = body;
    out->size = size;
    return kind == VALUE_ARRAY || kind == VALUE_MAP ? body : body + size;
}

static const uint8_t *signed_value(value *out, int64_t number, const uint8_t *end) {
    out->kind = VALUE_INT;
    out->number.i = number;
    return end;
}

static const uint8_t *unsigned_value(value *out, uint64_t number, const uint8_t *end) {
    out->kind = VALUE_UINT;
    out->number.u = number;
    return end;
}

static const uint8_t *read_long(const uint8_t *p, value *out) {
    switch (*p) {
    case 0xc0: out->kind = VALUE_NIL; return p + 1;
    case 0xc2:
    case 0xc3: out->kind = VALUE_BOOL; out->number.u = *p & 1; return p + 1;
    case 0xc4: return sized(out, VALUE_BIN, p + 2, p[1]);
    case 0xc5: return sized(out, VALUE_BIN, p + 3, load_be_u16(p + 1));
    case 0xc6: return sized(out, VALUE_BIN, p + 5, ledger_load_be_u32(p + 1));
    case 0xc7: return sized(out, VALUE_EXT, p + 3, p[1]);
    case 0xcb: out->kind = VALUE_FLOAT; out->number.f = load_double(p + 1); return p + 9;
    case 0xcc: return unsigned_value(out, p[1], p + 2);
    case 0xcd: return unsigned_value(out, load_be_u16(p + 1), p + 3);
    case 0xce: return unsigned_value(out, ledger_load_be_u32(p + 1), p + 5);
    case 0xcf: return unsigned_value(out, ledger_load_be_u64(p + 1), p + 9);
    case 0xd0: return signed_value(out, (int8_t)p[1], p + 2);
    case 0xd1: return signed_value(out, (int16_t)load_be_u16(p + 1), p + 3);
    case 0xd2: return signed_value(out, (int32_t)ledger_load_be_u32(p + 1), p + 5);
    case 0xd3: return signed_value(out, (int64_t)ledger_load_be_u64(p + 1), p + 9);
    case 0xd6: return sized(out, VALUE_EXT, p + 2, 4);
    case 0xd7: return sized(out, VALUE_EXT, p + 2, 8);
    case 0xd9: return sized(out, VALUE_STRING, p + 2, p[1]);
    case 0xda: return sized(out, VALUE_STRING, p + 3, load_be_u16(p + 1));
    case 0xdb: return sized(out, VALUE_STRING, p + 5, ledger_load_be_u32(p + 1));
    case 0xdc: return sized(out, VALUE_ARRAY, p + 3, load_be_u16(p + 1));
    case 0xdd: return sized(out, VALUE_ARRAY, p + 5, ledger_load_be_u32(p + 1));
    case 0xde: return sized(out, VALUE_MAP, p + 3, load_be_u16(p + 1));
    default: return sized(out, VALUE_MAP, p + 5, ledger_load_be_u32(p + 1)); /* 0xdf: the check lets nothing else by */
    }
}

const uint8_t *ledger_value_read(const uint8_t *p, value *out) {
    const uint8_t first = *p;
    out->begin = p;
    if (first <= 0x7f) return unsigned_value(out, first, p + 1);
    if (first <= 0x8f) return sized(out, VALUE_MAP, p + 1, first & 0x0f);
    if (first <= 0x9f) return sized(out, VALUE_ARRAY, p + 1, first & 0x0f);
    if (first <= 0xbf) return sized(out, VALUE_STRING, p + 1, first & 0x1f);
    if (first >= 0xe0) return signed_value(out, (int8_t)first, p + 1);
    return read_long(p, out);
}

const uint8_t *ledger_value_skip(const uint8_t *p) {
    value found;
    for (uint64_t left = 1; left > 0; left--) {
        p = ledger_value_read(p, &found);
        if (found.kind == VALUE_MAP) left += 2 * (uint64_t)found.size;
        if (found.kind == VALUE_ARRAY) left += found.size;
    }
    return p;
}
