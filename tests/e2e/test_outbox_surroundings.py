"""`outbox flush` against databases that misbehave: it costs time, and never a second post again and again."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.e2e.test_outbox import flush, payload
from tests.e2e.test_outbox_command import flushing
from tests.support.eventually import eventually
from tests.support.pgbouncer import PrivatePgbouncer
from tests.support.postgres import PrivatePostgres
from tests.support.program import command, environment
from tests.support.shopdatabase import Shop, shop_database


@pytest.fixture(params=["postgres"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_database(request.param, request, tmp_path) as found:
        yield found


async def alter(shop: Shop, postgres_url: str, change: str) -> None:
    """Change the shop's database, for sessions that begin from now on."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"ALTER DATABASE {urlsplit(shop.url).path.strip('/')} {change}")
    await connection.close()


def settings(names: Names, sandbox: Sandbox, shop: Shop) -> dict[str, str]:
    """Without a ledger that could know what was posted before."""
    return environment("amqp://unused", names, sandbox, LEDGER_URL="none", OUTBOX_URL=shop.url)


@pytest.mark.parametrize("shop", ["sqlite", "postgres", "mariadb"], indirect=True)
async def test_a_numeric_order_id_is_posted_once_and_marked(shop: Shop, names: Names) -> None:
    """BIGINT keys are what most shop systems have."""
    await shop.execute("DROP TABLE neuroon_conversion_outbox")
    await shop.execute(
        "CREATE TABLE neuroon_conversion_outbox (order_id BIGINT PRIMARY KEY, payload JSON, attempts INT DEFAULT 0, "
        "last_error VARCHAR(1024), created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, synced_at TIMESTAMP NULL)"
    )
    await shop.put("1234", payload("1234"))
    async with Sandbox() as sandbox:
        environ = settings(names, sandbox, shop)
        assert await flush(environ) == {"rows": 1, "synced": 1, "failed": 0}
        assert await flush(environ) == {"rows": 0, "synced": 0, "failed": 0}
        assert [(each.order_id, each.posts) for each in sandbox.orders] == [("1234", 1)]


async def test_a_column_that_could_not_be_marked_is_refused_before_the_first_post(shop: Shop, names: Names) -> None:
    """Exit status 2, for something that has to be put right."""
    await shop.execute("ALTER TABLE neuroon_conversion_outbox ALTER synced_at TYPE TEXT")
    await shop.put("ORD-1", payload("ORD-1"))
    async with Sandbox() as sandbox:
        code, _, err = await command(settings(names, sandbox, shop), "outbox", "flush")
        assert (code, "synced_at is text; expected a time" in err, len(err.splitlines())) == (2, True, 1)
        assert not sandbox.book.requests


@pytest.mark.parametrize("shop", ["postgres", "mariadb"], indirect=True)
async def test_no_transaction_is_open_while_a_row_is_posted(shop: Shop, names: Names) -> None:
    """Neither one that a server would end, nor one that would keep old rows from being cleaned up."""
    await shop.put("ORD-1", payload("ORD-1"))
    open_ones = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL "
        "AND pid <> pg_backend_pid()"
        if shop.kind == "postgres"
        else "SELECT 1 FROM information_schema.innodb_trx"
    )
    async with Sandbox(faults=["delay=3s"]) as sandbox:
        environ = settings(names, sandbox, shop) | {"CONSUMER_REQUEST_TIMEOUT": "20s", "CONSUMER_SHUTDOWN_GRACE": "30s"}
        flushed = asyncio.create_task(flush(environ))
        await eventually(lambda: sandbox.faults.armed[0].applied)
        assert await shop.execute(open_ones) == []
        assert await flushed == {"rows": 1, "synced": 1, "failed": 0}


async def test_a_server_that_ends_idle_transactions_costs_no_second_post(
    shop: Shop, names: Names, postgres_url: str
) -> None:
    """An API that is slower than the limit is usual; each order is posted once and marked."""
    await alter(shop, postgres_url, "SET idle_in_transaction_session_timeout = '100ms'")
    for number in range(3):
        await shop.put(f"ORD-{number}", payload(f"ORD-{number}"))
    async with Sandbox(faults=["delay=500ms"]) as sandbox:
        environ = settings(names, sandbox, shop)
        assert await flush(environ) == {"rows": 3, "synced": 3, "failed": 0}
        assert {each.posts for each in sandbox.orders} == {1}
    assert all(synced for _, _, synced in (await shop.rows()).values())


async def test_a_database_that_takes_no_writes_is_sent_nothing(shop: Shop, names: Names, postgres_url: str) -> None:
    """A standby after a failover: rows can be read there and never marked. Once it takes writes, they are sent."""
    await shop.put("ORD-1", payload("ORD-1"))
    await alter(shop, postgres_url, "SET default_transaction_read_only = on")
    async with Sandbox() as sandbox:
        environ = settings(names, sandbox, shop)
        async with flushing(environ, "--every", "100ms") as process:
            assert process.stderr is not None
            async with asyncio.timeout(60):
                while b"read-only" not in (line := await process.stderr.readline()):
                    assert line
            assert not sandbox.book.requests
            await alter(shop, postgres_url, "RESET default_transaction_read_only")
            await eventually(lambda: sandbox.orders)

            async def is_synced() -> bool:
                return (await shop.rows())["ORD-1"][2]

            await eventually(is_synced)
            process.send_signal(signal.SIGTERM)
            await process.communicate()
        assert [each.posts for each in sandbox.orders] == [1]


@pytest.mark.parametrize("shop", ["postgres", "mariadb"], indirect=True)
async def test_marks_outlive_the_connection_that_the_rows_came_by(shop: Shop, names: Names) -> None:
    """It is closed by the server while the order is posted: the mark is written on a new one."""
    await shop.put("ORD-1", payload("ORD-1"))
    async with Sandbox(faults=["delay=2s"]) as sandbox:
        environ = settings(names, sandbox, shop) | {"CONSUMER_REQUEST_TIMEOUT": "20s", "CONSUMER_SHUTDOWN_GRACE": "30s"}
        flushed = asyncio.create_task(flush(environ))
        await eventually(lambda: sandbox.faults.armed[0].applied)
        await hang_up_on_others(shop)
        assert await flushed == {"rows": 1, "synced": 1, "failed": 0}
        assert [each.posts for each in sandbox.orders] == [1]
    assert (await shop.rows())["ORD-1"] == (0, None, True)


async def hang_up_on_others(shop: Shop) -> None:
    if shop.kind == "postgres":
        await shop.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return
    others = await shop.execute(
        "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    )
    for (each,) in others:
        await shop.execute(f"KILL {each}")


async def test_a_pooler_that_deals_out_transactions_is_flushed_through(
    shop: Shop, names: Names, postgres: PrivatePostgres
) -> None:
    """Every row is sent and marked; one line says that rows are not locked."""
    for number in range(150):
        await shop.put(f"ORD-{number}", payload(f"ORD-{number}"))
    with PrivatePgbouncer(postgres.url) as pooler:
        async with Sandbox() as sandbox:
            environ = settings(names, sandbox, shop) | {"OUTBOX_URL": pooler.address(shop.url)}
            code, out, err = await command(environ, "outbox", "flush", "--json")
            assert (code, json.loads(out)) == (0, {"rows": 150, "synced": 150, "failed": 0}), err
            assert err.count("since there is a pooler") == 1
            assert {each.posts for each in sandbox.orders} == {1}


@pytest.mark.parametrize("shop", ["postgres", "mariadb"], indirect=True)
async def test_a_stop_waits_for_no_server_that_stalls(shop: Shop, names: Names, request: pytest.FixtureRequest) -> None:
    """SIGTERM ends a flush whose database does not answer, long before its statements would time out."""
    await shop.put("ORD-1", payload("ORD-1"))
    server = request.getfixturevalue("postgres" if shop.kind == "postgres" else "mariadb")
    async with Sandbox() as sandbox:
        async with flushing(settings(names, sandbox, shop), "--every", "100ms") as process:
            await eventually(lambda: sandbox.orders)
            os.killpg(server.process_id, signal.SIGSTOP)
            try:
                await eventually(lambda: process.returncode is None)
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(30):
                    assert await process.wait() == 0
            finally:
                os.killpg(server.process_id, signal.SIGCONT)
