"""Signing keys on this host: one Ed25519 key an origin, and what it signed last, kept outside the ledger.

The folder is `$SEALEDGER_KEY_DIR`, else `sealedger/keys` in the user's config directory; 0700, files 0600. A key
inside the ledger's own directory is refused: whoever can rewrite the ledger must not find its key there."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ledger.errors import MismatchError, UsageError
from ledger.note import NoteSigner

__all__ = ["create", "folder", "load", "read_state", "write_state"]


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
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


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
    """What this host's key of `origin` signed last: size and root (hex), or None."""
    path = folder(ledger_path) / f"{_stem(origin)}.state"
    try:
        state: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return state


def write_state(origin: str, ledger_path: Path, size: int, root: bytes) -> None:
    """Record what is about to be signed, durable when it returns.

    `MismatchError` when the key has signed a larger tree, or another root at this size."""
    old = read_state(origin, ledger_path)
    if old is not None and (old["size"] > size or (old["size"] == size and old["root"] != root.hex())):
        raise MismatchError(
            f"this host signed {origin} at size {old['size']}; to sign size {size} now would be a second history. "
            "Nothing was signed. Was the ledger restored from an older backup?",
            bytes.fromhex(old["root"]),
            root,
        )
    home = folder(ledger_path)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = home / f"{_stem(origin)}.state"
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    state = {"origin": origin, "size": size, "root": root.hex(), "ledger": str(ledger_path.absolute())}
    _write(temporary, json.dumps(state) + "\n", os.O_TRUNC)
    os.replace(temporary, target)
