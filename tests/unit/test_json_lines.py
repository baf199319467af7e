"""JSON lines in and out: strict reading, numbered errors, an unambiguous line for every event."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import event as events
from ledger.encoding import json_lines
from ledger.encoding.json_lines import Line
from ledger.errors import EventError

VECTORS = Path(__file__).parents[1] / "vectors" / "json" / "parsing.ndjson.gz"

TEXT = st.text(max_size=12)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
JSON_EVENTS = st.dictionaries(TEXT, JSON_VALUES, max_size=5)


def same(a: object, b: object) -> bool:
    """Equal in value and type, at every depth; 1, 1.0 and True are three things."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b and repr(a) == repr(b)


class Pieces(io.RawIOBase):
    """A source that gives its bytes in pieces of the sizes asked for, as a pipe may."""

    def __init__(self, data: bytes, sizes: Iterator[int]) -> None:
        super().__init__()
        self._data = io.BytesIO(data)
        self._sizes = sizes

    def read(self, size: int = -1) -> bytes:
        """The next piece, b"" at the end."""
        return self._data.read(min(size, next(self._sizes)))


# ---- values -------------------------------------------------------------------------------------


def vectors() -> list[tuple[str, bytes]]:
    with gzip.open(VECTORS, "rt", encoding="ascii") as lines:
        rows = [json.loads(line) for line in lines]
    return [(row["name"], base64.b64decode(row["b64"])) for row in rows]


@pytest.mark.parametrize(("name", "text"), vectors(), ids=[name for name, _ in vectors()])
def test_published_parsing_cases_end_as_their_names_say(name: str, text: bytes) -> None:
    """JSONTestSuite: `y_` is read and packed, `n_` refused with ValueError, `i_` either of the two.
    The exception among `y_`: keys that come twice, which an event cannot hold."""

    def stored() -> Any:
        value = json_lines.parse_value(text)
        return value, events.unpack(events.pack({"value": value}))["value"]

    if name.startswith("y_object_duplicated_key"):
        with pytest.raises(ValueError, match="comes twice"):
            stored()
    elif name.startswith("n_"):
        with pytest.raises(ValueError):
            stored()
    elif name.startswith("y_"):
        assert same(*stored())
    else:
        with contextlib.suppress(ValueError):
            assert same(*stored())


@given(JSON_EVENTS, st.booleans())
def test_value_of_a_line_is_the_value_that_was_written(event: dict[str, Any], is_ascii: bool) -> None:
    """Strings, 64-bit integers and floats survive exactly, and integers and floats stay apart."""
    text = json.dumps(event, ensure_ascii=is_ascii).encode()
    assert same(json_lines.parse(text), event)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[]", "an event is a JSON object"),
        (b'"a"', "an event is a JSON object"),
        (b"null", "an event is a JSON object"),
        (b'{"a":1,"b":2,"a":3}', 'the key "a" comes twice'),
        (b'{"x":{"a":1,"\\u0061":1}}', 'the key "a" comes twice'),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":Infinity}', "Infinity is not JSON"),
        (b'{"a":-Infinity}', "-Infinity is not JSON"),
        (b'{"a":18446744073709551616}', "more than 64 bits"),
        (b'{"a":-9223372036854775809}', "more than 64 bits"),
        (b'{"a":' + b"9" * 100_000 + b"}", "more than 64 bits"),
        (b'{"a":1e400}', "out of the range"),
        (b'{"a":-1e400}', "out of the range"),
        (b'{"a":1e-400}', "out of the range"),
        (b'{"a":0.000' + b"0" * 400 + b"1}", "out of the range"),
        (b'{"a":"\\ud800"}', "lone surrogate"),
        (b'{"a":"\\uDFFF"}', "lone surrogate"),
        (b'{"a":"\\ude00\\ud83d"}', "lone surrogate"),
        (b'{"\\uD800":1}', "lone surrogate"),
        (b'{"a":[{"b":"\\ud800x"}]}', "lone surrogate"),
        (b'{"a":"\xff"}', "utf-8"),
        (b'{"a":"\xed\xa0\x80"}', "utf-8"),
        (b'{"a":"\t"}', "control character"),
        (b'{"a":1}{"b":2}', "Extra data"),
        (b'{"a":1', "delimiter"),
        (b"{'a':1}", "double quotes"),
        (b'{"a":01}', "delimiter"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b'{"a":' + b"[" * 100_000, "nested too deep"),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else "",
)
def test_text_that_is_no_exact_event_is_refused(text: bytes, reason: str) -> None:
    """Whatever would change on its way, or mean two things, is refused with the reason."""
    with pytest.raises(ValueError, match=reason):
        json_lines.parse(text)
    with pytest.raises(EventError, match=rf"^line 3 \(byte 12\): .*{reason}"):
        list(json_lines.read(io.BytesIO(b'{"good":1}\n\n' + text + b"\n")))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"-9223372036854775808", -(1 << 63)),
        (b"18446744073709551615", (1 << 64) - 1),
        (b"-9214364837600034816", -9214364837600034816),
        (b"9007199254740993", (1 << 53) + 1),
        (b"-0", 0),
        (b"1.0", 1.0),
        (b"-0.0", -0.0),
        (b"0e5", 0.0),
        (b"0.0e-999", 0.0),
        (b"1E2", 100.0),
        (b"5e-324", 5e-324),
        (b"1.7976931348623157e308", 1.7976931348623157e308),
        (b'"\\ud83d\\ude00\\u0000"', "\U0001f600\0"),
    ],
)
def test_value_at_the_edge_of_a_rule_is_read_exactly(text: bytes, value: object) -> None:
    """What the rules just allow comes out as the very value."""
    assert same(json_lines.parse(b'{"a": %b }' % text), {"a": value})


# ---- streams ------------------------------------------------------------------------------------


def zstd_without_size(data: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return compressor.compress(data) + compressor.flush()


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "zstd-stream": zstd_without_size,
}
compressed = pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS.keys())


def until_error(data: bytes) -> tuple[list[Line], EventError]:
    """What is given out of a stream that must end in an error, and the error."""
    lines, found = json_lines.read(io.BytesIO(data)), []
    try:
        for line in lines:
            found.append(line)
    except EventError as error:
        assert next(lines, None) is None
        return found, error
    pytest.fail("the error was passed over")


@compressed
@given(
    st.lists(JSON_EVENTS | st.none(), max_size=6),
    st.sampled_from([b"\n", b"\r\n", b" \t\n"]),
    st.booleans(),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_lines_are_the_same_in_whatever_pieces_they_come(
    compress: Callable[[bytes], bytes],
    batch: list[dict[str, Any] | None],
    ending: bytes,
    is_ended: bool,
    sizes: list[int],
) -> None:
    """Number, offset and event of each line do not hang on compression, pieces, line ends, blank
    lines, or a newline at the end."""
    texts = [b"" if event is None else json.dumps(event).encode() for event in batch]
    data = ending.join(texts) + (ending if is_ended else b"")
    begins = [0, *itertools.accumulate(len(text) + len(ending) for text in texts)]
    expected = [Line(number, begins[number - 1], event) for number, event in enumerate(batch, 1) if event is not None]
    source: Any = Pieces(compress(data), itertools.cycle(sizes))
    found = list(json_lines.read(source))
    assert [line[:2] for line in found] == [line[:2] for line in expected]
    assert all(same(line.event, wanted.event) for line, wanted in zip(found, expected, strict=True))


@compressed
def test_streams_put_end_to_end_are_one_stream(compress: Callable[[bytes], bytes]) -> None:
    """gzip members and zstd frames may follow one another, also in the middle of a line."""
    data = compress(b'{"a":1}\n{"b"') + compress(b"") + compress(b':2}\n{"c":3}')
    numbers = [(line.number, line.event) for line in json_lines.read(io.BytesIO(data))]
    assert numbers == [(1, {"a": 1}), (2, {"b": 2}), (3, {"c": 3})]


@compressed
def test_byte_order_mark_is_skipped_at_the_start_alone(compress: Callable[[bytes], bytes]) -> None:
    """Exports of some systems begin with one; further down it is a fault."""
    mark = b"\xef\xbb\xbf"
    (line,) = json_lines.read(io.BytesIO(compress(mark + b'{"a":1}\n')))
    assert line == Line(1, 0, {"a": 1})
    with pytest.raises(EventError, match="line 2"):
        list(json_lines.read(io.BytesIO(compress(b'{"a":1}\n' + mark + b'{"a":1}\n'))))


@compressed
def test_events_before_a_bad_line_are_given_out(compress: Callable[[bytes], bytes]) -> None:
    """The error names the line and its offset, after every event before it and before any after."""
    data = compress(b'{"a":1}\n\n{"b":2}\n{"c":3,}\n{"d":4}\n')
    found, error = until_error(data)
    assert found == [Line(1, 0, {"a": 1}), Line(3, 9, {"b": 2})]
    assert str(error).startswith("line 4 (byte 17): ")
    assert "Every line before it was read" in str(error)
    assert error.position == 4


@compressed
@pytest.mark.parametrize("is_ended", [True, False])
def test_line_above_the_bound_is_refused_and_one_at_it_taken(
    compress: Callable[[bytes], bytes], is_ended: bool
) -> None:
    """The bound counts the bytes of the line without its newline, wherever the line stands."""
    text = b'{"a":"' + b"x" * 992 + b'"}'
    assert len(text) == 1000
    data = compress(b'{"b":1}\n' + text + (b"\n" if is_ended else b""))
    assert len(list(json_lines.read(io.BytesIO(data), line_bytes_max=1000))) == 2
    with pytest.raises(EventError, match=r"line 2 \(byte 8\): longer than 999 bytes"):
        list(json_lines.read(io.BytesIO(data), line_bytes_max=999))


@pytest.mark.parametrize("compress", [gzip.compress, zstd_without_size])
def test_line_that_never_ends_is_refused_before_it_fills_memory(
    compress: Callable[[bytes], bytes],
) -> None:
    """A small file that stands for an endless line is given up soon after the bound."""
    bomb = compress(b'{"a":"' + b"x" * (64 << 20))
    source = io.BytesIO(bomb)
    with pytest.raises(EventError, match="longer than 100000 bytes"):
        list(json_lines.read(source, line_bytes_max=100_000))


@pytest.mark.parametrize("name", ["gzip", "zstd", "zstd-stream"])
def test_compressed_stream_cut_anywhere_is_an_error(name: str) -> None:
    """A stream that ends early never looks complete: its last lines may be missing."""
    rows = [b'{"n":%d,"x":"%b"}\n' % (n, os.urandom(6).hex().encode()) for n in range(20)]
    data = COMPRESSIONS[name](b"".join(rows))
    for size in range(4, len(data)):
        with pytest.raises(EventError, match=r"line \d+ \(byte \d+\): .*(ends early|damaged)"):
            list(json_lines.read(io.BytesIO(data[:size])))


def test_damaged_gzip_stream_never_reads_to_its_end() -> None:
    """A checksum closes a gzip member: whichever byte is flipped, reading ends in an error."""
    good = gzip.compress(b"".join(b'{"n":%d}\n' % n for n in range(50)), mtime=0)
    for at in range(10, len(good)):  # the first 10 bytes hold flags, a time and a system
        data = bytearray(good)
        data[at] ^= 0x55
        until_error(bytes(data))


@pytest.mark.parametrize("data", [b"", b"\n", b" ", b"\r\n\n", b"\xef\xbb\xbf", b"{", b"\x1f\x8b"])
def test_stream_shorter_than_a_magic_number_is_read_as_it_is(data: bytes) -> None:
    """Empty and blank streams hold no events; stray bytes are a bad first line."""
    if data.strip(b"\xef\xbb\xbf \r\n"):
        with pytest.raises(EventError, match="line 1 "):
            list(json_lines.read(io.BytesIO(data)))
    else:
        assert list(json_lines.read(io.BytesIO(data))) == []


def test_line_is_given_out_before_the_pipe_has_more() -> None:
    """An event is there once its line is: reading does not wait for a full buffer."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as source, open(write_end, "wb", buffering=0) as sink:
        lines = json_lines.read(source)
        for n in range(3):
            writer = threading.Thread(target=sink.write, args=(b'{"n":%d}\n' % n,))
            writer.start()
            assert next(lines).event == {"n": n}
            writer.join()
        sink.close()
        assert next(lines, None) is None


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("cloudtrail-3k", 3313),
        ("linux-auditd", 206),
        ("kubernetes-audit", 59),
        ("windows-security-104k", 104_014),
    ],
)
def test_real_events_come_back_equal(shared: Path, name: str, count: int) -> None:
    """Recorded events survive reading, packing by either codec, unpacking and writing, value for
    value: integers beyond 2^53, control characters, key order."""
    seen = large = 0
    with open(shared / "data" / f"{name}.ndjson.zst", "rb") as source:
        lines = json_lines.read(source)
        while batch := list(itertools.islice(lines, 500)):
            stored = [line.event for line in batch]
            blob = events.pack_many(stored)
            head = len(msgpack.Packer().pack_array_header(len(stored)))
            found = events.unpack_many(blob[head:], len(stored))
            assert found == stored
            if seen < 5000:
                assert events.encode_many(stored, codec=events.CODECS[-1]) == blob
                assert all(same(a, b) for a, b in zip(found, stored, strict=True))
                assert all(same(json_lines.parse(json_lines.dump(event).encode()), event) for event in stored)
            large += sum(isinstance(event.get("Keywords"), int) and abs(event["Keywords"]) > 1 << 53 for event in found)
            seen += len(batch)
    assert seen == count
    assert (large > 80_000) == (name == "windows-security-104k")
