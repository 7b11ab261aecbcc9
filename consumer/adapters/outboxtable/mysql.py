"""The outbox table in MySQL (8.0 and newer) or MariaDB (10.6 and newer); needs the extra `mysql`.

The driver knows no asyncio: it has one thread of its own, where one statement follows the other.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, TypeAlias, TypeVar

import pymysql

from consumer.adapters.jobthread import JobThread
from consumer.adapters.ledger.locknumber import lock_number
from consumer.adapters.outboxtable import (
    CONNECT_SECONDS,
    STATEMENT_SECONDS,
    UNLOCK_SECONDS,
    Mark,
    OutboxError,
    OutboxRow,
    RowKey,
)
from consumer.adapters.outboxtable.columns import Column, Kind, shape
from consumer.adapters.outboxtable.mysqlurl import MysqlUrl
from consumer.adapters.outboxtable.statements import Statements, after_row, lock_key, marked_once, row

# The first that know SKIP LOCKED.
MARIADB, MYSQL = (10, 6), (8, 0)

P = ParamSpec("P")
T = TypeVar("T")
# A name for the type checker: only its stubs know that the class is generic.
Connection: TypeAlias = "pymysql.Connection[Any]"

_ERRORS = (pymysql.MySQLError, OSError)

_KINDS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), Kind.TEXT),
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "decimal"), Kind.NUMBER),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), Kind.BYTES),
    **dict.fromkeys(("datetime", "timestamp"), Kind.TIME),
    "uuid": Kind.UUID,
    "json": Kind.JSON,
}


class MysqlOutbox:
    """See `OutboxTable`."""

    def __init__(self, url: str, table: str) -> None:
        self._arguments, self._table = MysqlUrl.read(url).arguments(), table
        self._thread = JobThread("outbox")
        self._connection: Connection | None = None
        self._sql: Statements | None = None

    @classmethod
    async def open(cls, url: str, table: str) -> "MysqlOutbox":
        """Connect, and inspect the server and the table. Raises OutboxError."""
        opened = cls(url, table)
        try:
            opened._sql = await opened.call(_inspected, table)
        except BaseException:
            await opened.close()
            raise
        return opened

    @property
    def sql(self) -> Statements:
        """Of the table."""
        assert self._sql is not None  # noqa: S101 - `open` has just seen to it; this is for the type checker
        return self._sql

    @asynccontextmanager
    async def claim(self, after: OutboxRow | None) -> AsyncIterator["MysqlClaim"]:
        """See `OutboxTable`."""
        try:
            yield MysqlClaim(self, await self.call(_claim, self.sql, after_row(after)))
        finally:
            if self._connection is not None:
                with suppress(OutboxError, TimeoutError):
                    async with asyncio.timeout(UNLOCK_SECONDS):
                        await self.call(_unlock)

    async def write(self, marks: Sequence[Mark]) -> None:
        """Write all marks in one transaction."""
        await self.call(_write, [self.sql.mark(mark) for mark in marks])

    async def adopt(self, shop: str) -> None:
        """See `OutboxTable`: a table of our own is never here."""

    async def close(self) -> None:
        """See `OutboxTable`."""
        await self._thread.close(self._hang_up)

    async def call(self, work: Callable[Concatenate[Connection, P], T], *given: P.args, **named: P.kwargs) -> T:
        """What `work` returns, called with the connection. Raises OutboxError, and after any error connects anew."""
        return await self._thread.call(partial(self._guarded, work, *given, **named))

    def _guarded(self, work: Callable[Concatenate[Connection, P], T], *given: P.args, **named: P.kwargs) -> T:
        try:
            if self._connection is None:
                self._connection = _connected(self._arguments)
            return work(self._connection, *given, **named)
        except BaseException as error:
            self._hang_up()
            if isinstance(error, _ERRORS):
                raise OutboxError(_described(error)) from error
            raise

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.open:
            connection.close()


class MysqlClaim:
    """See `Claim`."""

    def __init__(self, table: MysqlOutbox, rows: Sequence[OutboxRow]) -> None:
        self._table, self.rows = table, rows

    async def mark(self, marks: Sequence[Mark]) -> None:
        """See `Claim`."""
        await self._table.write(marks)


def _connected(arguments: dict[str, Any]) -> Connection:
    return pymysql.connect(
        **arguments,
        charset="utf8mb4",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=STATEMENT_SECONDS,
        write_timeout=STATEMENT_SECONDS,
        autocommit=True,
        # Not strict: what a stranger's server answered, in letters that the column does not have, must not keep
        # us from writing that there was an answer.
        sql_mode="",
        # Else the rows between those that are claimed, and the gaps for new ones, would be locked against the shop.
        init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        program_name="neuroon-consumer outbox",
    )


def _inspected(connection: Connection, table: str) -> Statements:
    """Raises OutboxError where rows cannot be claimed."""
    ((version,),) = _ask(connection, "SELECT VERSION()")
    if (reason := outdated(str(version))) is not None:
        raise OutboxError(reason)
    schema, _, name = table.rpartition(".")
    place = (schema or connection.db, name)
    found = _ask(
        connection,
        "SELECT LOWER(column_name), column_type, LOWER(data_type), character_maximum_length "
        "FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
        place,
    )
    if not found:
        raise OutboxError(f"the database has no table {table}")
    engines = _ask(
        connection, "SELECT engine FROM information_schema.tables WHERE table_schema = %s AND table_name = %s", place
    )
    if engines != [("InnoDB",)]:
        raise OutboxError(f"{table} is no table of InnoDB: nowhere else can rows be claimed, and two would send them")
    columns = {name: Column(str(told), _KINDS.get(base, Kind.OTHER), length) for name, told, base, length in found}
    return Statements(table, shape(table, columns), ("%s", "%s", "%s"), "NOW()", "<=>")


def outdated(version: str) -> str | None:
    """Why a server of this version will not do; None if it will."""
    numbers = re.search(r"(\d+)\.(\d+)", version.removeprefix("5.5.5-"))  # how old MariaDB disguised itself
    least, name = (MARIADB, "MariaDB") if "mariadb" in version.lower() else (MYSQL, "MySQL")
    if numbers is None or (int(numbers[1]), int(numbers[2])) >= least:
        return None
    return f"the server is {name} {numbers[0]}; expected {least[0]}.{least[1]} or newer, which can skip locked rows"


def _claim(connection: Connection, sql: Statements, position: tuple[Any, ...]) -> list[OutboxRow]:
    """The next rows that no other worker has: seen, then locked, then read again, since they may have been sent."""
    while seen := _ask(connection, sql.selection(after=bool(position), columns=sql.keys), position):
        locked = _locked(connection, sql, [tuple(key) for _, *key in seen])
        if locked and (rows := _still_due(connection, sql, locked)):
            return rows
        position = tuple(seen[-1][:2])
    return []


def _locked(connection: Connection, sql: Statements, keys: Sequence[RowKey]) -> list[RowKey]:
    """Those of `keys` that no other session has a named lock for; locks are the server's and not the database's."""
    place = f"{connection.db!r} {sql.table}"
    names = [f"neuroon-{lock_number(lock_key(place, key))}" for key in keys]
    ((*answers,),) = _ask(connection, f"SELECT {', '.join(['GET_LOCK(%s, 0)'] * len(names))}", tuple(names))
    return [key for key, got in zip(keys, answers, strict=True) if got == 1]


def _still_due(connection: Connection, sql: Statements, keys: Sequence[RowKey]) -> list[OutboxRow]:
    """Those of `keys` that are due still; the first has had its trial marks. Nothing stays locked or changed.

    InnoDB locks every row that it inspects, also those beyond a LIMIT where it has to sort: so they are named by key.
    A row that a transaction of the shop's, or of an earlier version of this program, has locked is passed over.
    """
    connection.begin()
    found = _ask(
        connection,
        f"SELECT {sql.columns} FROM {sql.table} WHERE order_id IN %s AND {sql.due} "
        "ORDER BY created_at, order_id FOR UPDATE SKIP LOCKED",
        ([key[0] for key in keys],),
    )
    rows = [each for each in map(row, found) if each.key in set(keys)]
    with connection.cursor() as cursor:
        for query, parameters in sql.trials(rows[0]) if rows else ():
            marked_once(cursor.execute(query, parameters))
    connection.rollback()
    return rows


def _write(connection: Connection, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
    connection.begin()
    with connection.cursor() as cursor:
        for query, parameters in statements:
            cursor.execute(query, parameters)
    connection.commit()


def _unlock(connection: Connection) -> None:
    _ask(connection, "SELECT RELEASE_ALL_LOCKS()")


def _ask(connection: Connection, query: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())


def _described(error: BaseException) -> str:
    """The server's own words, after its number; they name users, hosts and tables, never a password."""
    text = str(error.args[-1] if error.args else error).splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
