# SPDX-License-Identifier: Apache-2.0
"""Real audit events through the whole path: import, cat, seal, verify, prove; outside verifiers agree."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import metamorphic_log
import pytest
from tlog_scales import tlog

from ledger import Ledger, VerificationError
from ledger import verify as offline
from ledger.importing import import_lines
from ledger.proofs import keys
from ledger.proofs.verification import verify

Load = Callable[[str], Iterator[dict[str, Any]]]

EVENTS = {
    "windows-security-104k": 104_014,
    "cloudtrail-3k": 3_313,
    "linux-auditd": 206,
    "kubernetes-audit": 59,
}


@pytest.fixture(scope="module", params=EVENTS)
def imported(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A ledger with one of the files imported and sealed."""
    path = tmp_path_factory.mktemp("real") / "a"
    source = shared / "data" / f"{request.param}.ndjson.zst"
    assert import_lines(path, source)["imported"] == EVENTS[request.param]
    with Ledger(path) as log:
        log.seal()
    return request.param, path


def test_every_event_comes_back_equal(imported: tuple[str, Path], real_events: Load) -> None:
    """Values and types are those of the file: int64 beyond 2^53 exact, control characters, numbers as they were."""
    name, path = imported
    with Ledger(path, readonly=True) as log:
        count = 0
        for stored, given in itertools.zip_longest(log, real_events(name)):
            assert stored == given
            assert list(stored) == list(given)
            count += 1
        assert count == EVENTS[name]


def test_an_import_goes_on_where_it_stopped(imported: tuple[str, Path], shared: Path) -> None:
    """The same file again imports nothing."""
    name, path = imported
    again = import_lines(path, shared / "data" / f"{name}.ndjson.zst")
    assert again["imported"] == 0
    assert again["skipped_lines"] == EVENTS[name]


def _accepts(check: Callable[[], object]) -> bool:
    try:
        check()
    except (VerificationError, metamorphic_log.VerifyError, tlog.InclusionProofInvalid):
        return False
    return True


def test_a_thousand_random_proofs(imported: tuple[str, Path]) -> None:
    """Each random proof is accepted by verify.py and by two packages that we did not write; with one bit of leaf
    or path flipped it is refused by all three."""
    name, path = imported
    rng = random.Random(name)
    with Ledger(path) as log:
        signer = keys.create(log.origin, path)
        note = log.checkpoint()
        assert verify(path, keys=[signer.vkey]).ok
        checkpoint = offline.parse_checkpoint(offline.parse_note(note)[0])
        proofs = min(1000, 4 * log.size) // (1 if EVENTS[name] > 1000 else 4)
        for _ in range(proofs):
            index = rng.randrange(log.size)
            proof, payload = log.prove(index, at=note), log.payload(index)
            assert offline.verify_event_proof(proof, payload, [signer.vkey], fingerprint=log.fingerprint).index == index
            _, hashes, _, extra = offline.parse_proof(proof)
            leaf = offline.leaf_hash(extra[:104])
            assert _three(index, checkpoint, leaf, hashes) == (True, True, True)
            bent = bytearray(b"".join([leaf, *hashes]))
            bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
            parts = [bytes(bent[at : at + 32]) for at in range(0, len(bent), 32)]
            assert _three(index, checkpoint, parts[0], parts[1:]) == (False, False, False)


def _three(index: int, checkpoint: offline.Checkpoint, leaf: bytes, hashes: list[bytes]) -> tuple[bool, bool, bool]:
    size, root = checkpoint.size, checkpoint.root
    return (
        _accepts(lambda: offline.verify_inclusion(index, size, leaf, hashes, root)),
        _accepts(lambda: metamorphic_log.verify_inclusion(index, size, leaf, hashes, root)),
        _accepts(lambda: tlog.InclusionProof(index, size, hashes).check(leaf, root)),
    )
