# SPDX-License-Identifier: Apache-2.0
"""Dependencies point one way: a file imports from lower layers and its own folder, never up or aside."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A longest-prefix table: module → layer. A new file must be placed here before it can land.
LAYERS = {
    "ledger.verify": 1,
    "ledger.errors": 1,
    "ledger.types": 1,
    "ledger.reader_parts": 2,
    "ledger.reader": 2,
    "ledger._native": 2,
    "ledger._core": 2,
    "ledger.merkle": 3,
    "ledger.note": 3,
    "ledger.encoding": 4,
    "ledger.index": 4,
    "ledger.storage": 5,
    "ledger.proofs": 6,
    "ledger.archive": 6,
    "ledger.query": 6,
    "ledger.reading": 7,
    "ledger.signing": 7,
    "ledger.upkeep": 7,
    "ledger.engine": 7,
    "ledger.stream": 7,
    "ledger.aio": 7,
    "ledger.importing": 8,
    "ledger.shipping": 8,
    "ledger.succession": 8,
    "ledger.repairing": 8,
    "ledger.demo_events": 8,
    "ledger.demo": 8,
    "ledger.cli": 9,
    "ledger": 9,
}


def layer(module: str) -> int:
    """The layer of the longest listed prefix; the bare package is the public face, nothing below imports it."""
    parts = module.split(".")
    for end in range(len(parts), 1, -1):
        if (prefix := ".".join(parts[:end])) in LAYERS:
            return LAYERS[prefix]
    if module == "ledger":
        return LAYERS["ledger"]
    raise AssertionError(f"{module} has no layer: place it in this table")


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted((ROOT / "ledger").rglob("*.py")):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        found.append((".".join(parts), path))
    return found


def imports(path: Path) -> set[str]:
    """Every module of ours that a file imports, at any depth of the code; submodules named by `from` included."""
    names = set()
    known = {name for name, _ in modules()} | {"ledger._core"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in known else node.module)
    return {name for name in names if name.split(".")[0] == "ledger"}


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(value) if isinstance(value, str) else "")
def test_a_module_imports_only_from_below(module: str, path: Path) -> None:
    """Lower layers, its own layer's folder, nothing else."""
    own = layer(module)
    for name in imports(path):
        assert layer(name) <= own, f"{module} (layer {own}) imports {name} (layer {layer(name)})"


def test_the_core_has_one_importer() -> None:
    """Only _native touches the extension."""
    users = [module for module, path in modules() if "ledger._core" in imports(path)]
    assert users == ["ledger._native"]


def test_the_offline_verifier_stands_alone() -> None:
    """verify.py imports nothing of ours, so that it can be copied out."""
    assert imports(ROOT / "ledger" / "verify.py") == set()
