# SPDX-License-Identifier: Apache-2.0
"""What is shipped works: sdist → wheel → a place outside the source tree → a ledger."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys
from pathlib import Path
import ledger
assert Path(ledger.__file__).is_relative_to(sys.argv[1]), ledger.__file__
with ledger.Ledger(sys.argv[2]) as log:
    index = log.append({"event_type": "user.login"}).index
    log.seal()
    report = log.verify(require="L1")
    assert report.ok, report
    assert log[index] == {"event_type": "user.login"}
print("works")
"""


def run(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LEDGER_FAULTS")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_from_the_sdist_works_outside_the_tree(tmp_path: Path) -> None:
    """The sdist holds what a build needs; the wheel is abi3, carries types, and makes a verified ledger."""
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    (sdist,) = tmp_path.glob("sealedger-*.tar.gz")
    run("tar", "xzf", sdist, cwd=tmp_path)
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, cwd=unpacked)
    (wheel,) = tmp_path.glob("sealedger-*.whl")
    assert "-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert "ledger/py.typed" in names
        assert not [n for n in names if n.startswith(("csrc/", "tests/", "benches/"))]
        archive.extractall(tmp_path / "site")
    program = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n{PROGRAM}"
    said = run(sys.executable, "-c", program, tmp_path / "site", tmp_path / "a", cwd=tmp_path)
    assert said == "works\n"
