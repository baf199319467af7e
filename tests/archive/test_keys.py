# SPDX-License-Identifier: Apache-2.0
"""Names of an archive's objects: each is what numbers and hashes give, and nothing else reads as one."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.archive import keys
from ledger.errors import UsageError

ids = st.binary(min_size=16, max_size=16)
numbers = st.integers(0, (1 << 64) - 1)
digests = st.binary(min_size=32, max_size=32)


@st.composite
def any_key(draw: st.DrawFn) -> keys.Key:
    ledger_id, number, digest = draw(ids), draw(numbers), draw(digests)
    made = draw(
        st.sampled_from(
            [
                keys.genesis(ledger_id),
                keys.index_key(ledger_id),
                keys.segment(ledger_id, number),
                keys.index(ledger_id, number),
                keys.checkpoint(ledger_id, number, digest),
                keys.manifest(ledger_id, number),
            ]
        )
    )
    rounds = draw(st.integers(0, 7))
    return made.squatted(draw(digests), rounds) if rounds else made


@given(any_key())
def test_a_name_reads_back(key: keys.Key) -> None:
    """Every name parses to what made it, and lies in the ledger's folder."""
    assert keys.parse(str(key)) == key
    assert str(key).startswith(keys.folder(key.ledger_id))
    if key.kind not in ("genesis", "index-key"):
        assert str(key).startswith(keys.folder(key.ledger_id, key.kind))


@given(any_key(), st.data())
def test_a_changed_name_is_foreign_or_another(key: keys.Key, data: st.DataObject) -> None:
    """What parses gives exactly the text that was parsed: no two spellings of one key."""
    name = str(key)
    at = data.draw(st.integers(0, len(name) - 1))
    changed = name[:at] + data.draw(st.sampled_from(list("0aF./-xg\n "))) + name[at + 1 :]
    found = keys.parse(changed)
    assert found is None or str(found) == changed
    assert keys.parse(name + "\n") is None
    assert keys.parse(name[:-1]) is None or str(keys.parse(name[:-1])) == name[:-1]


def test_names_are_as_documented() -> None:
    """Against names written by hand."""
    ledger_id, digest = bytes(range(16)), hashlib.sha256(b"x").digest()
    folder = "000102030405060708090a0b0c0d0e0f/"
    assert str(keys.segment(ledger_id, 7)) == folder + "seg/00000000000000000007.seg"
    assert str(keys.index(ledger_id, 7)) == folder + "idx/00000000000000000007.idx"
    assert str(keys.manifest(ledger_id, 0)) == folder + "man/00000000000000000000"
    assert str(keys.checkpoint(ledger_id, 9, digest)) == folder + "ckpt/00000000000000000009.2d711642"
    assert str(keys.segment(ledger_id, 7).squatted(digest, 1)) == folder + "seg/00000000000000000007.2d711642.seg"
    assert str(keys.checkpoint(ledger_id, 9, digest).squatted(digest, 1)).endswith(".2d711642b726b044")


def test_names_run_out_at_the_whole_hash() -> None:
    """Sixty-four hex digits are the last name; then the caller is told."""
    key = keys.segment(bytes(16), 1)
    assert len(key.squatted(bytes(32), 8).digest) == 64
    with pytest.raises(UsageError, match="taken"):
        key.squatted(bytes(32), 9)
    with pytest.raises(UsageError, match="taken"):
        keys.checkpoint(bytes(16), 1, bytes(32)).squatted(bytes(32), 8)
