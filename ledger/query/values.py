"""What stands after a field's colon, to a filter on that field."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final

from ledger.query.ast import (
    Cidr,
    Contains,
    Exists,
    Kind,
    Node,
    Not,
    Or,
    Path,
    Prefix,
    Range,
    Regex,
    Span,
    Term,
    Wildcard,
    Words,
)
from ledger.query.scan import Scanner, Word, unescape
from ledger.query.times import interval
from ledger.query.words import tokens

__all__ = ["Field", "path_of", "pattern_node", "typed_terms"]

_REGEX_CHARACTERS_MAX: Final = 1024
_INTEGER: Final = re.compile(r"-?(?:0|[1-9]\d{0,19})")
_FLOAT: Final = re.compile(r"-?(?:0|[1-9]\d{0,300})(?:\.\d{1,300})?(?:[eE][+-]?\d{1,3})?")
_WORDS_FOR: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
_PIECES: Final = re.compile(r"\.|(?:[^.\\]|\\.)+", re.DOTALL)
_NETWORK: Final = re.compile(r"[0-9a-fA-F.:]+/\d{1,3}")


def path_of(name: str) -> Path:
    r"""The path of a dotted name: `a.b` is two keys, `a\.b` one. Raises `ValueError` for an empty key."""
    parts = [""]
    for piece in _PIECES.findall(name):
        if piece == ".":
            parts.append("")
        else:
            parts[-1] += unescape(piece)
    if not all(parts):
        raise ValueError("a key of the path is empty")
    return tuple(parts)


def number_of(text: str) -> int | float | None:
    """The number that a word is, if it is one that an event can hold: 64-bit integers, finite floats."""
    if _INTEGER.fullmatch(text) and -(1 << 63) <= int(text) < 1 << 64:
        return int(text)
    if _FLOAT.fullmatch(text):
        value = float(text)
        return value if value - value == 0 else None
    return None


def typed_terms(path: Path, text: str) -> Node:
    """An unquoted value: the string, or the number, boolean or null that it may mean."""
    values: list[Any] = [text]
    if text in _WORDS_FOR:
        values.append(_WORDS_FOR[text])
    elif (number := number_of(text)) is not None:
        values.append(number)
        if isinstance(number, int):
            if int(float(number)) == number:
                values.append(float(number))
        elif number == int(number) and -(1 << 63) <= number < 1 << 64:
            values.append(int(number))
    if len(values) == 1:
        return Term(path, text)
    return Or(tuple(Term(path, value) for value in values))


def pattern_node(path: Path, raw: str) -> Node:
    """A word with * or ? in it: prefix, contained text, or a pattern."""
    if raw == "*":
        return Exists(path)
    plain = re.compile(r"(?:[^*?\\]|\\.)*", re.DOTALL)
    if raw.endswith("*") and plain.fullmatch(raw[:-1]):
        return Prefix(path, unescape(raw[:-1]))
    if raw.startswith("*") and raw.endswith("*") and len(raw) > 2 and plain.fullmatch(raw[1:-1]):
        return Contains(path, unescape(raw[1:-1]))
    return Wildcard(path, raw)


class Field:
    """A field and the scanner after its colon; `value` reads one value."""

    def __init__(self, name: str, position: int, scan: Scanner, now_ns: int) -> None:
        self._scan = scan
        self._now_ns = now_ns
        self._special = name if name in ("index", "time", "recorded", "kind") else None
        try:
            self._path = path_of(name.removeprefix("."))
        except ValueError as error:
            scan.fail(f"no field's name: {error}", position)

    def value(self) -> Node:
        """One value, of whatever form."""
        scan = self._scan
        if scan.peek() in ("[", "{"):
            return self._between()
        for symbol in (">=", "<=", ">", "<"):
            if scan.take(symbol):
                return self._compare(symbol)
        if self._special == "kind":
            return self._kind()
        if self._special is not None:
            return self._span(*self._place(self._bound()))
        if scan.take("~"):
            return self._regex()
        exact = scan.take("=")
        position = scan.at
        if (quoted := scan.quoted()) is not None:
            found = tokens(quoted)
            both = found and not exact
            return Or((Term(self._path, quoted), Words(self._path, found))) if both else Term(self._path, quoted)
        word = scan.word()
        if word is None:
            scan.fail("a value belongs here", position)
        if exact:
            return Term(self._path, word.text)
        return self._plain(word)

    def _plain(self, word: Word) -> Node:
        if re.search(r"(?<!\\)(?:\\\\)*[*?]", word.raw):
            return pattern_node(self._path, word.raw)
        if _NETWORK.fullmatch(word.raw):
            try:
                return Cidr(self._path, str(ipaddress.ip_network(word.raw)))
            except ValueError as error:
                self._scan.fail(f"no network ({error}); quote it if it is text", word.position)
        return typed_terms(self._path, word.text)

    def _regex(self) -> Node:
        position = self._scan.at
        pattern = self._scan.quoted()
        if pattern is None:
            self._scan.fail('a regular expression stands in quotes: field:~"…"')
        if len(pattern) > _REGEX_CHARACTERS_MAX:
            self._scan.fail(f"a regular expression has at most {_REGEX_CHARACTERS_MAX} characters", position)
        # The quotes' own escapes are the regex's: only \" is taken as a quote.
        raw = self._scan.text[position + 1 : self._scan.at - 1].lstrip('"').replace('\\"', '"')
        try:
            re.compile(raw)
        except (re.error, OverflowError, RecursionError) as error:
            at = getattr(error, "pos", None) or 0
            self._scan.fail(f"no regular expression: {error}", position + 1 + at)
        return Regex(self._path, raw)

    def _kind(self) -> Node:
        word = self._scan.word()
        if word is None or word.raw not in ("event", "note", "*"):
            self._scan.fail("a kind is event, note or *", word.position if word else None)
        return Or((Kind(False), Kind(True))) if word.raw == "*" else Kind(word.raw == "note")

    # ---- ranges -------------------------------------------------------------------------------------

    def _bound(self) -> Word:
        """A word or a quoted string, as a word."""
        position = self._scan.at
        quoted = self._scan.quoted()
        word = Word(quoted.replace("\\", "\\\\"), position) if quoted is not None else self._scan.word()
        if word is None:
            self._scan.fail("a bound belongs here")
        return word

    def _between(self) -> Node:
        scan = self._scan
        low_open = scan.take("{") or not scan.take("[")
        low = self._bound()
        if not scan.take_keyword("TO"):
            scan.fail("a range is [low TO high]: TO is missing")
        high = self._bound()
        high_open = scan.take("}")
        if not high_open:
            scan.expect("]", "a range is open")
        ends = [None if word.raw == "*" else word for word in (low, high)]
        if self._special is not None:
            begin = self._place(ends[0])[1 if low_open else 0] if ends[0] else None
            end = self._place(ends[1])[0 if high_open else 1] if ends[1] else None
            return self._span(begin, end)
        return self._range(ends[0], ends[1], low_open, high_open, low.position)

    def _compare(self, symbol: str) -> Node:
        word = self._bound()
        if self._special is not None:
            begin, end = self._place(word)
            spans: dict[str, Callable[[], Node]] = {
                ">=": lambda: self._span(begin, None),
                ">": lambda: self._span(end, None),
                "<=": lambda: self._span(None, end),
                "<": lambda: self._span(None, begin),
            }
            return spans[symbol]()
        is_open = len(symbol) == 1
        if symbol[0] == ">":
            return self._range(word, None, is_open, False, word.position)
        return self._range(None, word, False, is_open, word.position)

    def _range(self, low: Word | None, high: Word | None, low_open: bool, high_open: bool, position: int) -> Node:
        given = [word for word in (low, high) if word is not None]
        if not given:
            return Exists(self._path)
        numbers = [number_of(word.text) for word in given]
        ends: list[Any] = [word.text for word in given] if None in numbers else list(numbers)
        if None in numbers and any(number is not None for number in numbers):
            self._scan.fail("one bound is a number and the other text", position)
        bounds = dict(zip(given, ends, strict=True))
        return Range(
            self._path,
            bounds[low] if low is not None else None,
            bounds[high] if high is not None else None,
            low_open and low is not None,
            high_open and high is not None,
        )

    def _place(self, word: Word) -> tuple[int, int]:
        """[begin, end) on the special field's axis."""
        if self._special == "kind":
            self._scan.fail("a kind is event or note; it has no order", word.position)
        if self._special == "index":
            if not (word.raw.isascii() and word.raw.isdigit() and len(word.raw) <= 19):
                self._scan.fail("an index is a number from 0", word.position)
            return int(word.raw), int(word.raw) + 1
        try:
            return interval(word.text, self._now_ns)
        except (ValueError, OverflowError) as error:
            self._scan.fail(str(error), word.position)

    def _span(self, begin: int | None, end: int | None) -> Node:
        assert self._special is not None, "only special fields have an axis"
        if begin is None and end is None:
            return Not(Span(self._special, 0, 0))
        return Span(self._special, begin, end)
