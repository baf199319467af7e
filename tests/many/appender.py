"""A process of its own that appends to a ledger which others append to, until told to stop or killed.

`python appender.py PATH ACKS NAME COUNT`: appends {"name", "n"} for n from the number of lines of ACKS to COUNT, every
eighth time three at once, and writes "index n" to ACKS after each acknowledgement. A restart goes on. Exit code 75:
whether the last batch is durable is not known, since another process recovered after a kill while this one was in its
sync; the error says to open anew, which a restart does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ledger.engine import Ledger
from ledger.errors import DurabilityUnknownError, PoisonedError

__all__ = ["OPEN_ANEW", "acknowledged"]

OPEN_ANEW = 75


def acknowledged(acks: Path) -> list[tuple[int, int]]:
    """(index, n) of each whole line."""
    lines = acks.read_text().split("\n")[:-1] if acks.exists() else []
    return [(int(index), int(n)) for index, n in (line.split() for line in lines)]


def main(path: str, acks: str, name: str, count: int) -> None:
    """Append the rest of `count` events."""
    done = acknowledged(Path(acks))
    n = max((n for _, n in done), default=-1) + 1
    out = os.open(acks, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    with Ledger(path) as log:
        while n < count:
            together = min(3 if n % 8 == 0 else 1, count - n)
            receipts = log.append_many([{"name": name, "n": n + i} for i in range(together)])
            lines = [f"{receipt.index} {n + i}\n" for i, receipt in enumerate(receipts)]
            os.write(out, "".join(lines).encode())
            n += together


if __name__ == "__main__":
    try:
        main(*sys.argv[1:4], int(sys.argv[4]))
    except (DurabilityUnknownError, PoisonedError) as error:
        print(error, file=sys.stderr)
        sys.exit(OPEN_ANEW)
