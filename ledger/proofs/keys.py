"""Signing keys on this host: one Ed25519 key a name, and what an origin signed last, kept outside the ledger.

The folder is `$SEALEDGER_KEY_DIR`, else `sealedger/keys` in the user's config directory; 0700, files 0600. A key
inside the ledger's own directory is refused: whoever can rewrite the ledger must not find its key there. The name of
a key is the origin, or `<origin>/statements`; its files, below H = the first 32 hex digits of SHA-256(name):

    H.key               the key
    H.next.key          its successor, while a rotation goes on (`ledger.proofs.rotation`)
    H.retired-<id>.key  an earlier one; may be destroyed
    H.state             origin, size and root of the newest checkpoint that this host signed, and the ledger's path
    H.noted             the index of the "key" note that named a statements key"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledger.errors import EnvironmentFailure, MismatchError, UsageError
from ledger.note import NoteSigner
from ledger.storage.files import publish_file, sync_folder, translated

__all__ = [
    "create",
    "folder",
    "for_new_ledger",
    "load",
    "promote",
    "read_noted",
    "read_state",
    "refuse_second_history",
    "successor",
    "write_noted",
    "write_state",
]


def folder(ledger_path: Path) -> Path:
    """The key folder. `UsageError` when it lies inside the ledger, or others than its owner may enter it."""
    base = os.environ.get("SEALEDGER_KEY_DIR")
    if base is None:
        config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        base = str(Path(config) / "sealedger" / "keys")
    found = Path(base).absolute().resolve()
    if found.is_relative_to(ledger_path.absolute().resolve()):
        raise UsageError(f"the key folder {found} lies inside the ledger {ledger_path}: choose another")
    try:
        mode = found.stat().st_mode & 0o777
    except FileNotFoundError:
        return found
    except OSError as error:
        raise EnvironmentFailure(f"the key folder {found}: {error.strerror}; nothing was signed") from error
    if mode & 0o077:
        raise UsageError(f"the key folder {found} has mode {mode:03o}, open to others: chmod 700 it")
    return found


def _file(name: str, ledger_path: Path, suffix: str) -> Path:
    """A file of the key `name`; see the list above."""
    return folder(ledger_path) / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.{suffix}"


def _replace(target: Path, text: str) -> None:
    """Give `target` new content, the old or the new whole after a crash; durable when it returns."""
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    with translated(f"writing {target}; what it said before still holds"):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_TRUNC | os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(temporary, flags, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        sync_folder(target.parent)


def create(name: str, ledger_path: Path, suffix: str = "key") -> NoteSigner:
    """Make the key `name`, durable when it returns. `UsageError` when there is one."""
    path, signer = _file(name, ledger_path, suffix), NoteSigner.generate(name)
    with translated(f"making a key in {path.parent}; nothing was changed"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = publish_file(path, f"{signer.skey()}\n".encode(), 0o600)
    if not made:
        raise UsageError(f"there is a key for {name} in {path.parent} already; nothing was changed")
    return signer


def load(name: str, ledger_path: Path, suffix: str = "key") -> NoteSigner | None:
    """The key `name`, or None. `UsageError` when others may read it."""
    path = _file(name, ledger_path, suffix)
    try:
        status, text = path.stat(), path.read_text().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EnvironmentFailure(f"{path} cannot be read: {error.strerror}; nothing was signed") from error
    if status.st_mode & 0o077:
        raise UsageError(f"{path} can be read by others: chmod 600 it, or replace the key if they did")
    signer = NoteSigner.from_skey(text)
    if signer.key.name != name:
        raise UsageError(f"{path} holds the key of {signer.key.name}, not of {name}")
    return signer


def successor(name: str, ledger_path: Path) -> NoteSigner:
    """The key that a rotation will put in the place of `name`: one that an unfinished rotation left, or a new one."""
    return load(name, ledger_path, "next.key") or create(name, ledger_path, "next.key")


def promote(name: str, ledger_path: Path) -> None:
    """Put the successor in the place of the key `name`, which stays under a name of its own. Durable when it
    returns; after a crash in between the old key is in its place still, and so is the successor in its."""
    old = load(name, ledger_path)
    path = _file(name, ledger_path, "key")
    with translated(f"replacing {path}; one of both keys is in its place, rotate again"):
        if old is not None:
            with contextlib.suppress(FileExistsError):
                os.link(path, _file(name, ledger_path, f"retired-{old.key.key_id.hex()}.key"))
        os.replace(_file(name, ledger_path, "next.key"), path)
        sync_folder(path.parent)


def read_noted(name: str, ledger_path: Path) -> int | None:
    """The index of the "key" note that named the key `name`, as `write_noted` left it; None when unknown."""
    try:
        return int(_file(name, ledger_path, "noted").read_text())
    except (FileNotFoundError, ValueError):
        return None


def write_noted(name: str, ledger_path: Path, index: int) -> None:
    """Remember where the key `name` was named. A hint: who reads it looks at the note."""
    _replace(_file(name, ledger_path, "noted"), f"{index}\n")


def read_state(origin: str, ledger_path: Path) -> dict[str, Any] | None:
    """What this host's key of `origin` signed last: size, root (hex) and the ledger's path, or None.

    `EnvironmentFailure` when the file is not what `write_state` writes: what was signed is then not known."""
    try:
        return _parse_state(_file(origin, ledger_path, "state"))
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
    state = {"origin": origin, "size": size, "root": root.hex(), "ledger": str(ledger_path.resolve())}
    _replace(_file(origin, ledger_path, "state"), json.dumps(state) + "\n")
