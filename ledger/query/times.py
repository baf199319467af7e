"""Times as people write them in a query, to half-open intervals of ns since the epoch.

2026  2026-05  2026-05-01           the whole year, month, day, in UTC
2026-05-01T10  …T10:30  …T10:30:05  the whole hour, minute, second; then up to nine decimals
…Z  …+02:00                         with an offset; UTC without
now  now-7d  now+90m  now/d         durations s m h d w; /s /m /h /d rounds down, and means that whole unit
1767225600  …000  …000000  …        since the epoch, s, ms, us or ns by the number of digits (9 to 19)"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

__all__ = ["interval"]

_NS: Final = 1_000_000_000
_UNITS: Final = {"s": _NS, "m": 60 * _NS, "h": 3600 * _NS, "d": 86400 * _NS, "w": 7 * 86400 * _NS}
_NOW: Final = re.compile(r"now((?:[+-]\d{1,9}[smhdw])*)(?:/([smhd]))?")
_STEP: Final = re.compile(r"([+-])(\d+)([smhdw])")
_DATE: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[Tt ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?(Z|z|[+-]\d\d:\d\d)?)?)?)?"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def interval(text: str, now_ns: int) -> tuple[int, int]:
    """[begin, end) that `text` stands for; an instant is one ns long. Raises `ValueError` with what is wrong."""
    if found := _NOW.fullmatch(text):
        return _relative(found, now_ns)
    if text.isascii() and text.isdigit() and 9 <= len(text) <= 19:
        scale = 10 ** (6 - 3 * ((len(text) - 12) // 3)) if len(text) > 11 else _NS
        return int(text) * scale, int(text) * scale + scale
    if found := _DATE.fullmatch(text):
        return _calendar(*found.groups())
    raise ValueError("no time: write 2026-05-01, 2026-05-01T10:30:00Z, now-7d or seconds since the epoch")


def _relative(found: re.Match[str], now_ns: int) -> tuple[int, int]:
    at = now_ns
    for sign, count, unit in _STEP.findall(found[1]):
        at += (1 if sign == "+" else -1) * int(count) * _UNITS[unit]
    if found[2] is None:
        return at, at + 1
    unit_ns = _UNITS[found[2]]
    at -= at % unit_ns
    return at, at + unit_ns


def _calendar(
    year: str,
    month: str | None,
    day: str | None,
    hour: str | None,
    minute: str | None,
    second: str | None,
    decimals: str | None,
    zone: str | None,
) -> tuple[int, int]:
    offset: tzinfo = UTC
    if zone is not None and zone not in "Zz":
        sign = -1 if zone[0] == "-" else 1
        offset = timezone(sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6])))
    begin = datetime(
        int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=offset
    )
    if month is None:
        end = begin.replace(year=begin.year + 1)
    elif day is None:
        end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    else:
        step = "d" if hour is None else "h" if minute is None else "m" if second is None else "s"
        end = begin + timedelta(seconds=_UNITS[step] // _NS)
    if decimals is None:
        return _ns(begin), _ns(end)
    at = _ns(begin) + int(decimals.ljust(9, "0"))
    return at, at + 10 ** (9 - len(decimals))


def _ns(moment: datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86400 + since.seconds) * _NS + since.microseconds * 1000
