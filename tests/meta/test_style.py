# SPDX-License-Identifier: Apache-2.0
"""Style that can be checked is a test: sizes of files and functions, first lines, words that hide work."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
C_FILES = sorted((ROOT / "csrc").glob("*.[ch]"))
PYTHON_FILES = sorted((ROOT / "ledger").rglob("*.py"))
LINES_MAX = 400
C_FUNCTION_LINES_MAX = 70


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", C_FILES + PYTHON_FILES, ids=name)
def test_a_file_is_one_thing(path: Path) -> None:
    """No file grows past the bound."""
    assert len(path.read_text().splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", C_FILES, ids=name)
def test_a_c_file_opens_as_it_should(path: Path) -> None:
    """Licence, then what the file is."""
    first, second = path.read_text().splitlines()[:2]
    assert first == "/* SPDX-License-Identifier: Apache-2.0 */"
    assert second.startswith(f"/* {path.name}: ")


@pytest.mark.parametrize("path", [p for p in C_FILES if p.suffix == ".c"], ids=name)
def test_a_c_function_fits_a_page(path: Path) -> None:
    """A function body is at most 70 lines, brace to brace."""
    start = None
    for number, line in enumerate(path.read_text().splitlines()):
        if re.fullmatch(r"\S.*\) \{", line):
            start = number
        elif line == "}" and start is not None:
            assert number - start <= C_FUNCTION_LINES_MAX, f"{path.name}:{start + 1}"
            start = None


@pytest.mark.parametrize("path", PYTHON_FILES, ids=name)
def test_a_module_says_what_it_is_and_what_it_offers(path: Path) -> None:
    """A docstring; and `__all__`, except where a module offers nothing but its name."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    named = any(isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "__all__" for n in tree.body)
    assert named or not public


@pytest.mark.parametrize("path", C_FILES + PYTHON_FILES, ids=name)
def test_no_work_is_hidden(path: Path) -> None:
    """No note of work undone, no error swallowed."""
    assert not re.search(r"\b(TODO|FIXME|XXX)\b|except[^\n]*:\s*pass\b", path.read_text())


@pytest.mark.parametrize("path", C_FILES + PYTHON_FILES, ids=name)
def test_a_test_that_a_comment_names_is_there(path: Path) -> None:
    """A pointer to what attacks this file leads somewhere: the whole path, or the name beside another one."""
    text = path.read_text()
    named = set(re.findall(r"\btests/[\w/]*(?:\.py)?", text))
    assert not {place for place in named if not (ROOT / place).exists()}
    files = {file.name for file in (ROOT / "tests").rglob("test_*.py")}
    assert not set(re.findall(r"\btest_\w+\.py\b", text)) - files


@pytest.mark.parametrize("path", [p for p in C_FILES if p.suffix == ".c"], ids=name)
def test_c_has_no_warning(path: Path) -> None:
    """Our own C files, strictly; the file that cffi writes is not ours."""
    flags = "-std=c11 -D_GNU_SOURCE -DLEDGER_FAULTS -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Werror"
    command = ["cc", *flags.split(), "-fsyntax-only", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_import_is_light() -> None:
    """`import ledger` loads no event loop, no signing, no command line: who uses them loads them."""
    code = "import sys, ledger; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"asyncio", "cryptography", "click", "rich", "numpy", "pydantic", "boto3"}


def test_every_package_is_in_the_distribution() -> None:
    """`packages` in pyproject.toml names every folder of ledger/."""
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {".".join(p.parent.relative_to(ROOT).parts) for p in PYTHON_FILES}
    assert set(declared) == folders


def test_every_command_is_in_the_readme() -> None:
    """A command that a reader of the README cannot find is not there."""
    from ledger.cli import main

    readme = (ROOT / "README.md").read_text()
    missing = [
        command for command in main.commands if f"`{command}" not in readme and f"sealedger {command}" not in readme
    ]
    assert not missing


def test_every_invariant_is_in_the_guarantees() -> None:
    """A tag such as [REC-1] in the code stands in docs/guarantees.md."""
    text = (ROOT / "docs" / "guarantees.md").read_text()
    tags = set()
    for path in C_FILES + PYTHON_FILES:
        for base, first, last in re.findall(r"\[([A-Z]+)-(\d+)(?:\.\.(\d+))?\]", path.read_text()):
            tags |= {f"{base}-{n}" for n in range(int(first), int(last or first) + 1)}
    assert tags
    assert not {tag for tag in tags if tag not in text}
