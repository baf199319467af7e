"""Proofs: of one entry, checked by the verifier that stands alone, and of an old size to a newer one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benches.workload import Event
from ledger import Ledger
from ledger.note import NoteSigner
from ledger.proofs import keys
from ledger.verify import verify_consistency, verify_event_proof

__all__: list[str] = []


def _signer(ledger: Ledger) -> NoteSigner:
    return keys.create(ledger.origin, ledger.path)


def test_prove_entry(benchmark: Any, path: Path, listed: list[Event]) -> None:
    """A `.tlog-proof` of an entry in a sealed segment, against a checkpoint that is there."""
    with Ledger(path) as ledger:
        signer = _signer(ledger)
        index = ledger.append_many(listed)[len(listed) // 2].index
        ledger.seal()
        note = ledger.checkpoint()
        proof = benchmark(ledger.prove, index, at=note)
        found = verify_event_proof(proof, ledger.payload(index), [signer.vkey])
        assert found.index == index


def test_prove_consistency(benchmark: Any, sealed: Ledger, listed: list[Event]) -> None:
    """The older half is a prefix of the whole."""
    old, new = len(listed) // 2 + 1, sealed.size
    hashes = benchmark(sealed.prove_consistency, old, new)
    verify_consistency(old, new, sealed.root_at(old), hashes, sealed.root_at(new))


def test_checkpoint(benchmark: Any, path: Path, listed: list[Event]) -> None:
    """Signed, stored and durable."""
    with Ledger(path) as ledger:
        _signer(ledger)
        ledger.append_many(listed[:1000])
        note = benchmark.pedantic(ledger.checkpoint, rounds=10)
        assert note.splitlines()[:2] == [ledger.origin, str(ledger.size)]
