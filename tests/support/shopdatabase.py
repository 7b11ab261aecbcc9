"""A shop's own database with the recipe's table in it, in each kind of database that shops have."""

import asyncio
import json
import sqlite3
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import asyncpg
import pymysql
import pytest

from consumer.adapters.outboxtable.mysqlurl import MysqlUrl
from tests.support.mariadb import PrivateMariadb

# To the letter; every one of the three takes it.
RECIPE = """CREATE TABLE neuroon_conversion_outbox (
order_id VARCHAR(64) PRIMARY KEY,
payload JSON NOT NULL,
attempts INT NOT NULL DEFAULT 0,
last_error VARCHAR(1024),
created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
synced_at TIMESTAMP NULL
)"""

KINDS = ("sqlite", "postgres", "mariadb")

Execute = Callable[[str], Awaitable[list[Any]]]


class Shop:
    """Its URL, and a way to ask it."""

    def __init__(self, kind: str, url: str, execute: Execute) -> None:
        self.kind, self.url, self.execute = kind, url, execute

    async def put(self, order: str, payload: object, *, attempts: int = 0, created_at: str | None = None) -> None:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        moment = created_at or "2026-01-01 00:00:00"
        await self.execute(
            "INSERT INTO neuroon_conversion_outbox (order_id, payload, attempts, created_at) "  # noqa: S608 - our own texts
            f"VALUES ('{order}', '{text}', {attempts}, '{moment}')"
        )

    async def rows(self) -> dict[str, tuple[int, str | None, bool]]:
        """Attempts, last_error and whether synced, by order."""
        query = "SELECT order_id, attempts, last_error, synced_at IS NOT NULL FROM neuroon_conversion_outbox"
        return {order: (attempts, error, bool(synced)) for order, attempts, error, synced in await self.execute(query)}


@asynccontextmanager
async def shop_database(kind: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Shop]:
    """Of one of `KINDS`, with the recipe's table in it and nothing else."""
    if kind == "sqlite":
        yield await _in_sqlite(folder / "shop.db")
    elif kind == "postgres":
        async with _in_postgres(request.getfixturevalue("postgres_url")) as shop:
            yield shop
    else:
        async with _in_mariadb(request.getfixturevalue("mariadb")) as shop:
            yield shop


async def _in_sqlite(path: Path) -> Shop:
    async def execute(query: str) -> list[Any]:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            return connection.execute(query).fetchall()

    await execute(RECIPE)
    return Shop("sqlite", f"sqlite:///{path}", execute)


@asynccontextmanager
async def _in_postgres(server: str) -> AsyncIterator[Shop]:
    name = f"shop_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    url = f"{server.rpartition('/')[0]}/{name}"
    own = await asyncpg.connect(url)
    await own.execute(RECIPE)
    yield Shop("postgres", url, own.fetch)
    await own.close()
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@asynccontextmanager
async def _in_mariadb(server: PrivateMariadb) -> AsyncIterator[Shop]:
    name = f"shop_{uuid.uuid4().hex[:12]}"
    with closing(pymysql.connect(**MysqlUrl.read(server.url).arguments(), autocommit=True)) as connection:

        def ask(query: str) -> list[Any]:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return list(cursor.fetchall())

        async def execute(query: str) -> list[Any]:
            return await asyncio.to_thread(ask, query)

        await execute(f"CREATE DATABASE {name}")
        await execute(f"USE {name}")
        await execute(RECIPE)
        yield Shop("mariadb", server.address(name), execute)
        await execute(f"DROP DATABASE {name}")
