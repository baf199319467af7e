# SPDX-License-Identifier: Apache-2.0
"""The public API of a ledger, situation by situation."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from ledger import (
    AsyncLedger,
    ClosedError,
    CopiedLedgerError,
    EnvironmentFailure,
    EventError,
    Ledger,
    UsageError,
)
from ledger.encoding import event as events
from tests.plain import plain_root


def test_an_event_comes_back_as_it_was_given(tmp_path: Path) -> None:
    """What `append` acknowledged is read back equal, by this handle and by a new one."""
    given = {"event_type": "user.login", "n": 2**63, "nested": {"list": [1, None, True, 1.5, b"x"]}}
    with Ledger(tmp_path / "a") as log:
        receipt = log.append(given)
        assert log[receipt.index] == given
    with Ledger(tmp_path / "a", create=False) as log:
        assert log[receipt.index] == given
        assert log.entry(receipt.index) == receipt.entry
        assert log.salt(receipt.index) == receipt.salt


def test_entry_0_is_the_identity(tmp_path: Path) -> None:
    """Index 0 is a note that holds the bytes of LEDGER."""
    with Ledger(tmp_path / "a", name="shop") as log:
        assert log.payload(0) == (tmp_path / "a" / "LEDGER").read_bytes()
        assert log[0]["origin"] == log.origin
        assert log.origin.startswith("shop/")


def test_the_root_is_that_of_rfc_6962(tmp_path: Path) -> None:
    """At every size the root equals the plain recursion over SHA-256(0x00 ‖ entry), sealed or not."""
    with Ledger(tmp_path / "a") as log:
        for n in range(5):
            log.append_many([{"n": n, "i": i} for i in range(n * 7)])
            log.append({"single": n})
            if n == 2:
                log.seal()
        entries = [log.entry(i) for i in range(log.size)]
        for size in range(1, log.size + 1):
            assert log.root_at(size) == plain_root(entries[:size])


def test_a_batch_with_one_bad_event_stores_nothing(tmp_path: Path) -> None:
    """All or nothing, and the error names position and path."""
    with Ledger(tmp_path / "a") as log:
        size = log.size
        with pytest.raises(EventError) as caught:
            log.append_many([{"good": 1}, {"bad": [1, {"deep": float("nan")}]}])
        assert caught.value.position == 1
        assert caught.value.path == "$.bad[1].deep"
        assert log.size == size


def test_an_event_above_the_limit_is_refused(tmp_path: Path) -> None:
    """`event_bytes_max` is kept to the byte."""
    with Ledger(tmp_path / "a", event_bytes_max=1000) as log:
        fits = {"x": "y" * (1000 - len(events.pack({"x": ""})) - 2)}
        assert len(events.pack(fits)) == 1000
        log.append(fits)
        size = log.size
        with pytest.raises(EventError):
            log.append({"x": fits["x"] + "z"})
        assert log.size == size


def test_append_packed_takes_one_array(tmp_path: Path) -> None:
    """A msgpack array goes in as it is, whatever buffer holds it; anything else is refused."""
    batch = [{"n": n} for n in range(20)]
    with Ledger(tmp_path / "a") as log:
        receipts = log.append_packed(bytearray(events.pack_many(batch)))
        assert [log[r.index] for r in receipts] == batch
        for bad in (b"", b"\x81\xa1a\x01", b"\xdc\x00\x01\x80", events.pack_many(batch) + b"\x80"):
            with pytest.raises(UsageError):
                log.append_packed(bad)
        assert len(log) == 20


def test_an_empty_batch_writes_nothing(tmp_path: Path) -> None:
    """No entry, no batch."""
    with Ledger(tmp_path / "a") as log:
        size = log.size
        assert list(log.append_many([])) == []
        assert log.size == size


def test_seal_keeps_every_event_readable(tmp_path: Path) -> None:
    """Reads are the same before and after a seal, and a seal with nothing but notes does nothing."""
    with Ledger(tmp_path / "a") as log:
        receipts = log.append_many([{"n": n, "text": "x" * (n % 300)} for n in range(3000)])
        before = [log.payload(i) for i in range(log.size)]
        assert log.seal() == 1
        assert [log.payload(i) for i in range(len(before))] == before
        assert log.entry(receipts[1234].index) == receipts[1234].entry
        size = log.size
        assert log.seal() == 0
        assert log.size == size
        assert [e["n"] for e in log] == list(range(3000))
    assert sorted(p.suffix for p in (tmp_path / "a" / "sealed").iterdir()) == [".idx", ".seg"]


def test_threads_share_one_chain(tmp_path: Path) -> None:
    """Eight threads append at once: indices contiguous, every receipt fits."""
    with Ledger(tmp_path / "a") as log:
        receipts: list[tuple[int, int, int]] = []

        def work(thread: int) -> None:
            receipts.extend((log.append({"t": thread, "n": n}).index, thread, n) for n in range(50))

        threads = [threading.Thread(target=work, args=(t,)) for t in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(i for i, _, _ in receipts) == list(range(1, 401))
        assert all(log[i] == {"t": t, "n": n} for i, t, n in receipts)


def test_submitted_events_resolve_in_order(tmp_path: Path) -> None:
    """Futures resolve to receipts in the order of submission, and a close waits for them."""
    log = Ledger(tmp_path / "a")
    futures = [log.submit({"n": n}) for n in range(2000)]
    log.close()
    indices = [f.result(10).index for f in futures]
    assert indices == sorted(indices)
    with Ledger(tmp_path / "a", readonly=True) as again:
        assert [again[i]["n"] for i in indices] == list(range(2000))


def test_tasks_append_through_the_loop(tmp_path: Path) -> None:
    """AsyncLedger: each await returns a receipt of its own event."""

    async def main() -> list[tuple[int, int]]:
        async with AsyncLedger(str(tmp_path / "a")) as log:

            async def one(n: int) -> tuple[int, int]:
                return (await log.append({"n": n})).index, n

            return await asyncio.gather(*(one(n) for n in range(200)))

    pairs = asyncio.run(main())
    with Ledger(tmp_path / "a", readonly=True) as log:
        assert all(log[index] == {"n": n} for index, n in pairs)


def test_an_interval_gathers_and_still_returns_durable(tmp_path: Path) -> None:
    """`sync="interval:5ms"`: append returns with the event acknowledged."""
    with Ledger(tmp_path / "a", sync="interval:5ms") as log:
        index = log.append({"n": 1}).index
        with Ledger(tmp_path / "a", readonly=True) as other:
            assert other[index] == {"n": 1}
    with pytest.raises(UsageError):
        Ledger(tmp_path / "b", sync="never")


def test_a_reader_follows_through_roll_and_seal(tmp_path: Path) -> None:
    """A read-only handle sees each event of the writer exactly once while segments close and go."""
    with Ledger(tmp_path / "a") as log, Ledger(tmp_path / "a", readonly=True) as reader:
        seen: list[int] = []
        at = 0
        for n in range(300):
            log.append({"n": n})
            if n % 100 == 50:
                log.seal()
            if n % 7 == 0:
                for index, event in reader.tail(at):
                    seen.append(event["n"])
                    at = index
        seen += [event["n"] for _, event in reader.tail(at)]
        assert seen == list(range(300))


def test_a_copy_is_not_written_to(tmp_path: Path) -> None:
    """A copied directory opens for reading, and is refused for writing."""
    with Ledger(tmp_path / "a") as log:
        log.append({"n": 1})
    os.system(f"cp -r {tmp_path}/a {tmp_path}/b")
    with pytest.raises(CopiedLedgerError):
        Ledger(tmp_path / "b")
    with Ledger(tmp_path / "b", readonly=True) as copy:
        assert copy[1] == {"n": 1}


def test_a_closed_ledger_says_so(tmp_path: Path) -> None:
    """Every call after `close` is a ClosedError; a second close is harmless."""
    log = Ledger(tmp_path / "a")
    log.close()
    log.close()
    for call in (lambda: log.append({"n": 1}), lambda: log[0], lambda: log.size, log.seal, log.checkpoint):
        with pytest.raises(ClosedError):
            call()


def test_nothing_is_made_where_nothing_should_be(tmp_path: Path) -> None:
    """`create=False`, read-only and a foreign folder are refused with nothing changed."""
    with pytest.raises(EnvironmentFailure):
        Ledger(tmp_path / "a", create=False)
    with pytest.raises(EnvironmentFailure):
        Ledger(tmp_path / "a", readonly=True)
    assert not (tmp_path / "a").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    with pytest.raises(EnvironmentFailure):
        Ledger(tmp_path / "other")
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["file"]


def test_a_forked_child_appends_by_a_handle_of_its_own(tmp_path: Path) -> None:
    """The child's first call opens anew; parent and child write one chain."""
    with Ledger(tmp_path / "a") as log:
        log.append({"who": "parent", "n": 0})
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                log.append({"who": "child", "n": 1})
                code = 0
            finally:
                os._exit(code)
        log.append({"who": "parent", "n": 2})
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        log.append({"who": "parent", "n": 3})
        assert sorted(e["n"] for e in log) == [0, 1, 2, 3]


def test_a_batch_larger_than_an_unbegun_file_leaves_no_empty_segment(tmp_path: Path) -> None:
    """Right after a roll comes a batch that the new file cannot hold: it is stored, and all segments seal."""
    with Ledger(tmp_path / "a") as log:
        log.append({"n": 0})
        log._open_writer().roll()
        receipts = log.append_many([{"n": n, "x": "y" * 100_000} for n in range(60)])
        log.seal()
        assert log[receipts[59].index]["n"] == 59
        assert {s["state"] for s in log.segments[:-1]} == {"sealed"}
        assert log.verify(require="L1").ok
