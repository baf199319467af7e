"""Ours against the floor and the peers, in one run: `python -m benches.peers [--quick] [--small] [--json FILE]`.

A disk's flush time drifts from minute to minute, so all stores take turns within each round, and only the ratios
of one run mean anything: to the best peer, and to the floor. Figures are medians of the rounds."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benches.measures import Plan, Results, measure
from benches.peer_stores import PEERS
from ledger._native import ffi, lib

__all__ = ["facts", "main", "summary"]

QUICK = Plan(rounds=3, singles=150, batches=12, loaded=60_000, gets=1500)
FULL = Plan()
_LESS_IS_BETTER = ("us", "ms", "bytes per event")
_PACKAGES = ("ormsgpack", "apsw", "lmdb", "rocksdict")


def less_is_better(metric: str) -> bool:
    """Whether the smaller figure wins."""
    return metric.endswith(_LESS_IS_BETTER)


def _file_system(path: Path) -> str:
    """The type of the file system that holds `path`."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split()
        if str(path).startswith(mount) and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def facts(folder: Path, plan: Plan) -> dict[str, Any]:
    """Without these a figure is not to be quoted."""
    models = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "file_system": _file_system(folder),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "hash_kernel": ffi.string(lib.ledger_kernel_name()).decode(),
        "packages": {name: version(name) for name in _PACKAGES},
        "plan": asdict(plan),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def summary(results: Results) -> list[dict[str, Any]]:
    """A row a metric: all figures, the best peer, and ours as a multiple of it and of the floor (above 1: better)."""
    rows = []
    for metric, stores in results.figures.items():
        middle = {name: results.middle(metric, name) for name in stores}
        ours = middle["ours"]
        peers = {kind.name: middle[kind.name] for kind in PEERS if kind.name in middle}
        if metric.startswith("verify") and not metric.endswith("1 thread"):
            peers = {k.name: results.middle("verify, 1 thread", k.name) for k in PEERS}
        pick = min if less_is_better(metric) else max
        best = pick(peers, key=lambda name: peers[name] or 0) if peers else None
        rows.append(
            {
                "metric": metric,
                "figures": middle,
                "best_peer": best,
                "to_best_peer": _better(metric, ours, peers.get(best) if best else None),
                "to_floor": _better(metric, ours, middle.get("floor")),
            }
        )
    return rows


def _better(metric: str, ours: float | None, other: float | None) -> float | None:
    if not ours or not other:
        return None
    return other / ours if less_is_better(metric) else ours / other


def _text(figure: float | None) -> str:
    if figure is None:
        return "-"
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}"


def render(rows: list[dict[str, Any]]) -> Table:
    """Ours, the ratios, then the floor and each peer."""
    names = ["floor", *(kind.name for kind in PEERS)]
    table = Table(title="per second, unless the row names a unit; ratios above 1: ours is better")
    table.add_column("metric", no_wrap=True)
    for name in ["ours", "x best peer", "x floor", *names]:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        ratio = "-" if row["to_best_peer"] is None else f"{row['to_best_peer']:.2f} {row['best_peer']}"
        floor = "-" if row["to_floor"] is None else f"{row['to_floor']:.2f}"
        figures = [_text(row["figures"].get(name)) for name in names]
        table.add_row(row["metric"], _text(row["figures"]["ours"]), ratio, floor, *figures)
    return table


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write the JSON that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benches.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, 60,000 events")
    parser.add_argument("--small", action="store_true", help="small events (116 B) in place of big ones (377 B)")
    parser.add_argument("--json", type=Path, help="write every figure of every round there")
    parser.add_argument("--dir", type=Path, help="measure on this file system (default: the current folder)")
    options = parser.parse_args(arguments)
    plan = QUICK if options.quick else FULL
    if options.small:
        plan = Plan(**{**asdict(plan), "kind": "small"})
    folder = Path(tempfile.mkdtemp(prefix=".bench-", dir=options.dir or Path.cwd()))
    try:
        known = facts(folder, plan)
        results = measure(folder, plan)
    finally:
        shutil.rmtree(folder)
    rows = summary(results)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(render(rows))
    console.print_json(json.dumps(known), indent=None)
    if options.json:
        options.json.write_text(json.dumps({"facts": known, "rows": rows, "rounds": results.figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
