"""What is measured, one function a metric: stores take turns within each round, and every result is checked.

The append metrics share one store of each kind, which only grows; at the end each must hold every event, the last
one equal, and hash right. The read metrics run on stores loaded with the same events, before and after `settle`."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benches.peer_stores import STORES
from benches.stores import Floor, Ours, Store, pack
from benches.workload import Event, events

__all__ = ["Plan", "Results", "measure"]

THREADS = 8
TASKS = 64


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    kind: str = "big"
    rounds: int = 7
    singles: int = 400
    batches: int = 40
    loaded: int = 300_000
    gets: int = 4000


@dataclass
class Results:
    """metric → store → the figures of the rounds. Rates are per second, the rest names its unit."""

    figures: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def add(self, metric: str, store: str, figure: float) -> None:
        """One figure of one round."""
        self.figures[metric][store].append(figure)

    def middle(self, metric: str, store: str) -> float | None:
        """The median of the rounds; None if this store has no such figure."""
        found = self.figures[metric].get(store)
        return median(found) if found else None


def turns(stores: list[Store], rounds: int) -> Iterator[Store]:
    """Each store once a round, the order shifted by one each time."""
    for number in range(rounds):
        shift = number % len(stores)
        yield from stores[shift:] + stores[:shift]


def seconds(work: Callable[[], object]) -> float:
    """How long `work` took."""
    gc.collect(0)
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


class Source:
    """Hands every store the same events, each store at its own place in the list."""

    def __init__(self, listed: list[Event]) -> None:
        self._listed = listed
        self._at: dict[str, int] = defaultdict(int)

    def take(self, store: Store, count: int) -> list[Event]:
        """The next `count` for this store, from the start again when the list is at its end."""
        at = self._at[store.name]
        self._at[store.name] = at + count
        size = len(self._listed)
        return [self._listed[i % size] for i in range(at, at + count)]

    def check(self, store: Store) -> None:
        """What was handed out is what is stored: count, first, last, and every hash."""
        count, size = self._at[store.name], len(self._listed)
        assert store.verify() == count, f"{store.name} holds another number of events"
        stored = list(store.scan())
        assert len(stored) == count, f"{store.name} scans another number of events"
        assert stored[0] == self._listed[0], f"{store.name} changed the first event"
        assert stored[-1] == self._listed[(count - 1) % size], f"{store.name} changed the last event"


def singles(store: Store, listed: list[Event], results: Results) -> None:
    """One event a commit; rate, and the latency at 50 and 99 %."""
    clock, append, times = time.perf_counter, store.append, []
    for event in listed:
        begun = clock()
        append(event)
        times.append(clock() - begun)
    times_sorted = sorted(times)
    results.add("single append", store.name, len(times) / sum(times))
    results.add("single p50, us", store.name, times_sorted[len(times) // 2] * 1e6)
    results.add("single p99, us", store.name, times_sorted[len(times) * 99 // 100] * 1e6)


def threads(store: Store, listed: list[Event], results: Results) -> None:
    """`THREADS` threads, one event a call; they share syncs."""
    failures: list[BaseException] = []

    def run(part: list[Event]) -> None:
        try:
            for event in part:
                store.append_shared(event)
        except BaseException as failure:
            failures.append(failure)

    parts = [listed[number::THREADS] for number in range(THREADS)]
    workers = [threading.Thread(target=run, args=(part,)) for part in parts]

    def work() -> None:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    took = seconds(work)
    if failures:
        raise failures[0]
    results.add("8 threads", store.name, len(listed) / took)


def tasks(store: Store, listed: list[Event], results: Results) -> None:
    """`TASKS` tasks of one event loop, one event a call."""
    parts = [listed[number::TASKS] for number in range(TASKS)]

    async def run() -> None:
        append = store.turn_append()

        async def work(part: list[Event]) -> None:
            for event in part:
                await append(event)

        await asyncio.gather(*(work(part) for part in parts))

    results.add("64 tasks", store.name, len(listed) / seconds(lambda: asyncio.run(run())))


def beside_busy_thread(store: Store, listed: list[Event], results: Results) -> None:
    """One event a commit while another thread runs Python without pause."""
    stop = False

    def spin() -> None:
        while not stop:
            sum(range(100))

    worker = threading.Thread(target=spin)
    worker.start()
    try:
        took = seconds(lambda: [store.append(event) for event in listed])
    finally:
        stop = True
        worker.join()
    results.add("single, busy thread", store.name, len(listed) / took)


def batches(store: Store, listed: list[Event], size: int, results: Results, metric: str | None = None) -> None:
    """Dicts, `size` a commit."""
    cut = [listed[at : at + size] for at in range(0, len(listed), size)]
    took = seconds(lambda: [store.append_many(batch) for batch in cut])
    results.add(metric or f"batch {size}", store.name, len(listed) / took)


def packed(store: Store, listed: list[Event], results: Results) -> None:
    """Bytes that are packed already, 1000 a commit."""
    payloads = [pack(event) for event in listed]
    cut = [payloads[at : at + 1000] for at in range(0, len(payloads), 1000)]
    took = seconds(lambda: [store.append_packed(batch) for batch in cut])
    results.add("packed 1000", store.name, len(listed) / took)


def measure_appends(folder: Path, listed: list[Event], plan: Plan, results: Results) -> None:
    """All append metrics on one store of each kind."""
    stores: list[Store] = [kind(folder / f"append-{kind.name}") for kind in STORES]
    source = Source(listed)
    for store in stores:
        singles(store, source.take(store, 20), Results())  # warm
    for store in turns(stores, plan.rounds):
        singles(store, source.take(store, plan.singles), results)
    for store in turns([store for store in stores if not isinstance(store, Floor)], plan.rounds):
        threads(store, source.take(store, plan.singles * 2), results)
    peers_too = [store for store in stores if not isinstance(store, Floor)]
    for store in turns(peers_too, plan.rounds):
        tasks(store, source.take(store, TASKS * plan.batches), results)
    for store in turns(peers_too, 2):
        beside_busy_thread(store, source.take(store, 100), results)
    for store in turns(stores, plan.rounds):
        batches(store, source.take(store, 100 * plan.batches), 100, results)
    for store in turns(stores, plan.rounds):
        batches(store, source.take(store, 250 * plan.batches), 1000, results)
    for store in turns(stores, plan.rounds):
        packed(store, source.take(store, 250 * plan.batches), results)
    for store in turns(peers_too, 2):
        batches(store, source.take(store, 1000 * plan.batches), 10_000, results, "load, batch 10000")
    for store in stores:
        if not isinstance(store, Floor):
            source.check(store)
        store.close()


def gets(store: Store, listed: list[Event], metric: str, within: int, plan: Plan, results: Results) -> None:
    """Events by position, at random among the newest `within`."""
    rng = random.Random(7)
    asked = [len(listed) - 1 - rng.randrange(within) for _ in range(plan.gets)]
    got: list[Event] = []
    get = store.get
    get(len(listed) - 1)  # a store that finds positions by a list in memory makes it now
    took = seconds(lambda: got.extend([get(position) for position in asked]))
    assert got == [listed[position] for position in asked], f"{store.name} answers otherwise"
    results.add(metric, store.name, plan.gets / took)


def scans(store: Store, listed: list[Event], results: Results) -> None:
    """All events as dicts, and all payloads as bytes."""
    tail: deque[tuple[int, Event]] = deque(maxlen=1)
    took = seconds(lambda: tail.extend(enumerate(store.scan())))
    results.add("scan to dicts", store.name, len(listed) / took)
    assert tail[0] == (len(listed) - 1, listed[-1]), f"{store.name} scanned otherwise"
    raws(store, listed, "raw payloads, sealed", results)


def raws(store: Store, listed: list[Event], metric: str, results: Results) -> None:
    """All payloads as bytes."""
    total = 0

    def sum_up() -> None:
        nonlocal total
        for payload in store.raw():
            total += len(payload)

    results.add(metric, store.name, len(listed) / seconds(sum_up))
    assert total == sum(len(pack(event)) for event in listed), f"{store.name} has other payloads"


def verifies(store: Store, listed: list[Event], results: Results) -> None:
    """Everything hashed again; the peers' hash chain has no second thread to give."""
    for count in (1, 2):
        if count == 1 or isinstance(store, Ours):
            took = seconds(lambda count=count: check_all(store, listed, count))  # type: ignore[misc]
            results.add(f"verify, {count} thread" + "s" * (count > 1), store.name, len(listed) / took)


def check_all(store: Store, listed: list[Event], count: int) -> None:
    """`verify` finds every event."""
    assert store.verify(count) == len(listed), f"{store.name} verified another number of events"


def opens(store: Store, folder: Path, results: Results) -> None:
    """From nothing in memory to ready to append, files in the page cache; leaves the file as it was."""
    again: list[Store] = []
    took = seconds(lambda: again.append(type(store)(folder / f"read-{store.name}")))
    again[0].close()
    results.add("open, ms", store.name, took * 1e3)


def measure_reads(folder: Path, listed: list[Event], plan: Plan, results: Results) -> None:
    """Load, read, settle, read again; each store once a round."""
    kinds = [kind for kind in STORES if kind is not Floor]
    stores: list[Store] = [kind(folder / f"read-{kind.name}") for kind in kinds]
    for store in stores:
        took = seconds(lambda store=store: store.append_stream(listed))  # type: ignore[misc]
        results.add("stream, durable at the end", store.name, len(listed) / took)
    for store in stores:
        raws(store, listed, "raw payloads, unsealed", results)
    for store in turns(stores, plan.rounds):
        gets(store, listed, "get, newest 2000 unsealed", 2000, plan, results)
    for store in stores:
        took = seconds(store.settle)
        if isinstance(store, Ours):
            results.add("seal", store.name, len(listed) / took)
        store.close()
        results.add("bytes per event", store.name, store.disk_bytes() / len(listed))
    for store in turns(stores, plan.rounds):
        opens(store, folder, results)
    stores = [kind(folder / f"read-{kind.name}") for kind in kinds]
    for store in turns(stores, max(2, plan.rounds // 2)):
        gets(store, listed, "get, any, sealed", len(listed), plan, results)
        scans(store, listed, results)
        verifies(store, listed, results)
    for store in stores:
        store.close()


def measure(folder: Path, plan: Plan) -> Results:
    """All metrics; scratch files under `folder`."""
    results, listed = Results(), events(plan.loaded, plan.kind)
    gc.freeze()
    measure_appends(folder, listed, plan, results)
    measure_reads(folder, listed, plan, results)
    return results
