"""The search index beside a sealed file: `sealed/<segno:020>.idx`, opened, checked against the seal, published.

Derived, so it may be missing, damaged or old without harm: then a search reads entries. Opening compares its
descriptors with index_root in the `.seg`, which the seal hash covers; the rest of its bytes is trusted for speed, not
for evidence, until `verify(index=True)` rebuilds it. No mmap. See docs/format.md "Search index"."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from ledger.encoding.identity import Identity
from ledger.encoding.segment import ZERO_HASH
from ledger.errors import EnvironmentFailure, IndexUnusableError
from ledger.index.build import BuiltGranule, index_root
from ledger.index.container import encode_container, read_container
from ledger.index.granule import Granule
from ledger.storage.files import open_regular, publish_file, read_file
from ledger.storage.paths import Paths
from ledger.storage.sealed import SealedSegment

__all__ = ["IndexFile", "publish_index", "read_index_key"]


class IndexFile:
    """The index of one sealed segment, open for reading. Any thread; close it when none reads."""

    def __init__(self, paths: Paths, segment: SealedSegment, key: bytes) -> None:
        """Open and check it against `segment`. `key`: of `read_index_key`.

        Raises `IndexUnusableError` when it is missing, damaged, or of other entries than the segment commits to."""
        self.path = paths.index(segment.segno)
        try:
            self._fd = open_regular(self.path)
        except OSError as error:
            raise IndexUnusableError(
                f"{self.path} cannot be opened ({error.strerror}). Entries are found without it; reindex builds it anew"
            ) from error
        try:
            fingerprint = segment.footer.fingerprint
            tables = read_container(self.read, os.fstat(self._fd).st_size, fingerprint, segment.segno)
            base = segment.base
            for table in tables:
                if table.base != base:
                    break
                base += table.count
            committed = segment.footer.index_root
            agrees = committed in (ZERO_HASH, index_root([table.descriptor for table in tables]) if tables else b"")
            if base != segment.end or not agrees:
                raise IndexUnusableError(
                    f"{self.path} is of other entries than its segment; those are found without it, and reindex "
                    "builds it anew"
                )
            self.granules = tuple(Granule(self.read, table, key) for table in tables)
        except BaseException:
            self.close()
            raise

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file; fewer where it ends. Raises `IndexUnusableError` when the system does not give them."""
        parts: list[bytes] = []
        while length > 0:
            try:
                part = os.pread(self._fd, length, offset)
            except OSError as error:
                raise IndexUnusableError(f"{self.path} cannot be read ({error.strerror}); entries can") from error
            if not part:
                break
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close the descriptor. Harmless twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> IndexFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_index_key(paths: Paths, identity: Identity) -> bytes:
    """The 16 bytes that key the index, of the hash that LEDGER names. Raises `EnvironmentFailure`."""
    try:
        key = read_file(paths.index_key, 16)
    except OSError as error:
        raise EnvironmentFailure(f"{paths.index_key} cannot be read ({error.strerror}); entries can") from error
    if hashlib.sha256(key).digest() != identity.index_key_hash:
        raise EnvironmentFailure(
            f"{paths.index_key} is not the key that LEDGER names: there are no indexes with it. Entries are not "
            "affected; put the 16 bytes back from a backup"
        )
    return key


def publish_index(paths: Paths, identity: Identity, segno: int, granules: Sequence[BuiltGranule]) -> None:
    """Write the index of a segment under its name, whole and durable, in place of an older one. Raises `OSError`.

    A crash in between leaves no index, or a `.tmp` that nothing reads."""
    data = encode_container(granules, identity.fingerprint, segno)
    target = paths.index(segno)
    if not publish_file(target, data):
        target.unlink()
        publish_file(target, data)
