"""Signing keys on this host: one Ed25519 key an origin, and what it signed last, kept outside the ledger.

The folder is `$SEALEDGER_KEY_DIR`, else `sealedger/keys` in the user's config directory; 0700, files 0600. A key
inside the ledger's own directory is refused: whoever can rewrite the ledger must not find its key there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledger.errors import EnvironmentFailure, MismatchError, UsageError
from ledger.note import NoteSigner

__all__ = ["create", "folder", "for_new_ledger", "load", "read_state", "refuse_second_history", "write_state"]


def folder(ledger_path: Path) -> Path:
    """The key folder. `UsageError` when it lies inside the ledger."""
    base = os.environ.get("SEALEDGER_KEY_DIR")
    if base is None:
        config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        base = str(Path(config) / "sealedger" / "keys")
    found = Path(base).absolute().resolve()
    if found.is_relative_to(ledger_path.absolute().resolve()):
        raise UsageError(f"the key folder {found} lies inside the ledger {ledger_path}: choose another")
    return found


def _stem(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()[:32]


def _write(path: Path, text: str, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(origin: str, ledger_path: Path) -> NoteSigner:
    """Make a key for `origin`, durable when it returns. `UsageError` when there is one."""
    home = folder(ledger_path)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    signer = NoteSigner.generate(origin)
    try:
        _write(home / f"{_stem(origin)}.key", signer.skey() + "\n", os.O_EXCL)
    except FileExistsError:
        raise UsageError(f"there is a key for {origin} in {home} already; nothing was changed") from None
    return signer


def load(origin: str, ledger_path: Path) -> NoteSigner | None:
    """The key of `origin`, or None. `UsageError` when others may read it."""
    path = folder(ledger_path) / f"{_stem(origin)}.key"
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if status.st_mode & 0o077:
        raise UsageError(f"{path} can be read by others: chmod 600 it, or replace the key if they did")
    signer = NoteSigner.from_skey(path.read_text().strip())
    if signer.key.name != origin:
        raise UsageError(f"{path} holds the key of {signer.key.name}, not of {origin}")
    return signer


def read_state(origin: str, ledger_path: Path) -> dict[str, Any] | None:
    """What this host's key of `origin` signed last: size, root (hex) and the ledger's path, or None.

    `EnvironmentFailure` when the file is not what `write_state` writes: what was signed is then not known."""
    path = folder(ledger_path) / f"{_stem(origin)}.state"
    try:
        return _parse_state(path)
    except FileNotFoundError:
        return None


def _parse_state(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads(path.read_text())
        whole = bool(state["ledger"] and state["origin"]) and len(bytes.fromhex(state["root"])) == 32
        if whole and type(state["size"]) is int:
            return state
    except (ValueError, KeyError, TypeError):
        state = {}
    raise EnvironmentFailure(
        f"{path} does not say what was signed last: nothing is signed on its word. Compare the ledger with a "
        "checkpoint kept elsewhere, then remove the file"
    )


def refuse_second_history(ledger_path: Path) -> None:
    """To call before a ledger is created: `UsageError` when a key on this host has signed a ledger at this path,
    whose place a new history must not take unnoticed. Reads every state file."""
    here, home = str(ledger_path.resolve()), folder(ledger_path)
    for path in sorted(home.glob("*.state")):
        state = _parse_state(path)
        if state["ledger"] == here:
            raise UsageError(
                f"a key of this host has signed {state['origin']} at {here}, and no ledger is there now; nothing was "
                f"made. Restore it, choose another path, or move {path.name} out of {home}"
            )


def for_new_ledger(ledger_path: Path, signer: Any, *, new_key: bool) -> Callable[[str], tuple[str, ...]]:
    """What `create_ledger` asks for the keys that LEDGER names, after `refuse_second_history`: that of `signer`,
    or with `new_key` one that is then made for the origin."""
    refuse_second_history(ledger_path)

    def first_keys(origin: str) -> tuple[str, ...]:
        first = create(origin, ledger_path) if new_key else signer
        return () if first is None else (first.vkey,)

    return first_keys


def write_state(origin: str, ledger_path: Path, size: int, root_at: Callable[[int], bytes]) -> None:
    """Record that the root at `size` is about to be signed, durable when it returns. `root_at` gives the root of
    the tree's first n entries.

    `MismatchError`, nothing recorded, when what the key signed last is no prefix of this tree: it was larger, or
    had another root at its size. A history that was rewritten and then outgrew it has such a root."""
    root = root_at(size)
    old = read_state(origin, ledger_path)
    if old is not None:
        signed = bytes.fromhex(old["root"])
        found = root_at(old["size"]) if old["size"] <= size else root
        if found != signed:
            raise MismatchError(
                f"this host signed {origin} at size {old['size']}; to sign size {size} now would be a second "
                "history. Nothing was signed. Was the ledger restored from an older backup?",
                signed,
                found,
            )
    home = folder(ledger_path)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = home / f"{_stem(origin)}.state"
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    state = {"origin": origin, "size": size, "root": root.hex(), "ledger": str(ledger_path.resolve())}
    _write(temporary, json.dumps(state) + "\n", os.O_TRUNC)
    os.replace(temporary, target)
    _sync_folder(home)
