/* SPDX-License-Identifier: Apache-2.0 */
/* index_rows.c: sets of at most 65,536 rows: a sorted list up to 4,096, one bit a row above.
 *
 * Form      the count alone decides it, so equal sets are equal bytes up to what is in use
 * Cost      two lists: one merge; with a bitmap: 1,024 words, or a bit test for each of the list
 * Owns      nothing: results go to the caller's set, which is not one of the operands
 * See       ledger/index/rows.py; tests/unit/test_index_rows.py */
#include "index_chunk.h"

enum { LIST_MAX = 4096, WORDS = 1024 };

static bool has_bit(const uint64_t *bits, uint32_t row) {
    return bits[row / 64] >> row % 64 & 1;
}

static uint32_t write_list(const uint64_t *bits, uint16_t *list) {
    uint32_t count = 0;
    for (uint32_t word = 0; word < WORDS; word++)
        for (uint64_t left = bits[word]; left != 0; left &= left - 1)
            list[count++] = (uint16_t)(word * 64 + (uint32_t)__builtin_ctzll(left));
    return count;
}

/* Settles the form of a set whose bits are filled in. */
static void settle(ledger_rows *rows) {
    uint32_t count = 0;
    for (uint32_t word = 0; word < WORDS; word++) count += (uint32_t)__builtin_popcountll(rows->in.bits[word]);
    rows->count = count;
    rows->is_bitmap = count > LIST_MAX;
    if (rows->is_bitmap) return;
    uint16_t list[LIST_MAX];
    write_list(rows->in.bits, list);
    memcpy(rows->in.list, list, count * sizeof *list);
}

/* The bits of a set, spread into scratch when it is a list. */
static const uint64_t *bits_of(const ledger_rows *rows, uint64_t scratch[WORDS]) {
    if (rows->is_bitmap) return rows->in.bits;
    memset(scratch, 0, WORDS * sizeof *scratch);
    for (uint32_t i = 0; i < rows->count; i++) scratch[rows->in.list[i] / 64] |= UINT64_C(1) << rows->in.list[i] % 64;
    return scratch;
}

void ledger_rows_from_bits(const uint64_t bits[1024], ledger_rows *out) {
    memcpy(out->in.bits, bits, sizeof out->in.bits);
    settle(out);
}

void ledger_rows_fill(uint32_t begin, uint32_t end, ledger_rows *out) {
    memset(out->in.bits, 0, sizeof out->in.bits);
    for (uint32_t row = begin; row < end && row < ROWS_MAX; row++) out->in.bits[row / 64] |= UINT64_C(1) << row % 64;
    settle(out);
}

int ledger_rows_take(const uint16_t *rows, uint32_t count, ledger_rows *out) {
    for (uint32_t i = 1; i < count; i++)
        if (rows[i] <= rows[i - 1]) return LEDGER_USAGE;
    out->count = count;
    out->is_bitmap = count > LIST_MAX;
    if (!out->is_bitmap) {
        if (count > 0) memcpy(out->in.list, rows, count * sizeof *rows);
        return LEDGER_OK;
    }
    memset(out->in.bits, 0, sizeof out->in.bits);
    for (uint32_t i = 0; i < count; i++) out->in.bits[rows[i] / 64] |= UINT64_C(1) << rows[i] % 64;
    return LEDGER_OK;
}

/* The rows of a list that are in b, or are not. */
static void filter_list(const ledger_rows *a, const ledger_rows *b, bool wanted, ledger_rows *out) {
    uint32_t kept = 0, at = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        const uint16_t row = a->in.list[i];
        bool found;
        if (b->is_bitmap) found = has_bit(b->in.bits, row);
        else {
            while (at < b->count && b->in.list[at] < row) at++;
            found = at < b->count && b->in.list[at] == row;
        }
        if (found == wanted) out->in.list[kept++] = row;
    }
    out->count = kept;
    out->is_bitmap = 0;
}

void ledger_rows_and(const ledger_rows *a, const ledger_rows *b, ledger_rows *out) {
    if (!a->is_bitmap || !b->is_bitmap) {
        filter_list(a->is_bitmap ? b : a, a->is_bitmap ? a : b, true, out);
        return;
    }
    for (uint32_t word = 0; word < WORDS; word++) out->in.bits[word] = a->in.bits[word] & b->in.bits[word];
    settle(out);
}

void ledger_rows_and_not(const ledger_rows *a, const ledger_rows *b, ledger_rows *out) {
    uint64_t scratch[WORDS];
    if (!a->is_bitmap) {
        filter_list(a, b, false, out);
        return;
    }
    const uint64_t *minus = bits_of(b, scratch);
    for (uint32_t word = 0; word < WORDS; word++) out->in.bits[word] = a->in.bits[word] & ~minus[word];
    settle(out);
}

static void merge_lists(const ledger_rows *a, const ledger_rows *b, ledger_rows *out) {
    uint32_t i = 0, k = 0, count = 0;
    while (i < a->count || k < b->count) {
        const bool take_a = i < a->count && (k == b->count || a->in.list[i] <= b->in.list[k]);
        const uint16_t row = take_a ? a->in.list[i++] : b->in.list[k++];
        if (count == 0 || out->in.list[count - 1] != row) out->in.list[count++] = row;
    }
    out->count = count;
    out->is_bitmap = 0;
}

void ledger_rows_or(const ledger_rows *a, const ledger_rows *b, ledger_rows *out) {
    uint64_t scratch[WORDS];
    if (!a->is_bitmap && !b->is_bitmap && a->count + b->count <= LIST_MAX) {
        merge_lists(a, b, out);
        return;
    }
    const uint64_t *left = bits_of(a, scratch);
    memmove(out->in.bits, left, sizeof out->in.bits);
    if (b->is_bitmap)
        for (uint32_t word = 0; word < WORDS; word++) out->in.bits[word] |= b->in.bits[word];
    else
        for (uint32_t i = 0; i < b->count; i++) out->in.bits[b->in.list[i] / 64] |= UINT64_C(1) << b->in.list[i] % 64;
    settle(out);
}

int ledger_rows_has(const ledger_rows *rows, uint32_t row) {
    if (row >= ROWS_MAX) return 0;
    if (rows->is_bitmap) return has_bit(rows->in.bits, row);
    uint32_t low = 0, high = rows->count;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (rows->in.list[middle] < row) low = middle + 1;
        else high = middle;
    }
    return low < rows->count && rows->in.list[low] == row;
}

int ledger_rows_slice(const ledger_rows *rows, uint32_t begin, uint32_t end, uint16_t *out) {
    if (begin > end || end > rows->count) return LEDGER_USAGE;
    if (!rows->is_bitmap) {
        if (begin < end) memcpy(out, rows->in.list + begin, (end - begin) * sizeof *out);
        return LEDGER_OK;
    }
    uint32_t rank = 0;
    for (uint32_t word = 0; word < WORDS && rank < end; word++) {
        uint64_t left = rows->in.bits[word];
        const uint32_t here = (uint32_t)__builtin_popcountll(left);
        if (rank + here <= begin) {
            rank += here;
            continue;
        }
        for (; left != 0 && rank < end; left &= left - 1, rank++)
            if (rank >= begin) out[rank - begin] = (uint16_t)(word * 64 + (uint32_t)__builtin_ctzll(left));
    }
    return LEDGER_OK;
}
