"""The outbox table in PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from consumer.adapters.outboxtable import CONNECT_SECONDS, Mark, OutboxError, OutboxRow
from consumer.adapters.outboxtable.statements import Statements, after_row, row

_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


class PostgresOutbox:
    """See `OutboxTable`."""

    def __init__(self, connection: Any, sql: Statements) -> None:
        self.connection, self.sql = connection, sql

    @classmethod
    async def open(cls, url: str, table: str) -> "PostgresOutbox":
        """Connect, and look at the table's columns. Raises OutboxError."""
        connection = None
        try:
            connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
            columns = await connection.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0", table
            )
        except (*_ERRORS, ValueError) as error:
            if connection is not None:
                connection.terminate()
            raise OutboxError(_described(error)) from error
        if not columns:
            await connection.close()
            raise OutboxError(f"the database has no table {table}")
        has_shop = "shop_id" in {row[0] for row in columns}
        return cls(connection, Statements(table, has_shop, ("$1", "$2", "$3"), "NOW()"))

    @asynccontextmanager
    async def claim(self, after: OutboxRow | None) -> AsyncIterator["PostgresClaim"]:
        """See `OutboxTable`."""
        query = f"{self.sql.selection(after=after is not None)} FOR UPDATE SKIP LOCKED"
        try:
            async with self.connection.transaction():
                found = await self.connection.fetch(query, *after_row(after))
                yield PostgresClaim(self, [row(values) for values in found])
        except _ERRORS as error:
            raise OutboxError(_described(error)) from error

    async def adopt(self, shop: str) -> None:
        """See `OutboxTable`."""
        if self.sql.has_shop:
            try:
                await self.connection.execute(self.sql.adoption, shop)
            except _ERRORS as error:
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
        for mark in marks:
            query, parameters = self._table.sql.mark(mark)
            await self._table.connection.execute(query, *parameters)


def _described(error: BaseException) -> str:
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
