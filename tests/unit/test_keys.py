# SPDX-License-Identifier: Apache-2.0
"""Signing keys and the memory of what they signed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger import EnvironmentFailure, Ledger, MismatchError, UsageError
from ledger.proofs import keys

ORIGIN = "shop/0011223344556677"


def roots(salt: int) -> Callable[[int], bytes]:
    """A made-up history: a root for each size."""
    return lambda size: bytes([salt]) + size.to_bytes(31, "big")


def test_a_created_key_is_loaded_again(tmp_path: Path) -> None:
    """What `create` wrote, `load` reads; another origin has none."""
    made = keys.create(ORIGIN, tmp_path / "a")
    loaded = keys.load(ORIGIN, tmp_path / "a")
    assert loaded is not None
    assert loaded.vkey == made.vkey
    assert keys.load("other/1", tmp_path / "a") is None


def test_only_the_owner_may_read_a_key(tmp_path: Path, key_folder: Path) -> None:
    """The file is made 0600; one that others can read is refused, as it may be known."""
    keys.create(ORIGIN, tmp_path / "a")
    (file,) = key_folder.glob("*.key")
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    with pytest.raises(UsageError, match="can be read by others"):
        keys.load(ORIGIN, tmp_path / "a")


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o777])
def test_only_the_owner_may_enter_the_key_folder(tmp_path: Path, key_folder: Path, mode: int) -> None:
    """A folder that others may enter or list is refused, for loading, making and signing."""
    keys.create(ORIGIN, tmp_path / "a")
    key_folder.chmod(mode)
    for use in (keys.load, keys.create, keys.read_state):
        with pytest.raises(UsageError, match="chmod 700"):
            use(ORIGIN, tmp_path / "a")
    key_folder.chmod(0o700)
    assert keys.load(ORIGIN, tmp_path / "a") is not None


def test_a_key_is_never_replaced(tmp_path: Path, key_folder: Path) -> None:
    """A second `create` is refused and leaves the first key as it was."""
    keys.create(ORIGIN, tmp_path / "a")
    (file,) = key_folder.glob("*.key")
    before = file.read_bytes()
    with pytest.raises(UsageError, match="already"):
        keys.create(ORIGIN, tmp_path / "a")
    assert file.read_bytes() == before


@pytest.mark.parametrize("inside", [".", "keys", "x/../keys"])
def test_a_key_folder_inside_the_ledger_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    """Whoever can rewrite the ledger must not find its key there, by a detour or a link either."""
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for base in ("a", "link"):
        monkeypatch.setenv("SEALEDGER_KEY_DIR", str(tmp_path / base / inside))
        with pytest.raises(UsageError, match="inside the ledger"):
            keys.create(ORIGIN, tmp_path / "a")
    assert not list((tmp_path / "a").iterdir())


def test_growth_of_one_history_is_recorded(tmp_path: Path) -> None:
    """Larger sizes, and the same size again, are recorded as long as the history is one."""
    for size in (1, 5, 5, 900):
        keys.write_state(ORIGIN, tmp_path / "a", size, roots(1))
        state = keys.read_state(ORIGIN, tmp_path / "a")
        assert state is not None
        assert (state["size"], state["root"]) == (size, roots(1)(size).hex())


@pytest.mark.parametrize(("size", "salt"), [(4, 1), (5, 2), (6, 2)])
def test_what_was_signed_must_be_a_prefix(tmp_path: Path, size: int, salt: int) -> None:
    """A smaller tree, another root at the size, and a larger tree with another past are each refused, and the
    state keeps what it said."""
    keys.write_state(ORIGIN, tmp_path / "a", 5, roots(1))
    before = keys.read_state(ORIGIN, tmp_path / "a")
    with pytest.raises(MismatchError):
        keys.write_state(ORIGIN, tmp_path / "a", size, roots(salt))
    assert keys.read_state(ORIGIN, tmp_path / "a") == before


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"size": "5", "root": "00", "ledger": "a"}', "\x00" * 64])
def test_a_damaged_state_is_not_an_empty_one(tmp_path: Path, key_folder: Path, text: str) -> None:
    """With a state file that says nothing readable, nothing is signed."""
    keys.write_state(ORIGIN, tmp_path / "a", 5, roots(1))
    (file,) = key_folder.glob("*.state")
    file.write_text(text)
    with pytest.raises(EnvironmentFailure, match="signed last"):
        keys.write_state(ORIGIN, tmp_path / "a", 6, roots(1))
    assert file.read_text() == text


def test_the_signer_remembers_where_the_ledger_was(tmp_path: Path) -> None:
    """A new ledger at the path of a signed one is refused, through a link too; elsewhere it is not."""
    (tmp_path / "link").symlink_to(tmp_path / "a")
    keys.write_state(ORIGIN, tmp_path / "a", 5, roots(1))
    for name in ("a", "link"):
        with pytest.raises(UsageError, match=ORIGIN):
            keys.refuse_second_history(tmp_path / name)
    keys.refuse_second_history(tmp_path / "b")


def test_a_signed_ledger_that_vanished_is_not_started_anew(tmp_path: Path) -> None:
    """After its removal, opening the path of a signed ledger is refused and makes nothing."""
    path = tmp_path / "a"
    with Ledger(path) as log:
        keys.create(log.origin, path)
        log.checkpoint()
    shutil.rmtree(path)
    with pytest.raises(UsageError, match="nothing was made"):
        Ledger(path)
    assert not path.exists()
