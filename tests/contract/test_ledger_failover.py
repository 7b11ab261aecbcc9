"""A PostgreSQL that fails over, stalls or stands behind a pooler costs time and no entry."""

import asyncio
import os
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from consumer.adapters.ledger import Known
from consumer.adapters.ledger.batching import BatchedLedger
from consumer.adapters.ledger.lane import Lane
from consumer.adapters.ledger.postgres import PostgresStore
from consumer.core.outcome import Delivered, Retry, RetryReason
from tests.contract.test_ledger_store import empty_database
from tests.support.eventually import eventually
from tests.support.ledger import record
from tests.support.pgbouncer import PrivatePgbouncer
from tests.support.postgres import PrivatePostgres
from tests.support.proxy import Proxy

RETRY = Retry(RetryReason.UNAVAILABLE, 2, 5.0, "answered 503", 503)
# Longer than a statement and a new connection may take together.
LONG = 60.0


@asynccontextmanager
async def ledger_at(url: str) -> AsyncIterator[BatchedLedger]:
    ledger = BatchedLedger(PostgresStore(url))
    await ledger.open()
    yield ledger
    await ledger.close()


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def delivered(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT order_id FROM neuroon_conversion_outbox WHERE outcome = 'delivered'")
    await connection.close()
    return {row[0] for row in rows}


async def test_a_database_that_took_no_writes_for_a_while_is_written_to_again(postgres_url: str) -> None:
    """Sessions that began while the database was read-only stay so for ever: they are replaced."""
    url = await empty_database(postgres_url)
    database = urlsplit(url).path.strip("/")
    async with ledger_at(url) as ledger:
        await ledger.record(record("BEFORE", Delivered(200)))
        await ledger.delivered_before("shop_a", "LOOKED-UP")
        ledger.let_go("shop_a", "LOOKED-UP")
        await execute(
            postgres_url,
            f"ALTER DATABASE {database} SET default_transaction_read_only = on",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'",  # noqa: S608
        )
        await ledger.record(record("MEANWHILE", Delivered(200)))
        await eventually(lambda: "read-only" in ledger.condition.message)
        await execute(postgres_url, f"ALTER DATABASE {database} RESET default_transaction_read_only")
        await eventually(lambda: ledger.condition.ok and not ledger.condition.pending, timeout=LONG)
        await ledger.record(record("AFTER", Delivered(200)))
        # A recent one is remembered; these are asked for.
        assert await ledger.store.delivered([("shop_a", "MEANWHILE")]) == {("shop_a", "MEANWHILE"): Known(b"d" * 32)}
        assert await ledger.delivered_before("shop_a", "NEW") is None
        ledger.let_go("shop_a", "NEW")
    assert await delivered(url) == {"BEFORE", "MEANWHILE", "AFTER"}


@pytest.fixture(scope="module")
def pgbouncer(postgres: PrivatePostgres) -> Iterator[PrivatePgbouncer]:
    with PrivatePgbouncer(postgres.url) as pooler:
        yield pooler


async def test_behind_a_pooler_that_deals_out_transactions_everything_works(
    postgres_url: str, pgbouncer: PrivatePgbouncer
) -> None:
    """Three consumers share two server connections: every entry is written and found, and no lock stays behind."""
    url = await empty_database(postgres_url)
    orders = [f"ORD-{number}" for number in range(60)]
    stores = [PostgresStore(pgbouncer.address(url)) for _ in range(3)]

    async def work(store: PostgresStore, mine: list[str]) -> None:
        for order in mine:
            claimed = await store.claim([("shop_a", order)])
            assert claimed.taken == set()
            await store.write([record(order, RETRY), record(order, Delivered(200), attempt=2)])
            assert ("shop_a", order) in await store.delivered([("shop_a", each) for each in orders])

    for store in stores:
        await store.open()
    await asyncio.gather(*(work(store, orders[number::3]) for number, store in enumerate(stores)))
    assert sum(each.delivered for each in await stores[0].tallies()) == len(orders)
    for store in stores:
        await store.close()
    assert await delivered(url) == set(orders)
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    await connection.close()


@pytest.fixture
async def stopped(postgres_url: str) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    """Stops every process of the server that serves a database now; new connections get new ones."""
    found: list[int] = []

    async def stop(url: str) -> None:
        connection = await asyncpg.connect(postgres_url)
        database = urlsplit(url).path.strip("/")
        rows = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE datname = $1", database)
        await connection.close()
        assert rows
        for row in rows:
            os.kill(row[0], signal.SIGSTOP)
            found.append(row[0])

    yield stop
    for process in found:
        os.kill(process, signal.SIGCONT)


async def test_a_connection_that_stalls_is_replaced(
    postgres_url: str, stopped: Callable[[str], Awaitable[None]]
) -> None:
    """It never answers again, new ones do: what was pending is written, and orders are looked up again."""
    url = await empty_database(postgres_url)
    async with ledger_at(url) as ledger:
        await ledger.record(record("BEFORE", Delivered(200)))
        await ledger.delivered_before("shop_a", "OTHER")
        await stopped(url)
        # Two kinds of row, and so a transaction of several statements.
        await asyncio.gather(ledger.record(record("ONE", Delivered(200))), ledger.record(record("TWO", RETRY)))
        assert not ledger.condition.ok
        await eventually(lambda: ledger.condition.ok and not ledger.condition.pending, timeout=LONG)
        assert await ledger.delivered_before("shop_a", "TWO") is None
        assert await ledger.store.delivered([("shop_a", "ONE")])
    assert await delivered(url) == {"BEFORE", "ONE"}


async def test_a_server_that_stalls_holds_up_no_end(postgres_url: str) -> None:
    """The ledger closes with entries unwritten, in a bounded time."""
    url = await empty_database(postgres_url)
    address = urlsplit(url)
    async with Proxy(("127.0.0.1", address.port or 0)) as proxy:
        async with (
            asyncio.timeout(LONG),
            ledger_at(address._replace(netloc=f"postgres@127.0.0.1:{proxy.port}").geturl()) as ledger,
        ):
            await ledger.record(record("BEFORE", Delivered(200)))
            proxy.stall()
            await asyncio.gather(ledger.record(record("ONE", Delivered(200))), ledger.record(record("TWO", RETRY)))
    assert await delivered(url) == {"BEFORE"}


async def test_a_disk_that_hangs_holds_up_no_end(tmp_path: Path) -> None:
    """The thread that waits for it is left behind."""
    lane, hangs, release = Lane(tmp_path / "ledger.db", lambda _: None), threading.Event(), threading.Event()

    def hang(_: sqlite3.Connection) -> None:
        hangs.set()
        release.wait()

    hanging = asyncio.ensure_future(lane.call(hang))
    await eventually(hangs.is_set)
    async with asyncio.timeout(LONG):
        await lane.close()
    assert not hanging.done()
    release.set()
    await hanging
