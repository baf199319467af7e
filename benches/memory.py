"""Peak resident memory of import, seal and verify, above a bare interpreter: `python -m benches.memory [EVENTS]`.

Each step runs in a process of its own and reports its own peak (VmHWM: unlike `ru_maxrss` it does not inherit the
parent's across exec). The steps stream, so the bound holds for any number of events."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["BOUND_MIB", "STEPS", "main", "measure"]

BOUND_MIB = 256
_VARIANTS = 5000


def _bare(path: Path, count: int) -> None:
    """Nothing but the interpreter."""


def _lines(path: Path, count: int) -> None:
    """`count` small events as NDJSON on standard output: what the import step reads."""
    from benches.workload import events

    varied = events(_VARIANTS, "small")
    for position in range(count):
        event = varied[position % _VARIANTS] | {"seq": position}
        sys.stdout.write(json.dumps(event) + "\n")


def _import(path: Path, count: int) -> None:
    """NDJSON from a pipe, 1000 events a commit."""
    from ledger.importing import import_lines

    result = import_lines(path, Path("-"))
    assert result["imported"] == count, f"imported {result['imported']} of {count}"


def _seal(path: Path, count: int) -> None:
    """What the import left unsealed."""
    from ledger import Ledger

    with Ledger(path, create=False) as ledger:
        ledger.seal()
        states = {segment["state"] for segment in ledger.segments[:-1]}
        assert states == {"sealed"}, f"after a seal there are {states}"
        assert len(ledger) == count, f"{len(ledger)} events of {count}"


def _verify(path: Path, count: int) -> None:
    """Every byte, two threads."""
    from ledger import Ledger

    with Ledger(path, create=False, readonly=True) as ledger:
        report = ledger.verify(require="L1", threads=2)
        assert report.ok, report.problems
        assert report.size >= count, f"verified {report.size} of {count}"


STEPS: dict[str, Callable[[Path, int], None]] = {"import": _import, "seal": _seal, "verify": _verify}
_ALL = {"bare": _bare, "lines": _lines, **STEPS}


def _peak_kib() -> int:
    """The highest resident size of this process so far (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise RuntimeError("this kernel does not tell VmHWM")


def _command(step: str, path: Path, count: int) -> list[str]:
    return [sys.executable, "-m", "benches.memory", "--step", step, str(path), str(count)]


def _run(step: str, path: Path, count: int) -> int:
    """Run one step in its own process; its peak in KiB, which it prints last on standard error."""
    feeder = None
    if step == "import":
        feeder = subprocess.Popen(_command("lines", path, count), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    source = subprocess.DEVNULL if feeder is None else feeder.stdout
    done = subprocess.run(_command(step, path, count), stdin=source, stderr=subprocess.PIPE, text=True, check=False)
    if feeder is not None and feeder.stdout is not None:
        feeder.stdout.close()
        feeder.wait()
    if done.returncode:
        raise RuntimeError(f"{step} failed: {done.stderr}")
    return int(done.stderr.split()[-1])


def measure(folder: Path, count: int) -> dict[str, float]:
    """Step → peak in MiB above a bare interpreter, for a ledger of `count` small events made in `folder`."""
    bare = _run("bare", folder, 0)
    return {step: (_run(step, folder / "ledger", count) - bare) / 1024 for step in STEPS}


def main(arguments: list[str]) -> int:
    """Print the table; 1 when a step is above the bound."""
    if arguments[:1] == ["--step"]:
        _ALL[arguments[1]](Path(arguments[2]), int(arguments[3]))
        print(_peak_kib(), file=sys.stderr)
        return 0
    count = int(arguments[0]) if arguments else 1_000_000
    with tempfile.TemporaryDirectory(prefix=".memory-", dir=Path.cwd()) as folder:
        peaks = measure(Path(folder), count)
    for step, peak in peaks.items():
        print(f"{step:8} {peak:8.1f} MiB above a bare interpreter, {count:,} events (bound {BOUND_MIB})")
    return int(any(peak > BOUND_MIB for peak in peaks.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
