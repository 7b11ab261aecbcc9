"""`outbox flush` as an operator sees it: what is wrong is said, what is away is waited for, a stop is a stop."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pymysql
import pytest

from consumer.adapters.outboxtable.mysqlurl import MysqlUrl
from consumer.sandbox import DEFAULT_SHOP, Sandbox
from tests.conftest import Names
from tests.support.eventually import eventually
from tests.support.mariadb import PrivateMariadb
from tests.support.program import ROOT, command, environment
from tests.support.shopdatabase import RECIPE

# As on a machine where the extra was not installed.
WITHOUT_DRIVER = "import sys; sys.modules['pymysql'] = None; from consumer.cli import main; main()"


@asynccontextmanager
async def flushing(environ: dict[str, str], *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`outbox flush` as a process, which is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "consumer", "outbox", "flush", *arguments, cwd=ROOT, env=environ,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def payload(order: str) -> dict[str, object]:
    line = {"productId": "SKU-1", "searchLogId": "log_1", "quantity": 1, "lineTotal": 9.99}
    return {"orderId": order, "orderValue": 9.99, "currency": "EUR", "conversions": [line]}


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
async def test_without_the_extra_it_says_what_to_install(names: Names, scheme: str) -> None:
    """And leaves as for any wrong setting; what needs no such driver works without."""
    environ = environment("amqp://unused", names, OUTBOX_URL=f"{scheme}://shop:hush@127.0.0.1:1/shop")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WITHOUT_DRIVER, "outbox", "flush", cwd=ROOT, env=environ, stderr=subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 2
    assert "pip install 'neuroon-consumer[mysql]'" in err.decode()
    assert len(err.decode().splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "table", "status", "told"),
    [
        ("oracle://db/shop", "t", 2, "mysql://user@host/database"),
        ("mysql://shop@db/shop?sslmode=verify-full", "t", 2, "sslmode in the URL is not known"),
        ("mysql://shop@db/shop", "drop table", 2, "name of a table"),
        ("mysql://shop:hush@127.0.0.1:1/shop", "t", 1, "Can't connect"),
    ],
)
async def test_what_is_wrong_is_told_in_one_line(names: Names, url: str, table: str, status: int, told: str) -> None:
    """2 for what has to be put right, 1 for what may pass; never a stack, never the password."""
    environ = environment("amqp://unused", names, OUTBOX_URL=url)
    code, out, err = await command(environ, "outbox", "flush", "--table", table)
    assert (code, out, len(err.splitlines())) == (status, "", 1)
    assert told in err
    assert "hush" not in err


async def test_a_database_that_is_away_between_two_flushes_is_waited_for(names: Names, tmp_path: Path) -> None:
    """With --every: it says so, and goes on when it is back."""
    with PrivateMariadb() as server:
        ask(server.url, "CREATE DATABASE shop")
        url = server.address("shop")
        ask(url, RECIPE)
        async with Sandbox() as sandbox:
            environ = environment("amqp://unused", names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
            async with flushing(environ | {"OUTBOX_URL": url}, "--every", "100ms") as process:
                assert process.stderr is not None
                put(url, "ORD-1")
                await eventually(lambda: len(sandbox.orders) == 1, timeout=30)
                await asyncio.to_thread(server.stop)
                async with asyncio.timeout(30):
                    while b"outbox not usable" not in (line := await process.stderr.readline()):
                        assert line
                await asyncio.to_thread(server.start)
                put(url, "ORD-2")
                await eventually(lambda: len(sandbox.orders) == 2, timeout=30)
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(30):
                    assert await process.wait() == 0


def ask(url: str, query: str) -> None:
    with closing(pymysql.connect(**MysqlUrl.read(url).arguments(), autocommit=True)) as connection:
        with connection.cursor() as cursor:
            cursor.execute(query)


def put(url: str, order: str) -> None:
    text = json.dumps(payload(order))
    ask(url, f"INSERT INTO neuroon_conversion_outbox (order_id, payload) VALUES ('{order}', '{text}')")  # noqa: S608


async def test_a_stop_comes_between_two_claims(names: Names, tmp_path: Path) -> None:
    """SIGTERM among 1,000 rows: those in hand are sent and marked, the others are left to the next flush."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(RECIPE)
        connection.executemany(
            "INSERT INTO neuroon_conversion_outbox (order_id, payload) VALUES (?, ?)",
            [(f"ORD-{number}", json.dumps(payload(f"ORD-{number}"))) for number in range(1000)],
        )
    async with Sandbox(faults=["delay=200ms"]) as sandbox:
        environ = environment("amqp://unused", names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        environ["OUTBOX_URL"] = f"sqlite:///{path}"
        async with flushing(environ, "--json") as process:
            await eventually(lambda: len(sandbox.orders) > 20, timeout=30)
            process.send_signal(signal.SIGTERM)
            out, _ = await process.communicate()
        assert process.returncode == 0
        told = json.loads(out)
        with closing(sqlite3.connect(path)) as connection:
            ((synced,),) = connection.execute(
                "SELECT COUNT(*) FROM neuroon_conversion_outbox WHERE synced_at IS NOT NULL"
            )
        assert 0 < told["synced"] == synced == len(sandbox.orders) < 1000


SHOP = "[[shops]]\nid = '{id}'\napi_key = '{key}'\n"


async def test_rows_of_a_shop_on_hold_are_left_and_a_broken_shops_file_ends_nothing(
    names: Names, tmp_path: Path
) -> None:
    """`enabled = "hold"` costs a row no attempt; with --every the file may break, and what it says then is heeded."""
    path, shops = tmp_path / "shop.db", tmp_path / "shops.toml"
    shop = SHOP.format(id=DEFAULT_SHOP.id, key=DEFAULT_SHOP.api_key)
    shops.write_text(f"{shop}enabled = 'hold'\n")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(RECIPE)
        put_row = "INSERT INTO neuroon_conversion_outbox (order_id, payload) VALUES (?, ?)"
        connection.execute(put_row, ("ORD-1", json.dumps(payload("ORD-1"))))
        async with Sandbox() as sandbox:
            environ = environment("amqp://unused", names, sandbox, NEUROON_SHOPS_FILE=str(shops), LEDGER_URL="none")
            environ |= {"OUTBOX_URL": f"sqlite:///{path}", "NEUROON_SHOP_ID": "", "NEUROON_API_KEY": ""}
            status, out, err = await command(environ, "outbox", "flush", "--json")
            assert (status, json.loads(out)) == (0, {"rows": 1, "synced": 0, "failed": 0}), err
            assert connection.execute("SELECT attempts, synced_at FROM neuroon_conversion_outbox").fetchall() == [
                (0, None)
            ]
            async with flushing(environ, "--every", "100ms") as process:
                assert process.stdout is not None
                assert process.stderr is not None
                assert await process.stdout.readline() == b"1 rows: 0 synced, 0 failed\n"
                shops.write_text("")
                async with asyncio.timeout(30):
                    while b"shops file reload failed" not in (line := await process.stderr.readline()):
                        assert line
                assert sandbox.orders == []
                shops.write_text(shop)
                await eventually(lambda: len(sandbox.orders) == 1, timeout=30)
