"""The outbox table in MySQL (8.0 and newer) or MariaDB (10.6 and newer); needs the extra `mysql`.

The driver knows no asyncio: it has one thread of its own, where one statement follows the other.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import pymysql

from consumer.adapters.outboxtable import CONNECT_SECONDS, Mark, OutboxError, OutboxRow
from consumer.adapters.outboxtable.mysqlurl import MysqlUrl
from consumer.adapters.outboxtable.statements import Statements, after_row, row

# A statement takes milliseconds; this ends the wait for an ALTER TABLE, or for a server that is gone.
STATEMENT_SECONDS = 30.0

# The first that know SKIP LOCKED.
MARIADB, MYSQL = (10, 6), (8, 0)

P = ParamSpec("P")
T = TypeVar("T")
# A name for the type checker: only its stubs know that the class is generic.
Connection: TypeAlias = "pymysql.Connection[Any]"

_ERRORS = (pymysql.MySQLError, OSError)


class MysqlOutbox:
    """See `OutboxTable`."""

    def __init__(self, connection: Connection, thread: ThreadPoolExecutor, sql: Statements) -> None:
        self._connection, self._thread, self._sql = connection, thread, sql

    @classmethod
    async def open(cls, url: str, table: str) -> "MysqlOutbox":
        """Connect, and look at the server and the table. Raises OutboxError."""
        arguments = MysqlUrl.read(url).arguments()
        thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        try:
            connection, sql = await asyncio.get_running_loop().run_in_executor(thread, _connected, arguments, table)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(connection, thread, sql)

    @asynccontextmanager
    async def claim(self, after: OutboxRow | None) -> AsyncIterator["MysqlClaim"]:
        """See `OutboxTable`."""
        try:
            yield MysqlClaim(self, await self.call(_claim, self._sql, after_row(after)))
            await self.call(_commit)
        except BaseException:
            await self.call(_let_go)
            raise

    async def write(self, marks: Sequence[Mark]) -> None:
        """Write all marks, in the transaction of the claim."""
        await self.call(_write, [self._sql.mark(mark) for mark in marks])

    async def adopt(self, shop: str) -> None:
        """See `OutboxTable`: a table of our own is never here."""

    async def close(self) -> None:
        """See `OutboxTable`."""
        await self.call(_hang_up)
        self._thread.shutdown(wait=False)

    async def call(self, work: Callable[Concatenate[Connection, P], T], *given: P.args, **named: P.kwargs) -> T:
        """What `work` returns, called with the connection. Raises OutboxError."""

        def guarded() -> T:
            try:
                return work(self._connection, *given, **named)
            except _ERRORS as error:
                raise OutboxError(_described(error)) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)


class MysqlClaim:
    """See `Claim`; the marks are written when the claim ends."""

    def __init__(self, table: MysqlOutbox, rows: Sequence[OutboxRow]) -> None:
        self._table, self.rows = table, rows

    async def mark(self, marks: Sequence[Mark]) -> None:
        """See `Claim`."""
        await self._table.write(marks)


def _connected(arguments: dict[str, Any], table: str) -> tuple[Connection, Statements]:
    try:
        connection: Connection = pymysql.connect(
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
    except _ERRORS as error:
        raise OutboxError(_described(error)) from error
    try:
        return connection, _inspected(connection, table)
    except BaseException as error:
        _hang_up(connection)
        if isinstance(error, _ERRORS):
            raise OutboxError(_described(error)) from error
        raise


def _inspected(connection: Connection, table: str) -> Statements:
    """Raises OutboxError where rows cannot be claimed."""
    ((version,),) = _ask(connection, "SELECT VERSION()")
    if (reason := outdated(str(version))) is not None:
        raise OutboxError(reason)
    schema, _, name = table.rpartition(".")
    place = (schema or connection.db, name)
    columns = _ask(
        connection,
        "SELECT LOWER(column_name) FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
        place,
    )
    if not columns:
        raise OutboxError(f"the database has no table {table}")
    engines = _ask(
        connection, "SELECT engine FROM information_schema.tables WHERE table_schema = %s AND table_name = %s", place
    )
    if engines != [("InnoDB",)]:
        raise OutboxError(f"{table} is no table of InnoDB: nowhere else can rows be claimed, and two would send them")
    return Statements(table, ("shop_id",) in columns, ("%s", "%s", "%s"), "NOW()")


def outdated(version: str) -> str | None:
    """Why a server of this version will not do; None if it will."""
    numbers = re.search(r"(\d+)\.(\d+)", version.removeprefix("5.5.5-"))  # how old MariaDB disguised itself
    least, name = (MARIADB, "MariaDB") if "mariadb" in version.lower() else (MYSQL, "MySQL")
    if numbers is None or (int(numbers[1]), int(numbers[2])) >= least:
        return None
    return f"the server is {name} {numbers[0]}; expected {least[0]}.{least[1]} or newer, which can skip locked rows"


def _claim(connection: Connection, sql: Statements, after: tuple[Any, ...]) -> list[OutboxRow]:
    """Lock the next rows that nobody else has.

    InnoDB locks every row that it looks at, also those beyond a LIMIT where it has to sort: one worker would have the
    whole table. So we look first, without locks, and then lock by key what was seen and is still due.
    """
    connection.begin()
    look = sql.selection(after=bool(after), columns="created_at, order_id")
    while seen := _ask(connection, look, after):
        locked = _ask(
            connection,
            f"SELECT {sql.columns} FROM {sql.table} WHERE order_id IN %s AND {sql.due} "
            "ORDER BY created_at, order_id FOR UPDATE SKIP LOCKED",
            ([order for _, order in seen],),
        )
        if locked:
            return [row(values) for values in locked]
        after = seen[-1]
        look = sql.selection(after=True, columns="created_at, order_id")
    return []


def _write(connection: Connection, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
    with connection.cursor() as cursor:
        for query, parameters in statements:
            cursor.execute(query, parameters)


def _commit(connection: Connection) -> None:
    connection.commit()


def _ask(connection: Connection, query: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())


def _let_go(connection: Connection) -> None:
    """Of the rows that are claimed: by word, or by hanging up on a server that does not listen."""
    try:
        connection.rollback()
    except _ERRORS:
        _hang_up(connection)


def _hang_up(connection: Connection) -> None:
    if connection.open:
        connection.close()


def _described(error: BaseException) -> str:
    """The server's own words, after its number; they name users, hosts and tables, never a password."""
    text = str(error.args[-1] if error.args else error).splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
