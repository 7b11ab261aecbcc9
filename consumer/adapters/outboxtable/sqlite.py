"""The outbox table in a SQLite file, whose workers take turns."""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from consumer.adapters.outboxtable import Mark, OutboxError, OutboxRow
from consumer.adapters.outboxtable.columns import Column, Kind, shape
from consumer.adapters.outboxtable.statements import Statements, after_row, marked_once, row

BUSY_SECONDS = 5.0
TURN_SECONDS = 0.05


class SqliteOutbox:
    """See `OutboxTable`."""

    def __init__(self, path: Path, table: str) -> None:
        if not path.exists():
            raise OutboxError(f"{path} does not exist")
        self._path = path
        # The same parameter may stand in several places: adoption needs ?1.
        self._sql = Statements(table, shape(table, self._columns(table)), ("?1", "?2", "?3"), "CURRENT_TIMESTAMP", "IS")

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
        if self._sql.shape.has_shop:
            await asyncio.to_thread(self._adopt, shop)

    def _adopt(self, shop: str) -> None:
        with _connected(self._path) as connection:
            connection.execute(self._sql.adoption, (shop,))

    async def close(self) -> None:
        """See `OutboxTable`."""

    def _columns(self, table: str) -> dict[str, Column]:
        with _connected(self._path) as connection:
            schema, _, name = table.rpartition(".")
            found = connection.execute(f"PRAGMA {schema or 'main'}.table_info({name})").fetchall()
        if not found:
            raise OutboxError(f"{self._path} has no table {table}")
        return {each[1].lower(): Column(each[2] or "of no type", _kind(each[2])) for each in found}

    def _select(self, after: OutboxRow | None) -> list[OutboxRow]:
        """The next rows; the first has had its trial marks."""
        query = self._sql.selection(after=after is not None, columns=self._sql.columns)
        with _connected(self._path) as connection:
            rows = [row(values) for values in connection.execute(query, after_row(after)).fetchall()]
            connection.execute("BEGIN IMMEDIATE")
            for statement, parameters in self._sql.trials(rows[0]) if rows else ():
                marked_once(connection.execute(statement, parameters).rowcount)
            connection.execute("ROLLBACK")
        return rows

    def write(self, marks: Sequence[Mark]) -> None:
        """Write all marks in one transaction."""
        with _connected(self._path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for mark in marks:
                connection.execute(*self._sql.mark(mark))
            connection.execute("COMMIT")


class SqliteClaim:
    """See `Claim`."""

    def __init__(self, table: SqliteOutbox, rows: Sequence[OutboxRow]) -> None:
        self._table, self.rows = table, rows

    async def mark(self, marks: Sequence[Mark]) -> None:
        """See `Claim`."""
        await asyncio.to_thread(self._table.write, marks)


def _kind(declared: str) -> Kind:
    """Of a declared type, by the names that shops use; SQLite keeps a value of any kind in a column of any type."""
    name = declared.partition("(")[0].strip().lower()
    if "char" in name or "text" in name or "clob" in name:
        return Kind.TEXT
    if "int" in name or name in {"numeric", "decimal"}:
        return Kind.NUMBER
    if "time" in name or "date" in name:
        return Kind.TIME
    return {"uuid": Kind.UUID, "guid": Kind.UUID, "json": Kind.JSON, "blob": Kind.BYTES,
            "binary": Kind.BYTES}.get(name, Kind.OTHER)  # fmt: skip


def _taken(turn: int) -> bool:
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for a moment; sqlite3's errors become OutboxError."""
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OutboxError(f"{path}: {error}") from error
