"""The recipe's outbox table: rows to send are claimed, sent by somebody else, and marked as the recipe marks them.

    synced_at IS NULL AND attempts < 5, oldest first, 100 at a time; then synced_at, or attempts + 1 and last_error.

A claim lasts for as long as its context. In PostgreSQL the rows stay locked, and other workers pass them over. SQLite
locks no rows, and the shop must be able to write meanwhile: there the workers of one host take turns by a lock on a
file beside the database. Either way a worker that dies lets go of its claim.
"""

import asyncio
import fcntl
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from consumer.adapters.ledger.key import plain

RECIPE_TABLE = "neuroon_conversion_outbox"
MAX_ATTEMPTS = 5
BATCH = 100
ERROR_LENGTH = 1024
CONNECT_SECONDS = 10.0
BUSY_SECONDS = 5.0
TURN_SECONDS = 0.05

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")


class OutboxError(Exception):
    """The table cannot be used; the message says why, and names no secret."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One row to send. `shop` is None where the table has no such column, or nothing in it."""

    order: str
    payload: bytes
    attempts: int
    created_at: Any
    shop: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of a row: synced (`error` None), or not, and why."""

    row: OutboxRow
    error: str | None


class Claim(Protocol):
    """Rows that are ours for a while."""

    @property
    def rows(self) -> Sequence[OutboxRow]:
        """The oldest first."""

    async def mark(self, marks: Sequence[Mark]) -> None:
        """Write what became of them, at once; OutboxError."""


class OutboxTable(Protocol):
    """A table of the recipe's shape."""

    def claim(self, after: OutboxRow | None) -> AbstractAsyncContextManager[Claim]:
        """The next rows, behind `after` if given, so that what has just failed is not tried again; OutboxError."""

    async def adopt(self, shop: str) -> None:
        """In a table of our own, give rows that name no shop to `shop`, unless it has that order already."""

    async def close(self) -> None:
        """Close the connection."""


async def open_outbox(url: str, table: str = RECIPE_TABLE) -> OutboxTable:
    """The table at a sqlite:/// or postgresql:// URL. Raises OutboxError."""
    if not _NAME.fullmatch(table):
        raise OutboxError(f"expected the name of a table, such as {RECIPE_TABLE} or shop.{RECIPE_TABLE}")
    if url.startswith("sqlite:///"):
        return await asyncio.to_thread(SqliteOutbox, Path(url.removeprefix("sqlite:///")), table)
    if url.startswith(("postgresql://", "postgres://")):
        return await PostgresOutbox.open(url, table)
    raise OutboxError("expected an outbox in sqlite:///path or postgresql://user@host/database")


def _selection(table: str, *, has_shop: bool, placeholders: tuple[str, str], after: bool) -> str:
    """Our own table also holds orders that came by queue, without a payload: they are no business of a flush."""
    shop, behind = ("shop_id" if has_shop else "NULL"), f"AND (created_at, order_id) > ({', '.join(placeholders)})"
    return f"""SELECT order_id, payload, attempts, created_at, {shop} FROM {table}
WHERE synced_at IS NULL AND attempts < {MAX_ATTEMPTS} AND payload IS NOT NULL {behind if after else ""}
ORDER BY created_at, order_id LIMIT {BATCH}"""


def _adoption(table: str, placeholder: str) -> str:
    return f"""UPDATE {table} SET shop_id = {placeholder}
WHERE shop_id = '' AND payload IS NOT NULL AND synced_at IS NULL
AND order_id NOT IN (SELECT order_id FROM {table} WHERE shop_id = {placeholder})"""


def _row(values: Sequence[Any]) -> OutboxRow:
    order, payload, attempts, created_at, shop = values
    raw = payload if isinstance(payload, bytes) else str(payload).encode("utf-8", "surrogatepass")
    return OutboxRow(str(order), raw, attempts, created_at, shop or None)


class SqliteOutbox:
    """See `OutboxTable`."""

    def __init__(self, path: Path, table: str) -> None:
        if not path.exists():
            raise OutboxError(f"{path} does not exist")
        self._path, self._table = path, table
        self._has_shop = "shop_id" in self._columns()

    @asynccontextmanager
    async def claim(self, after: OutboxRow | None) -> AsyncIterator["SqliteClaim"]:
        """See `OutboxTable`."""
        try:
            turn = os.open(f"{self._path}-flush", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise OutboxError(f"no lock file beside {self._path}: {error.strerror}") from error
        try:
            while not _taken(turn):  # noqa: ASYNC110 - other processes set no event of ours
                await asyncio.sleep(TURN_SECONDS)
            yield SqliteClaim(self, await asyncio.to_thread(self._select, after))
        finally:
            os.close(turn)  # lets go of the lock

    async def adopt(self, shop: str) -> None:
        """See `OutboxTable`."""
        if self._has_shop:
            await asyncio.to_thread(self._adopt, shop)

    def _adopt(self, shop: str) -> None:
        with _connected(self._path) as connection:
            connection.execute(_adoption(self._table, "?1"), (shop,))

    async def close(self) -> None:
        """See `OutboxTable`."""

    def _columns(self) -> set[str]:
        with _connected(self._path) as connection:
            schema, _, name = self._table.rpartition(".")
            known = {row[1] for row in connection.execute(f"PRAGMA {schema or 'main'}.table_info({name})")}
        if not known:
            raise OutboxError(f"{self._path} has no table {self._table}")
        return known

    def _select(self, after: OutboxRow | None) -> list[OutboxRow]:
        query = _selection(self._table, has_shop=self._has_shop, placeholders=("?", "?"), after=after is not None)
        with _connected(self._path) as connection:
            rows = connection.execute(query, () if after is None else (after.created_at, after.order)).fetchall()
        return [_row(row) for row in rows]

    def write(self, marks: Sequence[Mark]) -> None:
        """Write all marks in one transaction."""
        own = " AND shop_id = ?" if self._has_shop else ""
        with _connected(self._path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for mark in marks:
                key = (mark.row.order, mark.row.shop or "") if own else (mark.row.order,)
                if mark.error is None:
                    done = f"UPDATE {self._table} SET synced_at = CURRENT_TIMESTAMP WHERE order_id = ?{own}"
                    connection.execute(done, key)
                else:
                    failed = f"UPDATE {self._table} SET attempts = ?, last_error = ? WHERE order_id = ?{own}"
                    connection.execute(failed, (mark.row.attempts + 1, plain(mark.error, ERROR_LENGTH), *key))
            connection.execute("COMMIT")


class SqliteClaim:
    """See `Claim`."""

    def __init__(self, table: SqliteOutbox, rows: Sequence[OutboxRow]) -> None:
        self._table, self.rows = table, rows

    async def mark(self, marks: Sequence[Mark]) -> None:
        """See `Claim`."""
        await asyncio.to_thread(self._table.write, marks)


def _taken(turn: int) -> bool:
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _connected:  # noqa: N801 - used like a function
    """A connection for a moment; sqlite3's errors become OutboxError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        except sqlite3.Error as error:
            raise OutboxError(f"{self._path}: {error}") from error
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._connection.close()
        if isinstance(error, sqlite3.Error):
            raise OutboxError(f"{self._path}: {error}") from error


class PostgresOutbox:
    """See `OutboxTable`."""

    def __init__(self, connection: Any, table: str, *, has_shop: bool) -> None:
        self.connection, self.table, self.has_shop = connection, table, has_shop

    @classmethod
    async def open(cls, url: str, table: str) -> "PostgresOutbox":
        """Connect, and look at the table's columns. Raises OutboxError."""
        try:
            connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
            columns = await connection.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0", table
            )
        except (*_POSTGRES_ERRORS, ValueError) as error:
            raise OutboxError(_described(error)) from error
        if not columns:
            await connection.close()
            raise OutboxError(f"the database has no table {table}")
        return cls(connection, table, has_shop="shop_id" in {row[0] for row in columns})

    @asynccontextmanager
    async def claim(self, after: OutboxRow | None) -> AsyncIterator["PostgresClaim"]:
        """See `OutboxTable`."""
        query = _selection(self.table, has_shop=self.has_shop, placeholders=("$1", "$2"), after=after is not None)
        try:
            async with self.connection.transaction():
                keys = () if after is None else (after.created_at, after.order)
                rows = await self.connection.fetch(f"{query} FOR UPDATE SKIP LOCKED", *keys)
                yield PostgresClaim(self, [_row(row) for row in rows])
        except _POSTGRES_ERRORS as error:
            raise OutboxError(_described(error)) from error

    async def adopt(self, shop: str) -> None:
        """See `OutboxTable`."""
        if self.has_shop:
            try:
                await self.connection.execute(_adoption(self.table, "$1"), shop)
            except _POSTGRES_ERRORS as error:
                raise OutboxError(_described(error)) from error

    async def close(self) -> None:
        """See `OutboxTable`."""
        await self.connection.close(timeout=CONNECT_SECONDS)


class PostgresClaim:
    """See `Claim`; the marks are written when the claim ends."""

    def __init__(self, table: PostgresOutbox, rows: Sequence[OutboxRow]) -> None:
        self._table, self.rows = table, rows

    async def mark(self, marks: Sequence[Mark]) -> None:
        """See `Claim`."""
        table, own = self._table, " AND shop_id = ${}" if self._table.has_shop else ""
        for mark in marks:
            key = (mark.row.order, mark.row.shop or "") if own else (mark.row.order,)
            if mark.error is None:
                done = f"UPDATE {table.table} SET synced_at = NOW() WHERE order_id = $1{own.format(2)}"
                await table.connection.execute(done, *key)
            else:
                failed = f"UPDATE {table.table} SET attempts = $1, last_error = $2 WHERE order_id = $3{own.format(4)}"
                error = plain(mark.error, ERROR_LENGTH)
                await table.connection.execute(failed, mark.row.attempts + 1, error, *key)


_POSTGRES_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


def _described(error: BaseException) -> str:
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
