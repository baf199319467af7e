"""Answers from the index of one granule: which rows hold a value, have a path, may hold a word.

What a look-up gives is always a superset of the rows that truly match; `exact` says that it is exactly them. Where
the index cannot tell (a path that is not indexed in a capped granule) the superset is every event. A look-up reads
one chunk, and one posting when that is long; each is compared with its CRC32C, and what does not agree is
`IndexUnusableError`, never an answer [INDEX-2]. Nothing here is evidence: proofs
are made from the root, not from these bytes.
See docs/format.md "Search index"; csrc/index_read.c; tests/unit/test_index_granule.py."""

from __future__ import annotations

import hashlib
import re
import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import msgpack
import zstandard

from ledger._native import crc32c, ffi, lib
from ledger.encoding import event as events
from ledger.errors import UsageError
from ledger.index.build import build_granule, row_table
from ledger.index.container import GranuleTable, Source, encode_container, read_container, unusable
from ledger.index.paths import PathTable
from ledger.index.rows import Rows

__all__ = ["Found", "Granule", "Values", "build_memory"]

_VALUES_BYTES_MAX: Final = 1 << 27
_TOKEN = re.compile(rb"[0-9A-Za-z_\x80-\xff]+")
_FAR: Final = 1  # LEDGER_INDEX_FAR
Path = Sequence[str]


class Found(NamedTuple):
    """Rows that may match; `exact`: all of them do."""

    rows: Rows
    exact: bool


class Values(NamedTuple):
    """Values at a path and in how many rows each stands. `complete`: there are no others; else values of one row,
    or of paths that are not indexed, may be missing."""

    listed: list[tuple[Any, int]]
    complete: bool


class _Fences(NamedTuple):
    """The first key of each chunk, and where it is."""

    first: array[int]
    offset: array[int]  # one more than chunks: the end
    crc: array[int]


class Granule:
    """One granule, open for reading. Any thread. Memory: fences, 16 bytes for each 256 terms, once used."""

    def __init__(self, source: Source, table: GranuleTable, key: bytes) -> None:
        """`source` reads the index file; `table` is of `read_container`; `key`: the ledger's index key."""
        self.table = table
        self._source = source
        self._key = key
        self._paths = PathTable(table)

    # ---- questions ------------------------------------------------------------------------------

    @cached_property
    def events(self) -> Rows:
        """The rows that are events: what a query runs over unless it asks for notes."""
        notes = array("H", self._inflated("notes", 2 * (self.table.count - self.table.event_count)))
        if sys.byteorder == "big":
            notes.byteswap()
        return Rows.span(0, self.table.count) - Rows(notes)

    def lookup(self, path: Path, value: Any) -> Found:
        """The rows with exactly this scalar at `path`, in any array on the way; its type counts.

        Raises `UsageError` for a map or array, `IndexUnusableError`. Cost: some 10 us and a read or two."""
        packed = events.pack({"": value})[2:]
        if isinstance(value, dict | list | tuple):
            raise UsageError("a look-up takes one scalar; maps and arrays are not indexed as values")
        if not self._paths.is_known(path):
            return Found(self.events, False)
        return self._lookup_packed(self._paths.at(path), packed)

    def exists(self, path: Path) -> Found:
        """The rows in which something stands at `path`, an empty map or array too, or below it."""
        if not path:
            return Found(self.events, True)
        if not self._paths.is_known_below(path):
            return Found(self.events, False)
        return self._united([self._term_key(0x11, number, b"") for number in self._paths.below(path)])

    def words(self, token: str, path: Path | None = None) -> Rows:
        """Rows that may hold the word in a string at `path`, or in any string: candidates, to be looked at.

        `token` may be several words: all of them. Where strings have spaces the words section answers; where none
        has, the list of values does if it is complete; else everything that stands there is a candidate."""
        wanted = [match.lower() for match in _TOKEN.findall(token.encode())]
        is_known = self.table.complete if path is None else self._paths.is_known(path)
        if not wanted or not is_known:
            return self.events
        numbers = range(len(self.table.paths)) if path is None else self._paths.at(path)
        found = Rows()
        has_text = False
        for number in numbers:
            types = self.table.paths[number][1]
            if types & lib.LEDGER_INDEX_TEXT and self.table.has_words:
                has_text = True
            elif types & lib.LEDGER_INDEX_STRING:
                found = found | self._rows_of_words(number, wanted)
        if has_text:
            texts = self.events
            for word in wanted:
                texts = texts & self._word_rows(word)
            found = found | texts
        return found & self.events

    def values(self, path: Path) -> Values:
        """The distinct scalars at `path` with their number of rows, if there are few (at most 4,096); the order is
        that of their first rows."""
        numbers, complete = self._paths.at(path), self._paths.is_known(path)
        counts: dict[bytes, int] = {}
        for number in numbers:
            listed, whole = self._listed.get(number, ([], self._has_no_value(number)))
            complete = complete and whole
            for packed, count in listed:
                again = packed in counts  # the same value inside and outside of an array, maybe in one row
                counts[packed] = len(self._lookup_packed(numbers, packed).rows) if again else count
        return Values([(_unpacked(packed), count) for packed, count in counts.items()], complete)

    def times(self) -> array[int]:
        """The event time of each row, ns; of a note its own time."""
        times = array("q", bytes(8 * self.table.count))
        planes = self._inflated("times", 8 * self.table.count)
        if times:
            lib.ledger_index_times_join(planes, self.table.count, ffi.from_buffer("int64_t[]", times))
        return times

    def types(self, path: Path) -> int:
        """The LEDGER_INDEX_ bits of what stands at `path`; 0: nothing, or not indexed."""
        types = 0
        for number in self._paths.at(path):
            types |= self.table.paths[number][1]
        return types

    # ---- terms ----------------------------------------------------------------------------------

    def _term_key(self, prefix: int, number: int, packed: bytes) -> bytes:
        path = self.table.paths[number][0]
        count = len(path) + bool(packed)
        header = bytes([0x90 | count]) if count < 16 else b"\xdc" + struct.pack(">H", count)
        body = b"".join(map(msgpack.packb, path))
        return hashlib.sha256(bytes([prefix]) + self._key + header + body + packed).digest()

    def _lookup_packed(self, numbers: Sequence[int], packed: bytes) -> Found:
        return self._united([self._term_key(0x10, number, packed) for number in numbers])

    def _united(self, keys: Sequence[bytes]) -> Found:
        """The rows of some terms together."""
        rows, exact = Rows(), True
        for key in keys:
            found = self._term_rows(key)
            rows, exact = rows | found.rows, exact and found.exact
        return Found(rows, exact)

    def _term_rows(self, key: bytes) -> Found:
        top = int.from_bytes(key[:8], "big")
        places, count = ffi.new("ledger_index_posting[4]"), ffi.new("uint32_t *")
        rows, found = Rows(), 0
        for first, chunk in self._chunks("terms", "term_fences", top):
            status = lib.ledger_index_find_terms(chunk, len(chunk), first, top, self.table.count, places, count)
            self._check(status, "terms")
            for place in places[0 : count[0]]:
                rows, found = rows | self._posting(chunk, place), found + 1
        if found:
            return Found(rows, found == 1)
        singles = self._single_rows(top >> 32)
        return Found(singles, not singles)

    def _posting(self, chunk: bytes, place: Any) -> Rows:
        data, native = chunk[place.offset : place.offset + place.bytes], ffi.new("ledger_rows *")
        if place.place == _FAR:
            section = self.table.sections["postings"]
            if place.offset + place.bytes > section.length:
                raise self._damaged("postings")
            data = self._source(section.offset + place.offset, place.bytes)
            if len(data) != place.bytes or crc32c(data) != place.crc:
                raise self._damaged("postings")
        status = lib.ledger_index_posting_rows(data, len(data), place.form, place.count, self.table.count, native)
        self._check(status, "postings")
        return Rows.wrap(native)

    def _single_rows(self, key: int) -> Rows:
        out, count = ffi.new("uint16_t[256]"), ffi.new("uint32_t *")
        listed: set[int] = set()
        for first, chunk in self._chunks("singles", "single_fences", key):
            status = lib.ledger_index_find_singles(chunk, len(chunk), first, key, self.table.count, out, 256, count)
            self._check(status, "singles")
            listed.update(out[0 : count[0]])
        return Rows(listed)

    # ---- words and values -----------------------------------------------------------------------

    def _word_rows(self, word: bytes) -> Rows:
        key, rows = int(lib.ledger_index_word_key(self._key, word, len(word))), Rows()
        for first, chunk in self._chunks("words", "word_fences", key):
            native = ffi.new("ledger_rows *")
            status = lib.ledger_index_find_word(chunk, len(chunk), first, key, self.table.count, native)
            self._check(status, "words")
            rows = rows | Rows.wrap(native)
        return rows

    def _rows_of_words(self, number: int, wanted: Sequence[bytes]) -> Rows:
        """Where no string has a space: the rows of the values that hold the words, or all rows of the path."""
        listed, whole = self._listed.get(number, ([], False))
        if not whole:
            return self._term_rows(self._term_key(0x11, number, b"")).rows
        rows = Rows()
        for packed, _ in listed:
            held = {match.lower() for match in _TOKEN.findall(_text(packed))}
            if held.issuperset(wanted):
                rows = rows | self._term_rows(self._term_key(0x10, number, packed)).rows
        return rows

    def _has_no_value(self, number: int) -> bool:
        _, _, multi, single = self.table.paths[number]
        return multi + single == 0

    @cached_property
    def _listed(self) -> dict[int, tuple[list[tuple[bytes, int]], bool]]:
        """Path number to (packed value, rows) of what is listed, and whether that is all."""
        data, at = self._inflated("values", None), 0
        found: dict[int, tuple[list[tuple[bytes, int]], bool]] = {}
        try:
            while at < len(data):
                number, complete, zero, count = struct.unpack_from("<HBBI", data, at)
                counts = struct.unpack_from(f"<{count}I", data, at + 8)
                sizes = struct.unpack_from(f"<{count}I", data, at + 8 + 4 * count)
                at += 8 + 8 * count
                if number >= len(self.table.paths) or zero or at + sum(sizes) > len(data):
                    raise self._damaged("values")
                listed = []
                for rows, size in zip(counts, sizes, strict=True):
                    listed.append((data[at : at + size], rows))
                    at += size
                found[number] = (listed, bool(complete))
        except struct.error:
            raise self._damaged("values") from None
        return found

    # ---- bytes ----------------------------------------------------------------------------------

    def _chunks(self, name: str, fences: str, key: int) -> Iterator[tuple[int, bytes]]:
        """The first key and the bytes of the chunks that may hold `key`: one, or two if it stands on a border."""
        table, section = self._fences[fences], self.table.sections[name]
        for i in range(max(bisect_left(table.first, key) - 1, 0), bisect_right(table.first, key)):
            begin, end = table.offset[i], table.offset[i + 1]
            if not begin < end <= section.length:
                raise self._damaged(fences)
            chunk = self._source(section.offset + begin, end - begin)
            if len(chunk) != end - begin or crc32c(chunk) != table.crc[i]:
                raise self._damaged(name)
            yield table.first[i], chunk

    @cached_property
    def _fences(self) -> dict[str, _Fences]:
        made = {}
        for name, chunks in (("term_fences", "terms"), ("single_fences", "singles"), ("word_fences", "words")):
            data = self._section(name)
            if len(data) % 16:
                raise self._damaged(name)
            longs, words = array("Q", data), array("I", data)
            if sys.byteorder == "big":
                longs.byteswap()
                words.byteswap()
            end = array("I", [self.table.sections[chunks].length])
            made[name] = _Fences(longs[::2], words[2::4] + end, words[3::4])
        return made

    def _section(self, name: str) -> bytes:
        section = self.table.sections[name]
        data = self._source(section.offset, section.length)
        if len(data) != section.length or crc32c(data) != section.crc:
            raise self._damaged(name)
        return data

    def _inflated(self, name: str, size: int | None) -> bytes:
        """A compressed section; `size`: the bytes that it must have, None: at most 128 MiB."""
        data = self._section(name)
        try:
            stated = zstandard.frame_content_size(data)
            if stated < 0 or stated > _VALUES_BYTES_MAX or (size is not None and stated != size):
                raise self._damaged(name)
            inflated: bytes = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
        except zstandard.ZstdError:
            raise self._damaged(name) from None
        return inflated

    def _check(self, status: int, name: str) -> None:
        if status != lib.LEDGER_OK:
            raise self._damaged(name)

    def _damaged(self, name: str) -> Exception:
        return unusable(self.table.segno, f"section {name} of the granule at entry {self.table.base} is damaged")


def _unpacked(packed: bytes) -> Any:
    return events.unpack(b"\x81\xa0" + packed)[""]


def _text(packed: bytes) -> bytes:
    """The UTF-8 of a packed string; nothing for another value."""
    head = packed[0]
    if head & 0xE0 == 0xA0:
        return packed[1:]
    return packed[1 + (1 << head - 0xD9) :] if 0xD9 <= head <= 0xDB else b""


def build_memory(
    payloads: Sequence[bytes], times: Sequence[int], key: bytes, *, base: int = 0, kinds: Sequence[int] | None = None
) -> Granule:
    """The granule of entries that no seal commits to, through the same code: for the unsealed tail.

    `payloads` (at most 65,536), `times` (ns) and `kinds` (None: all events) by row; `base`: index of the first.
    Raises as `build_granule`, and costs as much; nothing is added later, so a growing tail is best taken in pieces."""
    built = build_granule(row_table(payloads, times, kinds), segno=0, base=base, key=key, seed=None)
    data = encode_container([built], bytes(32), 0)

    def source(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    return Granule(source, read_container(source, len(data), bytes(32), 0)[0], key)
