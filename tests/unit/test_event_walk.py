"""The check in C of packed events: against a second walker, and case by case."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger._native import ffi, lib
from tests import event_walker
from tests.event_walker import Verdict

LEDGER_OK, LEDGER_BAD_EVENT = 0, 3
TRAILING = 12
SCANNED_KEYS = 64  # of csrc/msgpack.c
MUTATIONS = 1_000_000
VECTORS = Path(__file__).parents[1] / "vectors" / "msgpack" / "msgpack-test-suite.json"


class Walker:
    """The two calls of csrc/msgpack.c, with the places for their answers."""

    def __init__(self) -> None:
        self._size = ffi.new("size_t *")
        self._reason = ffi.new("int *")
        self._offset = ffi.new("uint64_t *")

    def next(self, data: bytes) -> Verdict:
        """What stands at the start of `data`."""
        status = lib.ledger_event_next(data, len(data), self._size, self._reason, self._offset)
        assert (status == LEDGER_OK) == (self._reason[0] == 0)
        assert status in (LEDGER_OK, LEDGER_BAD_EVENT)
        return Verdict(self._size[0], self._reason[0], self._offset[0])

    def check(self, data: bytes) -> tuple[int, int]:
        """(reason, offset) for `data` as one whole event."""
        status = lib.ledger_event_check(data, len(data), self._reason, self._offset)
        assert (status == LEDGER_OK) == (self._reason[0] == 0)
        return self._reason[0], self._offset[0]


@pytest.fixture(scope="module")
def walker() -> Walker:
    return Walker()


def in_event(*values: bytes) -> bytes:
    """A map with these packed values under the keys k0, k1 ..."""
    pairs = (msgpack.packb(f"k{i}") + value for i, value in enumerate(values))
    return bytes([0x80 | len(values)]) + b"".join(pairs)


def assert_same(walker: Walker, data: bytes) -> None:
    """C and Python agree on `data`, up to the exception that both state."""
    expected, found = event_walker.walk(data), walker.next(data)
    if found != expected:
        assert expected.reason == event_walker.KEY_REPEATED, (data.hex(), expected, found)
        assert found.reason != 0, (data.hex(), expected, found)
        assert found.offset > expected.offset, (data.hex(), expected, found)


# ---- one fault each -----------------------------------------------------------------------------

NESTED_31 = b"\x91" * 31
FAULTS = {
    "empty": (b"", event_walker.TRUNCATED, 0),
    "an array": (b"\x90", event_walker.NOT_A_MAP, 0),
    "unassigned outermost": (b"\xc1", event_walker.NOT_A_MAP, 0),
    "map without its pair": (b"\x81", event_walker.TRUNCATED, 1),
    "key without its value": (b"\x81\xa1a", event_walker.TRUNCATED, 3),
    "map of 2^32 - 1 pairs": (b"\xdf\xff\xff\xff\xff", event_walker.TRUNCATED, 5),
    "array of 2^32 - 1": (in_event(b"\xdd\xff\xff\xff\xff"), event_walker.TRUNCATED, 9),
    "string cut": (in_event(b"\xa5abc"), event_walker.TRUNCATED, 4),
    "string of 2^32 - 1": (in_event(b"\xdb\xff\xff\xff\xffa"), event_walker.TRUNCATED, 4),
    "bin of 2^32 - 1": (in_event(b"\xc6\xff\xff\xff\xffa"), event_walker.TRUNCATED, 4),
    "float cut": (in_event(b"\xcb\x00"), event_walker.TRUNCATED, 4),
    "map16 of 15": (b"\xde\x00\x0f", event_walker.NOT_SHORTEST, 0),
    "map32 of 65535": (b"\xdf\x00\x00\xff\xff", event_walker.NOT_SHORTEST, 0),
    "array16 of 15": (in_event(b"\xdc\x00\x0f"), event_walker.NOT_SHORTEST, 4),
    "str8 of 31": (in_event(b"\xd9\x1f" + b"a" * 31), event_walker.NOT_SHORTEST, 4),
    "str16 of 255": (in_event(b"\xda\x00\xff" + b"a" * 255), event_walker.NOT_SHORTEST, 4),
    "str32 of 65535": (in_event(b"\xdb\0\0\xff\xff" + b"a" * 65535), event_walker.NOT_SHORTEST, 4),
    "bin16 of 255": (in_event(b"\xc5\x00\xff" + b"a" * 255), event_walker.NOT_SHORTEST, 4),
    "bin32 of 65535": (in_event(b"\xc6\0\0\xff\xff" + b"a" * 65535), event_walker.NOT_SHORTEST, 4),
    "key that is an integer": (b"\x81\x01\x02", event_walker.KEY_NOT_STRING, 1),
    "key that is bin": (b"\x81\xc4\x01a\x02", event_walker.KEY_NOT_STRING, 1),
    "key repeated": (b"\x82\xa1a\x01\xa1a\x02", event_walker.KEY_REPEATED, 4),
    "empty key repeated": (b"\x82\xa0\x01\xa0\x02", event_walker.KEY_REPEATED, 3),
    "UTF-8 overlong": (in_event(b"\xa2\xc0\x80"), event_walker.NOT_UTF8, 4),
    "UTF-8 surrogate": (in_event(b"\xa3\xed\xa0\x80"), event_walker.NOT_UTF8, 4),
    "UTF-8 above U+10FFFF": (in_event(b"\xa4\xf4\x90\x80\x80"), event_walker.NOT_UTF8, 4),
    "UTF-8 cut": (in_event(b"\xa2\xe2\x82"), event_walker.NOT_UTF8, 4),
    "UTF-8 in a key": (b"\x81\xa1\xff\xc0", event_walker.NOT_UTF8, 1),
    "float32": (in_event(b"\xca\0\0\0\0"), event_walker.FLOAT32, 4),
    "NaN": (in_event(b"\xcb\x7f\xf8\0\0\0\0\0\0"), event_walker.NOT_FINITE, 4),
    "minus infinity": (in_event(b"\xcb\xff\xf0\0\0\0\0\0\0"), event_walker.NOT_FINITE, 4),
    "ext 5": (in_event(b"\xd4\x05\x00"), event_walker.EXT, 4),
    "ext 5 as fixext4": (in_event(b"\xd6\x05\0\0\0\0"), event_walker.EXT, 4),
    "timestamp in ext8 of 4": (in_event(b"\xc7\x04\xff\0\0\0\0"), event_walker.EXT, 4),
    "timestamp of 10^9 ns": (
        in_event(b"\xd7\xff" + struct.pack(">Q", 10**9 << 34)),
        event_walker.TIMESTAMP,
        4,
    ),
    "timestamp64 without ns": (
        in_event(b"\xd7\xff" + struct.pack(">Q", 5)),
        event_walker.NOT_SHORTEST,
        4,
    ),
    "timestamp96 of 34 bits": (
        in_event(b"\xc7\x0c\xff" + struct.pack(">IQ", 5, (1 << 34) - 1)),
        event_walker.NOT_SHORTEST,
        4,
    ),
    "33 levels": (in_event(NESTED_31 + b"\x90"), event_walker.TOO_DEEP, 35),
    "100,000 levels": (in_event(b"\x91" * 100_000), event_walker.TOO_DEEP, 35),
    "unassigned byte": (in_event(b"\xc1"), event_walker.UNASSIGNED, 4),
}


@pytest.mark.parametrize(("data", "reason", "offset"), FAULTS.values(), ids=FAULTS.keys())
def test_fault_is_named_with_its_place(walker: Walker, data: bytes, reason: int, offset: int) -> None:
    """Each broken rule is refused by both walkers, with its own reason, at the value at fault."""
    assert walker.check(data) == (reason, offset)
    assert event_walker.walk(data) == Verdict(0, reason, offset)


@pytest.mark.parametrize(
    "value",
    [
        b"\xcb\x80\0\0\0\0\0\0\0",  # -0.0
        b"\xcb\x7f\xef" + b"\xff" * 6,
        b"\xc4\x00",
        b"\xd6\xff\xff\xff\xff\xff",
        b"\xd7\xff" + struct.pack(">Q", 1 << 32),
        b"\xd7\xff" + struct.pack(">Q", 999_999_999 << 34),
        b"\xc7\x0c\xff" + struct.pack(">Iq", 999_999_999, -1),
        b"\xc7\x0c\xff" + struct.pack(">IQ", 0, 1 << 34),
        NESTED_31,
        msgpack.packb("\U0010ffff\U00010000\uffff\ue000\ud7ff\u0800\u07ff\u0080\x7f\0"),
    ],
    ids=lambda value: value.hex()[:24],
)
def test_value_at_the_edge_of_a_rule_is_accepted(walker: Walker, value: bytes) -> None:
    """What a rule just allows is an event of exactly its bytes, for both walkers."""
    data = in_event(value if value != NESTED_31 else b"\x91" * 30 + b"\x90")
    assert walker.check(data) == (0, 0)
    assert event_walker.walk(data) == Verdict(len(data), 0, 0)


def test_byte_after_the_event_is_trailing_to_check_alone(walker: Walker) -> None:
    """`next` stops at the event's end; `check` refuses what follows, and says where it begins."""
    data = in_event(b"\xc0")
    assert walker.next(data + b"\x80") == Verdict(len(data), 0, 0)
    assert walker.check(data + b"\x80") == (TRAILING, len(data))


def test_every_prefix_of_an_event_is_truncated(walker: Walker) -> None:
    """An event cut anywhere is refused as cut."""
    stamp = msgpack.Timestamp(-5, 7)
    data = msgpack.packb({"a": [1, -500, 2**40, 1.5], "b" * 40: {"c": b"12"}, "d": stamp})
    assert walker.check(data) == (0, 0)
    for size in range(len(data)):
        assert walker.check(data[:size])[0] == event_walker.TRUNCATED
        assert_same(walker, data[:size])


@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_only_the_shortest_form_of_an_integer_is_accepted(value: int) -> None:
    """Of all forms that hold an integer, exactly the one that msgpack writes is accepted."""
    shortest = msgpack.packb(value)
    forms = {shortest}
    for head, form in zip(range(0xCC, 0xD4), ("B", "H", "I", "Q", "b", "h", "i", "q"), strict=True):
        try:
            forms.add(bytes([head]) + struct.pack(">" + form, value))
        except struct.error:
            continue
    walker = Walker()
    for form in forms:
        reason = 0 if form == shortest else event_walker.NOT_SHORTEST
        assert walker.check(in_event(form))[0] == reason


def test_published_encodings_pass_in_their_shortest_form_alone(walker: Walker) -> None:
    """Of the encodings that msgpack-test-suite lists for a value, exactly the one that msgpack
    writes passes (for a whole number two: as an integer and as a float64)."""
    groups = json.loads(VECTORS.read_text())
    cases = [case for group in groups.values() for case in group]
    assert len(cases) > 80
    for case in cases:
        passed = []
        for encoding in case["msgpack"]:
            data = bytes.fromhex(encoding.replace("-", ""))
            if walker.check(in_event(data)) == (0, 0):
                passed.append(data)
            assert_same(walker, in_event(data))
        assert all(msgpack.packb(msgpack.unpackb(data)) == data for data in passed)
        kinds = {type(msgpack.unpackb(data)) for data in passed}
        assert len(passed) == len(kinds), case
        if "ext" in case:  # among them, only timestamp -1 would pass
            assert not passed, case
        else:
            assert kinds, case


# ---- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 15, 16, 64, 65, 511, 513, 5000, 70_000])
def test_repeated_key_is_found_in_a_map_of_any_size(walker: Walker, count: int) -> None:
    """Scanned, sorted, on the stack or on the heap: the last key equal to any one is refused."""
    keys = [f"field-{i}" for i in range(count)]
    assert walker.check(msgpack.packb(dict.fromkeys(keys))) == (0, 0)
    for twin in {0, (count - 1) // 2, count - 2}:
        head = msgpack.packb(dict.fromkeys(keys[:-1]))
        size = len(msgpack.Packer().pack_map_header(count - 1))
        body = msgpack.Packer().pack_map_header(count) + head[size:]
        data = body + msgpack.packb(keys[twin]) + b"\xc0"
        assert walker.check(data) == (event_walker.KEY_REPEATED, len(body))


def test_keys_of_sibling_and_nested_maps_may_be_equal(walker: Walker) -> None:
    """Uniqueness is asked of one map at a time, also after a map inside it has ended."""
    small = {"a": {"a": 1, "b": {"a": 1}}, "b": [{"a": 1}, {"a": 1}], "c": 0}
    large = {f"k{i}": ({f"k{j}": j for j in range(70)} if i % 9 == 0 else i) for i in range(70)}
    for event in (small, large, {"k0": large, "k1": small}):
        assert walker.check(msgpack.packb(event)) == (0, 0)
    assert walker.check(b"\x83\xa1a\x81\xa1a\xc0\xa1b\xc0\xa1a\xc0")[0] == event_walker.KEY_REPEATED


@pytest.mark.parametrize("size", [*range(20), 31, 32, 255, 256])
@pytest.mark.parametrize("count", [10, 100])
def test_keys_that_differ_in_one_byte_are_told_apart(walker: Walker, size: int, count: int) -> None:
    """No two different keys count as one, wherever they differ."""
    middle = size // 2
    keys = {"x" * size} | {
        "x" * i + c + "x" * (size - i - 1) for i in {0, middle, size - 1} if 0 <= i < size for c in "ab"
    }
    others = {f"{i:04}" for i in range(count)} - keys
    assert walker.check(msgpack.packb(dict.fromkeys([*keys, *others]))) == (0, 0)


def test_hostile_keys_cost_no_more_than_sorting(walker: Walker) -> None:
    """100,000 keys that agree in all the bytes a fingerprint reads are checked, not compared each
    with each (that would be 5 * 10^9 comparisons)."""
    keys = [f"12345678{i:06}12345678" for i in range(100_000)]
    assert walker.check(msgpack.packb(dict.fromkeys(keys))) == (0, 0)
    repeated = msgpack.packb(dict.fromkeys(keys)).replace(b"12345678099999", b"12345678000000")
    assert walker.check(repeated)[0] == event_walker.KEY_REPEATED


# ---- the two walkers ----------------------------------------------------------------------------

HEADS = bytes([0x80, 0x81, 0x8F, 0x90, 0x91, 0xA0, 0xA1, 0xBF, *range(0xC0, 0xE0), 0xFF, 0x7F])
SEEDS: list[dict[str, object]] = [
    {},
    {"a": 1},
    {"a": None, "b": True, "c": [False]},
    {"id": 2**64 - 1, "n": -(2**63), "m": [127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32]},
    {"n": [-1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1]},
    {"f": [0.0, -0.0, 1.5, 5e-324, 1.7e308]},
    {"t": [msgpack.Timestamp(1), msgpack.Timestamp(1, 1), msgpack.Timestamp(-1, 999_999_999)]},
    {"b": b"", "c": b"\x00" * 5, "d": bytes(range(250, 256)) * 44},
    {"é": "ü€\U0001f600", "ascii": "plain text of some length", "": "x" * 31, "l": "y" * 32},
    {"user": {"id": "u1", "tags": ["a", "b"], "n": {"n": {"n": {}}}}, "type": "login"},
    {"a": 1, "b": 2, "aa": 3, "ab": 4, "abc": 5, "abd": 6, "abcdefgh": 7, "abcdefgi": 8},
    {f"k{i}": i for i in range(17)},
    {f"k{i}": i for i in range(SCANNED_KEYS + 2)},
]


def deep(levels: int) -> dict[str, object]:
    event: dict[str, object] = {}
    for _ in range(levels - 1):
        event = {"d": event}
    return event


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """One seed with one to three changes: a byte, a head, a cut, a repeat, a splice, a swap."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = int(rng.random() * (len(data) + 1))
        change = int(rng.random() * 8)
        if change == 0:
            data[at : at + 1] = bytes([int(rng.random() * 256)])
        elif change == 1:
            data[at : at + 1] = bytes([rng.choice(HEADS)])
        elif change == 2:
            data.insert(at, rng.choice(HEADS))
        elif change == 3:
            del data[at : at + 1 + int(rng.random() * 3)]
        elif change == 4:
            del data[at:]
        elif change == 5:
            data[at:at] = data[at : at + 1 + int(rng.random() * 6)]
        elif change == 6:
            other = rng.choice(seeds)
            begin = int(rng.random() * len(other))
            data[at:at] = other[begin : begin + 1 + int(rng.random() * 8)]
        elif at < len(data):
            data[at] ^= 1 << int(rng.random() * 8)
    return bytes(data)


def test_million_mutated_events_get_the_same_verdict_from_both_walkers(walker: Walker) -> None:
    """C and the independent walker agree on a million mutants of events of every kind."""
    rng = random.Random(20260131)
    seeds = [msgpack.packb(event) for event in [*SEEDS, deep(31), deep(32), deep(33)]]
    accepted = 0
    for _ in range(MUTATIONS):
        data = mutated(rng, seeds)
        expected = event_walker.walk(data)
        if walker.next(data) != expected:
            assert_same(walker, data)
        accepted += expected.reason == 0
    assert MUTATIONS // 20 < accepted < MUTATIONS // 2, "mutants should lie on both sides"


@given(st.binary(max_size=64))
def test_arbitrary_bytes_get_the_same_verdict_from_both_walkers(data: bytes) -> None:
    """Bytes of no shape at all, alone and as the value of a key."""
    walker = Walker()
    assert_same(walker, data)
    assert_same(walker, b"\x81\xa1k" + data)
