"""The ledger in front of a store that is slow, down, full, or refuses: orders never notice."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumer.adapters.ledger import (
    Key,
    Known,
    LedgerDownError,
    LedgerRefusedError,
    Note,
    Record,
    Standing,
    batching,
    lookups,
)
from consumer.adapters.ledger.batching import BatchedLedger
from consumer.adapters.ledger.health import Health
from consumer.adapters.ledger.memory import MemoryLedger
from consumer.adapters.ledger.sqlite import SqliteStore
from consumer.core.outcome import Delivered, Retry, RetryReason
from tests.support.eventually import eventually
from tests.support.ledger import record

DELIVERED = Delivered(200)


class Store(MemoryLedger):
    """A store whose every call waits for `gate`, and raises `broken` if it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken: Exception | None = None
        self.batches: list[int] = []
        self.refused = ""

    async def _pass(self) -> None:
        await self.gate.wait()
        if self.broken is not None:
            raise self.broken

    async def open(self) -> None:
        await self._pass()

    async def write(self, lines: Sequence[Record | Note]) -> None:
        await self._pass()
        if any(line.order == self.refused for line in lines):
            raise LedgerRefusedError("no such thing")
        self.batches.append(len(lines))
        await super().write(lines)

    async def delivered(self, keys: Sequence[Key]) -> dict[Key, Known]:
        await self._pass()
        self.batches.append(len(keys))
        return await super().delivered(keys)

    async def standings(self, keys: Sequence[Key]) -> dict[Key, Standing]:
        await self._pass()
        return await super().standings(keys)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def ledger(store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BatchedLedger]:
    monkeypatch.setattr(lookups, "READ_SECONDS", 0.1)
    monkeypatch.setattr(batching, "WRITE_SECONDS", 0.1)
    monkeypatch.setattr(batching, "LONGEST_PAUSE", 0.1)
    ledger = BatchedLedger(store)
    await ledger.open()
    yield ledger
    store.gate.set()
    store.broken = None
    await ledger.close()


async def seconds(work: Awaitable[object]) -> float:
    """How long it takes."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await work
    return loop.time() - begun


async def test_what_gathers_while_a_batch_is_under_way_is_the_next_batch(store: Store, ledger: BatchedLedger) -> None:
    """A lone look-up and write go at once; the hundred that come meanwhile share one each."""
    await ledger.record(record("ORD-0", DELIVERED))
    assert store.batches == [1]
    await asyncio.gather(*(ledger.record(record(f"ORD-{number}", DELIVERED)) for number in range(1, 101)))
    await asyncio.gather(*(ledger.delivered_before("shop_a", f"NEW-{number}") for number in range(100)))
    assert sum(store.batches) == 201
    assert len(store.batches) <= 5


async def test_a_delivered_order_is_on_record_when_record_returns(store: Store, ledger: BatchedLedger) -> None:
    """The acknowledgement comes after that."""
    await ledger.record(record("ORD-1", DELIVERED))
    assert await store.delivered([("shop_a", "ORD-1")])
    assert await ledger.delivered_before("shop_a", "ORD-1") == Known(b"d" * 32)
    assert await ledger.delivered_before("shop_a", "ORD-2") is None


async def test_a_ledger_that_is_down_costs_no_time_and_is_caught_up_with(store: Store, ledger: BatchedLedger) -> None:
    """300 orders pass while it is down; when it is back it knows them all, the process's own before that."""
    store.broken = LedgerDownError("connection refused")
    await ledger.record(record("ORD-0", DELIVERED))

    async def orders() -> None:
        for number in range(1, 300):
            assert await ledger.delivered_before("shop_a", f"ORD-{number}") is None
            await ledger.record(record(f"ORD-{number}", DELIVERED))

    assert await seconds(orders()) < 1
    assert await ledger.delivered_before("shop_a", "ORD-7") == Known(b"d" * 32)
    assert not ledger.condition.ok
    assert ledger.condition.pending == 300
    store.broken = None
    await eventually(lambda: ledger.condition.ok and not ledger.condition.pending)
    assert len(await store.delivered([("shop_a", f"ORD-{number}") for number in range(300)])) == 300


async def test_a_slow_ledger_is_waited_for_once(store: Store, ledger: BatchedLedger) -> None:
    """The first orders wait as long as they may, the following not at all; it is used again when it is quick again."""
    store.gate.clear()
    assert await seconds(ledger.delivered_before("shop_a", "ORD-1")) < 1
    assert not ledger.condition.ok
    many = asyncio.gather(*(ledger.record(record(f"ORD-{number}", DELIVERED)) for number in range(100)))
    assert await seconds(many) < 0.5
    store.gate.set()
    await eventually(lambda: ledger.condition.ok and not ledger.condition.pending)
    assert await store.delivered([("shop_a", "ORD-99")])


async def test_those_who_wait_are_let_go_when_a_write_is_slow(store: Store, ledger: BatchedLedger) -> None:
    """No acknowledgement waits longer than it may."""
    store.gate.clear()
    assert await seconds(asyncio.gather(*(ledger.record(record(f"ORD-{n}", DELIVERED)) for n in range(9)))) < 1
    assert "longer than it may" in ledger.condition.message


async def test_it_is_found_out_without_any_order_that_it_is_back(store: Store, ledger: BatchedLedger) -> None:
    """An idle night must not end with a red part of readiness."""
    store.broken = LedgerDownError("gone")
    assert await ledger.delivered_before("shop_a", "ORD-1") is None
    assert not ledger.condition.ok
    store.broken = None
    await eventually(lambda: ledger.condition.ok)


async def test_failures_are_one_log_line_a_minute_and_all_are_counted(store: Store) -> None:
    """However many orders pass meanwhile."""
    errors: list[None] = []
    ledger = BatchedLedger(store, lambda: errors.append(None))
    store.broken = LedgerDownError("disk full")
    with capture_logs() as logs:
        for number in range(50):
            await ledger.record(record(f"ORD-{number}", DELIVERED))
        await eventually(lambda: len(errors) > 2)
        store.broken = None
        await eventually(lambda: ledger.condition.ok)
    await ledger.close()
    assert [line["event"] for line in logs] == ["ledger not usable, orders go on without it", "ledger usable again"]


def test_a_ledger_that_comes_and_goes_is_a_pair_of_lines_a_minute() -> None:
    """Not usable, usable again; and the next pair a minute later, with the failures that came in between."""
    now = 0.0
    health = Health(lambda: None, lambda: now)
    with capture_logs() as logs:
        for second in range(121):
            now = float(second)
            health.failed("gone")
            health.worked()
    assert [(line["event"], line.get("failures")) for line in logs] == [
        ("ledger not usable, orders go on without it", 1), ("ledger usable again", None),
        ("ledger not usable, orders go on without it", 60), ("ledger usable again", None),
        ("ledger not usable, orders go on without it", 60), ("ledger usable again", None),
    ]  # fmt: skip


async def test_the_cause_is_told_for_as_long_as_it_lasts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause between two tries is not taken for a slow write, which would hide that the disk is full."""
    monkeypatch.setattr(batching, "WRITE_SECONDS", batching.FIRST_PAUSE / 2)
    told: list[str] = []
    batched: BatchedLedger
    batched = BatchedLedger(store, lambda: told.append(batched.condition.message))
    store.broken = LedgerDownError("disk full")
    await batched.record(record("ORD-1", DELIVERED))
    await eventually(lambda: len(told) > 3)
    store.broken = None
    await batched.close()
    assert set(told) == {"disk full"}


async def test_memory_is_bounded_by_count_and_by_bytes(
    store: Store, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too much is given up, and counted."""
    store.broken = LedgerDownError("gone")
    monkeypatch.setattr(batching, "PENDING", 10)
    for number in range(15):
        await ledger.record(record(f"ORD-{number}", DELIVERED))
    assert (ledger.condition.pending, ledger.condition.lost) == (10, 5)
    monkeypatch.setattr(batching, "PENDING", 1000)
    monkeypatch.setattr(batching, "PENDING_BYTES", 50_000)
    for number in range(20):
        await ledger.record(record(f"BIG-{number}", Retry(RetryReason.UNAVAILABLE, 2, 5.0, "x" * 5000)))
    assert ledger.condition.pending < 15


async def test_a_batch_whose_answer_was_lost_is_not_counted_twice(store: Store, ledger: BatchedLedger) -> None:
    """It was committed, then the link broke: it is written again, whether its messages have ids or not."""
    write = store.write

    async def written_and_lost(lines: Sequence[Record | Note]) -> None:
        store.write = write  # type: ignore[method-assign]
        await write(lines)
        raise LedgerDownError("connection reset")

    store.write = written_and_lost  # type: ignore[method-assign]
    one, two = record("ORD-1", DELIVERED, message="m-1"), record("ORD-2", DELIVERED)
    await asyncio.gather(ledger.record(one), ledger.record(two))
    await eventually(lambda: ledger.condition.ok and not ledger.condition.pending)
    (tally,) = await store.tallies()
    assert (tally.received, tally.delivered) == (2, 2)


async def test_one_entry_that_is_refused_takes_no_other_with_it(store: Store, ledger: BatchedLedger) -> None:
    """It is found among a hundred, given up and counted; the others are written."""
    store.refused = "ORD-50"
    await asyncio.gather(*(ledger.record(record(f"ORD-{number}", DELIVERED)) for number in range(100)))
    store.refused = ""
    assert len(await store.delivered([("shop_a", f"ORD-{number}") for number in range(100)])) == 99
    assert (ledger.condition.ok, ledger.condition.lost, ledger.condition.pending) == (True, 1, 0)


@pytest.mark.parametrize(
    "broken", [LedgerDownError("gone"), RuntimeError("a driver's bug")], ids=lambda e: type(e).__name__
)
async def test_nothing_is_ever_raised(store: Store, ledger: BatchedLedger, broken: Exception) -> None:
    """Neither what a store should raise nor what it should not."""
    store.broken = broken
    again = BatchedLedger(store)
    await again.open()
    assert await ledger.delivered_before("shop_a", "ORD-1") is None
    await ledger.record(record("ORD-1", DELIVERED))
    if isinstance(broken, LedgerDownError):
        assert await ledger.sightings([("shop_a", "ORD-1")]) == [None]
    store.broken = None
    await again.close()


async def test_closing_writes_what_is_left(store: Store) -> None:
    """Orders settled in the last moment are on record too."""
    ledger = BatchedLedger(store)
    store.gate.clear()
    writing = asyncio.gather(*(ledger.record(record(f"ORD-{number}", DELIVERED)) for number in range(20)))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.05, store.gate.set)
    await ledger.close()
    await writing
    assert len(await store.delivered([("shop_a", f"ORD-{number}") for number in range(20)])) == 20


async def test_a_cancelled_order_harms_no_other(store: Store, ledger: BatchedLedger) -> None:
    """The look-up and the write that it shared with others go on."""
    store.gate.clear()
    cancelled = [asyncio.ensure_future(ledger.delivered_before("shop_a", "ORD-1"))]
    cancelled.append(asyncio.ensure_future(ledger.record(record("ORD-1", DELIVERED))))
    other = asyncio.ensure_future(ledger.record(record("ORD-2", DELIVERED)))
    await asyncio.sleep(0)
    for task in cancelled:
        task.cancel()
    store.gate.set()
    await other
    assert len(await store.delivered([("shop_a", "ORD-1"), ("shop_a", "ORD-2")])) == 2


def unwritable(folder: Path) -> Path:
    """A path whose folder is a file."""
    (folder / "file").write_text("")
    return folder / "file" / "ledger.db"


@pytest.mark.parametrize("place", [unwritable, lambda folder: folder], ids=["no folder", "a folder"])
async def test_sqlite_that_cannot_be_opened_stops_nothing(
    tmp_path: Path, place: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consumer starts, and orders pass."""
    monkeypatch.setattr(batching, "CLOSE_SECONDS", 0.2)
    ledger = BatchedLedger(SqliteStore(place(tmp_path)))
    await ledger.open()
    assert not ledger.condition.ok
    await ledger.record(record("ORD-1", DELIVERED))
    assert ledger.condition.pending == 1
    await ledger.close()


@pytest.mark.parametrize(
    ("told", "pragma"),
    [("full", "PRAGMA max_page_count = 1"), ("readonly", "PRAGMA query_only = 1")],
    ids=["full", "read-only"],
)
async def test_sqlite_on_a_disk_that_takes_nothing_is_caught_up_with_when_it_does(
    tmp_path: Path, told: str, pragma: str
) -> None:
    """Full, or without writes, in the middle of a run, and then not any more."""
    store = SqliteStore(tmp_path / "ledger.db")
    ledger = BatchedLedger(store)
    await ledger.open()
    await store._writing.call(lambda connection: connection.execute(pragma).fetchall())
    assert store._writing._connection is not None
    set_up, broken = store._writing._set_up, True

    def set_up_broken(connection: sqlite3.Connection) -> None:
        set_up(connection)
        if broken:
            connection.execute(pragma)

    store._writing._set_up = set_up_broken
    for number in range(500):
        await ledger.record(record(f"ORD-{number}", DELIVERED))
    assert not ledger.condition.ok
    assert told in ledger.condition.message
    broken = False
    await eventually(lambda: ledger.condition.ok and not ledger.condition.pending)
    assert len(await store.delivered([("shop_a", f"ORD-{number}") for number in range(500)])) == 500
    await ledger.close()
