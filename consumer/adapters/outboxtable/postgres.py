"""The outbox table in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import asyncpg
import structlog

from consumer.adapters.ledger.locknumber import lock_number
from consumer.adapters.ledger.session import DOWN, Session, connect, transaction
from consumer.adapters.outboxtable import STATEMENT_SECONDS, UNLOCK_SECONDS, Mark, OutboxError, OutboxRow
from consumer.adapters.outboxtable.columns import Column, Kind, shape
from consumer.adapters.outboxtable.statements import Statements, after_row, lock_key, marked_once, row

_ERRORS = (*DOWN, ValueError)

# Domains by what they are made of. A type modifier of text holds its length and four.
_COLUMNS = """SELECT a.attname, format_type(a.atttypid, a.atttypmod), b.typname, b.typcategory::text,
CASE WHEN b.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 END
FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
JOIN pg_type AS b ON b.oid = CASE WHEN t.typbasetype = 0 THEN t.oid ELSE t.typbasetype END
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped"""

_BY_NAME: Final[Mapping[str, Kind]] = {
    "uuid": Kind.UUID, "bytea": Kind.BYTES, "json": Kind.JSON, "jsonb": Kind.JSON, "int2": Kind.NUMBER,
    "int4": Kind.NUMBER, "int8": Kind.NUMBER, "numeric": Kind.NUMBER, "timestamp": Kind.TIME, "timestamptz": Kind.TIME,
}  # fmt: skip

# As in `sessionlocks`: behind a pooler, which makes up the process id, no lock is taken.
_LOCK = """SELECT CASE WHEN pg_backend_pid() = $2 THEN pg_try_advisory_lock(number) END
FROM unnest($1::bigint[]) AS k (number)"""

log = structlog.get_logger(__name__)


class PostgresOutbox:
    """See `OutboxTable`."""

    def __init__(self, session: Session, sql: Statements) -> None:
        self._session, self.sql = session, sql
        self._pooled = False

    @classmethod
    async def open(cls, url: str, table: str) -> "PostgresOutbox":
        """Connect, and inspect the table's columns. Raises OutboxError."""
        session = Session(lambda: connect(url, "outbox", STATEMENT_SECONDS))
        try:
            return cls(session, await _inspected(session, table))
        except BaseException as error:
            session.close()
            if isinstance(error, _ERRORS):
                raise OutboxError(_described(error)) from error
            raise

    @asynccontextmanager
    async def claim(self, after: OutboxRow | None) -> AsyncIterator["PostgresClaim"]:
        """See `OutboxTable`."""
        try:
            yield PostgresClaim(self, await self._claimed(after))
        finally:
            if self._session.open:
                with suppress(OutboxError, TimeoutError):  # then the session is closed, which unlocks, too
                    async with asyncio.timeout(UNLOCK_SECONDS), self._using() as connection:
                        await connection.execute("SELECT pg_advisory_unlock_all()")

    async def write(self, marks: Sequence[Mark]) -> None:
        """Write all marks in one transaction."""
        async with self._using() as connection, transaction(connection):
            for mark in marks:
                query, parameters = self.sql.mark(mark)
                await connection.execute(query, *parameters)

    async def adopt(self, shop: str) -> None:
        """See `OutboxTable`."""
        if self.sql.shape.has_shop:
            async with self._using() as connection:
                await connection.execute(self.sql.adoption, shop)

    async def close(self) -> None:
        """See `OutboxTable`."""
        self._session.close()

    async def _claimed(self, after: OutboxRow | None) -> list[OutboxRow]:
        """The next rows that no other worker has: seen, then locked, then read again, since they may have been sent."""
        position = after_row(after)
        while True:
            async with self._using() as connection:
                look = self.sql.selection(after=bool(position), columns=self.sql.keys)
                seen = await connection.fetch(look, *position)
                locked = await self._locked(connection, [tuple(key) for _, *key in seen])
                rows = await self._still_due(connection, locked)
            if rows or not seen:
                return rows
            position = tuple(seen[-1][:2])

    async def _locked(self, connection: Any, keys: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        numbers = [lock_number(lock_key(self.sql.table, key)) for key in keys]
        answers = [each[0] for each in await connection.fetch(_LOCK, numbers, connection.get_server_pid())]
        if None in answers and not self._pooled:
            self._pooled = True
            log.warning("outbox rows are not locked, since there is a pooler: two flushes may post one order")
        return [key for key, got in zip(keys, answers, strict=True) if got is not False]

    async def _still_due(self, connection: Any, keys: Sequence[tuple[Any, ...]]) -> list[OutboxRow]:
        """Those of `keys` that are due still; the first has had its trial marks. Nothing stays locked or changed.

        A row that a transaction of the shop's, or of an earlier version of this program, has locked is passed over.
        """
        if not keys:
            return []
        query = (
            f"SELECT {self.sql.columns} FROM {self.sql.table} WHERE order_id = ANY($1) AND {self.sql.due} "
            "ORDER BY created_at, order_id FOR UPDATE SKIP LOCKED"
        )
        async with transaction(connection, commit=False):
            found = [row(values) for values in await connection.fetch(query, [key[0] for key in keys])]
            rows = [each for each in found if each.key in set(keys)]
            for statement, parameters in self.sql.trials(rows[0]) if rows else ():
                marked_once(int((await connection.execute(statement, *parameters)).split()[-1]))
        return rows

    @asynccontextmanager
    async def _using(self) -> AsyncIterator[Any]:
        try:
            async with self._session.use() as connection:
                yield connection
        except _ERRORS as error:
            raise OutboxError(_described(error)) from error


class PostgresClaim:
    """See `Claim`."""

    def __init__(self, table: PostgresOutbox, rows: Sequence[OutboxRow]) -> None:
        self._table, self.rows = table, rows

    async def mark(self, marks: Sequence[Mark]) -> None:
        """See `Claim`."""
        await self._table.write(marks)


async def _inspected(session: Session, table: str) -> Statements:
    """Raises OutboxError where the table will not do, and what asyncpg and the network raise."""
    async with session.use() as connection:
        found = await connection.fetch(_COLUMNS, table)
        encoding = await connection.fetchval("SELECT current_setting('server_encoding')")
    if not found:
        raise OutboxError(f"the database has no table {table}")
    columns = {name: Column(told, _kind(*base), length) for name, told, *base, length in found}
    holders = ("$1", "$2", "$3")
    return Statements(table, shape(table, columns), holders, "NOW()", "IS NOT DISTINCT FROM", encoding != "UTF8")


def _kind(name: str, category: str) -> Kind:
    """Of a base type: categories are PostgreSQL's own, "S" for all that is text."""
    return Kind.TEXT if category == "S" else _BY_NAME.get(name, Kind.OTHER)


def _described(error: BaseException) -> str:
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return f"{error} (SELECT on the table, and UPDATE of attempts, last_error and synced_at are needed)"
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
