# SPDX-License-Identifier: Apache-2.0
"""The command `sealedger`, as a user meets it: what it prints and the code it ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledger import Ledger
from ledger.cli import main


def run(*args: object, code: int = 0, stdin: str | None = None) -> Result:
    """One call, which must end with `code`."""
    result = CliRunner().invoke(main, [str(arg) for arg in args], input=stdin)
    assert result.exit_code == code, f"{args}: {result.output}{result.stderr}{result.exception!r}"
    return result


def json_of(*args: object, code: int = 0) -> Any:
    """What the call prints with --json."""
    return json.loads(run(*args, "--json", code=code).stdout)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A ledger of three events, with its key, and what `init` printed."""
    path = tmp_path / "a"
    kept = json_of("init", path, "--name", "shop")
    for n in range(3):
        run("append", path, json.dumps({"n": n, "who": "é"}))
    return path, kept


def trusted(kept: dict[str, Any]) -> list[str]:
    """The options by which verify trusts what was kept."""
    return ["--key", kept["key"], "--fingerprint", kept["fingerprint"]]


def test_init_prints_what_to_keep(tmp_path: Path) -> None:
    """Origin, fingerprint and key; the key folder is outside of the ledger."""
    kept = json_of("init", tmp_path / "a", "--name", "shop")
    assert kept["origin"].startswith("shop/")
    assert kept["key"].startswith(kept["origin"])
    with Ledger(tmp_path / "a", readonly=True) as log:
        assert log.fingerprint.hex() == kept["fingerprint"]


def test_append_get_and_cat_give_the_event_back(made: tuple[Path, dict[str, Any]]) -> None:
    """As JSON lines; cat prints the ledger's notes only when asked."""
    path, _ = made
    receipt = json_of("append", path, '{"n": 3}')
    assert receipt["index"] == 4
    assert len(bytes.fromhex(receipt["entry"])) == 104
    assert json.loads(run("get", path, 4).stdout) == {"n": 3}
    assert json.loads(run("get", path, -1).stdout) == {"n": 3}
    assert json_of("get", path, -1) == {"n": 3}
    assert [json.loads(line)["n"] for line in run("cat", path).stdout.splitlines()] == [0, 1, 2, 3]
    assert [json.loads(line)["n"] for line in run("cat", path, "--begin", 3).stdout.splitlines()] == [2, 3]
    run("seal", path)
    assert '"note":"sealed"' in run("cat", path, "--notes").stdout.replace(" ", "")
    assert '"note"' not in run("cat", path).stdout


def test_a_wrong_call_is_code_2_and_a_missing_ledger_code_3(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Nothing is made or stored, and stderr says why in one line."""
    path, _ = made
    assert len(run("get", path, 99, code=2).stderr.splitlines()) == 1
    run("append", path, '{"n": NaN}', code=2)
    run("append", path, "[1]", code=2)
    run("append", tmp_path / "none", "{}", code=3)
    assert not (tmp_path / "none").exists()
    error = json_of("get", path, 99, code=2)
    assert error["error"] == "UsageError"
    assert "99" in error["message"] or "entries" in error["message"]
    assert json_of("stats", path)["events"] == 3


def test_an_import_names_a_bad_line_and_keeps_what_came_before(tmp_path: Path) -> None:
    """The line is named, the events before it are stored, and a second run of the file repeats none of them."""
    path, source = tmp_path / "a", tmp_path / "events.ndjson"
    lines = [json.dumps({"n": n}) for n in range(25)]
    run("init", path)
    source.write_text("\n".join([*lines[:17], lines[17][:-1] + "]", *lines[18:]]) + "\n")
    error = run("import", path, source, "--batch", 10, code=2).stderr
    assert "line 18" in error
    assert "17 events" in error
    assert "line 18" in run("import", path, source, "--batch", 10, code=2).stderr
    assert [json.loads(line)["n"] for line in run("cat", path).stdout.splitlines()] == list(range(17))
    assert run("import", path, "-", stdin="\n".join(lines[17:])).exit_code == 0
    assert [json.loads(line)["n"] for line in run("cat", path).stdout.splitlines()] == list(range(25))


def test_an_import_of_the_same_file_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A good file imported again imports nothing, and its events are there once, in order."""
    path, source = tmp_path / "a", tmp_path / "events.ndjson"
    source.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(25)))
    assert json_of("import", path, source, "--batch", 10)["imported"] == 25
    again = json_of("import", path, source, "--batch", 10)
    assert (again["imported"], again["skipped_lines"]) == (0, 25)
    assert [json.loads(line)["n"] for line in run("cat", path).stdout.splitlines()] == list(range(25))


def test_verify_tells_proven_unproven_and_tampered_apart(made: tuple[Path, dict[str, Any]]) -> None:
    """Code 0 with a checkpoint and the key, 4 without a checkpoint, 1 after one flipped byte."""
    path, kept = made
    run("verify", path, *trusted(kept), code=4)
    run("seal", path)
    assert run("checkpoint", path).stdout.startswith(kept["origin"] + "\n")
    assert "ok" in run("verify", path, *trusted(kept)).stdout
    assert json_of("verify", path, *trusted(kept))["ok"] is True
    for text in ("zz", "abcd", "00" * 33):
        assert "64 hex digits" in run("verify", path, "--fingerprint", text, code=2).stderr
    sealed = next((path / "sealed").glob("*.seg"))
    data = bytearray(sealed.read_bytes())
    data[len(data) // 2] ^= 1
    sealed.chmod(0o600)
    sealed.write_bytes(bytes(data))
    report = json_of("verify", path, *trusted(kept), code=1)
    assert report["ok"] is False
    assert report["problems"]
    assert "PROBLEM" in run("verify", path, *trusted(kept), code=1).stdout


def test_verify_with_another_fingerprint_is_not_ok(made: tuple[Path, dict[str, Any]]) -> None:
    """A ledger put in the place of the one that was kept is code 1."""
    path, kept = made
    run("checkpoint", path)
    run("verify", path, "--key", kept["key"], "--fingerprint", "00" * 32, code=1)


def test_a_backup_verifies_as_the_original(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Sealed and active entries, and the checkpoint, are in the copy; a second copy over it is refused."""
    path, kept = made
    run("seal", path)
    run("append", path, '{"n": 9}')
    run("checkpoint", path)
    with Ledger(path, readonly=True) as log:
        size = log.size
    assert json_of("backup", path, tmp_path / "copy")["entries"] == size
    report = json_of("verify", tmp_path / "copy", *trusted(kept))
    assert (report["ok"], report["size"]) == (True, size)
    assert run("cat", tmp_path / "copy").stdout == run("cat", path).stdout
    run("backup", path, tmp_path / "copy", code=2)
    run("append", tmp_path / "copy", "{}", code=3)


def test_prove_writes_proof_and_payload(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """To a folder, or the proof to standard output: the same proof."""
    path, _ = made
    assert set(json_of("prove", path, 2, "--out", tmp_path / "p")) == {"proof", "payload"}
    proof = (tmp_path / "p" / "event.tlog-proof").read_text()
    assert run("prove", path, 2).stdout.rstrip("\n") == proof.rstrip("\n")
    with Ledger(path, readonly=True) as log:
        assert (tmp_path / "p" / "payload").read_bytes() == log.payload(2)


def test_stats_doctor_and_the_rest_print_json(made: tuple[Path, dict[str, Any]]) -> None:
    """Every command's --json parses, and a sound ledger has nothing degraded."""
    path, kept = made
    stats = json_of("stats", path)
    assert (stats["events"], stats["size"], stats["degraded"]) == (3, 4, [])
    assert stats["fingerprint"] == kept["fingerprint"]
    assert isinstance(json_of("doctor", path), dict)
    assert run("doctor", path).stdout
    assert json_of("seal", path)["sealed"] == 1
    assert json_of("checkpoint", path).startswith(kept["origin"])
    assert json_of("get", path, 1) is not None


def test_prove_takes_an_index_from_the_end(made: tuple[Path, dict[str, Any]]) -> None:
    """-1 is the last entry, not an option; a misspelt option is still refused."""
    path, _ = made
    run("checkpoint", path)
    assert run("prove", path, -1).stdout == run("prove", path, 3).stdout
    assert "--ot" in run("prove", path, 3, "--ot", "x", code=2).stderr


def test_demo_prints_its_figures_as_json() -> None:
    """One object on standard output; what is for people goes to standard error."""
    figures = json_of("demo", "--count", 200)
    assert figures["events"] == 200
    assert figures["append_per_s"] > 0
