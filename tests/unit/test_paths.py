"""Names from numbers and back: strict in both directions, foreign names reported and left alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.storage.paths import CheckpointName, Paths, QuarantineName

U64 = st.integers(0, (1 << 64) - 1)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    for folder in (paths.active_folder, paths.sealed_folder):
        folder.mkdir()
    paths.checkpoint_folder.mkdir()
    paths.quarantine_folder.mkdir()
    return paths


def test_every_kind_of_name_is_listed_as_what_it_is(paths: Paths) -> None:
    """What the naming functions make, the listing functions read back, in ascending order."""
    for segno in (11, 0, 2):
        paths.active(segno).touch()
        paths.sealed(segno).touch()
        paths.manifest(segno).touch()
    paths.stub(1).touch()
    paths.checkpoint(7, "0123abcd").touch()
    paths.quarantine(3, 8192, "0123abcd").touch()
    paths.quarantine(3, 8192, "0123abcd", noted=True).touch()
    for path in (paths.ledger, paths.lock, paths.head, paths.index_key):
        path.touch()
    listings = {
        "active": paths.list_active(),
        "sealed": paths.list_sealed(),
        "stubs": paths.list_stubs(),
        "manifests": paths.list_manifests(),
    }
    assert {name: listing.found for name, listing in listings.items()} == {
        "active": (0, 2, 11),
        "sealed": (0, 2, 11),
        "stubs": (1,),
        "manifests": (0, 2, 11),
    }
    assert [listing.foreign for listing in listings.values()] == [()] * 4
    assert paths.list_checkpoints().found == (CheckpointName(7, "0123abcd"),)
    assert paths.list_quarantine().found == (
        QuarantineName(3, 8192, "0123abcd", noted=False),
        QuarantineName(3, 8192, "0123abcd", noted=True),
    )


@pytest.mark.parametrize(
    "name",
    [
        "1.seg",
        "0000000000000000001.seg",
        "000000000000000000001.seg",
        "99999999999999999999.seg",
        "-0000000000000000001.seg",
        "+0000000000000000001.seg",
        "0000000000000000000_1.seg",
        "00000000000000000001.seg~",
        "00000000000000000001.SEG",
        "00000000000000000001.seg\n",
        " 0000000000000000001.seg",
        "٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠١.seg",
        "00000000000000000001",
    ],
)
def test_names_that_only_resemble_a_segment_are_foreign(paths: Paths, name: str) -> None:
    """A name that no number gives is foreign, however Python's `int` would read it."""
    (paths.sealed_folder / name).touch()
    listing = paths.list_sealed()
    assert listing.found == ()
    assert listing.foreign == (name,)


def test_temporary_names_are_apart_and_stand_beside_their_target(paths: Paths) -> None:
    """A temporary name is in its target's folder, names this process, and is never `found`."""
    target = paths.sealed(5)
    temporary = paths.temporary(target)
    temporary.touch()
    assert temporary.parent == target.parent
    assert f".{os.getpid()}." in temporary.name
    listing = paths.list_sealed()
    assert (listing.found, listing.foreign) == ((), ())
    assert listing.temporary == (temporary.name,)


def test_companions_are_not_foreign(paths: Paths) -> None:
    """Cosignatures, timestamps and indexes are known under a name that can be read."""
    name = paths.checkpoint(7, "0123abcd").name
    for suffix in (".cosig", ".tsr", ".txt"):
        (paths.checkpoint_folder / (name + suffix)).touch()
    (paths.checkpoint_folder / "7.cosig").touch()
    (paths.sealed_folder / f"{5:020}.idx").touch()
    assert paths.list_sealed().foreign == ()
    assert paths.list_checkpoints().foreign == (name + ".txt", "7.cosig")


@pytest.mark.parametrize(
    "name",
    [
        "03-8192-0123abcd.bin",
        "3-8192-0123abcd.tmp",
        "3-8192-0123ABCD.bin",
        "3-8192.bin",
        "3-99999999999999999999-0123abcd.bin",
        "3-8192-0123abcd-1.bin",
    ],
)
def test_names_that_only_resemble_a_quarantined_tail_are_foreign(paths: Paths, name: str) -> None:
    """Only what `quarantine` makes is read back."""
    (paths.quarantine_folder / name).touch()
    assert paths.list_quarantine().found == ()
    assert paths.list_quarantine().foreign == (name,)


def test_missing_folder_holds_nothing(tmp_path: Path) -> None:
    """A folder that was never made is an empty listing, no error."""
    listing = Paths(tmp_path / "none").list_active()
    assert (listing.found, listing.temporary, listing.foreign) == ((), (), ())


@given(U64, U64)
def test_names_sort_as_their_numbers(a: int, b: int) -> None:
    """The order of names is the order of numbers, and two numbers never share a name."""
    paths = Paths(Path("somewhere"))
    names = [paths.sealed(a).name, paths.sealed(b).name]
    assert (names[0] < names[1]) == (a < b)
    assert (names[0] == names[1]) == (a == b)


@given(st.one_of(st.integers(max_value=-1), st.integers(min_value=1 << 64)))
def test_number_outside_64_bits_has_no_name(number: int) -> None:
    """A name is never made from a number that a file could not hold."""
    with pytest.raises(ValueError, match="64-bit"):
        Paths(Path("somewhere")).active(number)


@given(st.text("0123456789abcdef/.", max_size=9).filter(lambda t: not t.isalnum() or len(t) != 8))
def test_digest_cannot_smuggle_a_path(digest8: str) -> None:
    """Only 8 lower-case hex digits become part of a name."""
    with pytest.raises(ValueError, match="hex"):
        Paths(Path("somewhere")).checkpoint(1, digest8)
