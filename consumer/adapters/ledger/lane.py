"""One SQLite connection in one thread of its own, so that no statement ever holds up the event loop."""

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from consumer.adapters.jobthread import JobThread
from consumer.adapters.ledger import LedgerDownError, LedgerRefusedError

P = ParamSpec("P")
T = TypeVar("T")

# Another process may be writing; its transaction is one batch, a few milliseconds.
BUSY_SECONDS = 2.0
# Statements differ in their number of rows, up to `sqlite.ROWS`, for three tables.
CACHED_STATEMENTS = 256
# Refused for what is in a row, and not for the state of the file.
_REFUSED = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError, ValueError)


def connected(path: Path, timeout: float) -> sqlite3.Connection:
    """A connection that reads and writes, and makes a file that is missing."""
    return sqlite3.connect(path, timeout=timeout, isolation_level=None, cached_statements=CACHED_STATEMENTS)


class Lane:
    """A connection to the database `path`, opened by the first call. `connect` takes the path and seconds to wait."""

    def __init__(
        self,
        path: Path,
        set_up: Callable[[sqlite3.Connection], None],
        connect: Callable[[Path, float], sqlite3.Connection] = connected,
    ) -> None:
        self._path, self._set_up, self._connect = path, set_up, connect
        self._connection: sqlite3.Connection | None = None
        self._thread = JobThread("ledger")

    async def call(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """What `work` returns, called with the connection. Raises LedgerDownError or LedgerRefusedError.

        Whoever is cancelled here leaves the work to be done all the same.
        """
        return await self._thread.call(partial(self._guarded, work, *arguments, **named))

    async def close(self) -> None:
        """Close the connection and end the thread, which is left behind where it hangs."""
        await self._thread.close(self._drop)

    def _guarded(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        try:
            if self._connection is None:
                self._connection = self._connected()
            return work(self._connection, *arguments, **named)
        except _REFUSED as error:
            self._roll_back()
            raise LedgerRefusedError(_described(error)) from error
        except sqlite3.Error as error:
            self._drop()  # a disk that was full, or a file that was replaced: the next call begins anew
            raise LedgerDownError(_described(error)) from error
        except OSError as error:
            raise LedgerDownError(error.strerror or type(error).__name__) from error

    def _connected(self) -> sqlite3.Connection:
        connection = self._connect(self._path, BUSY_SECONDS)
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _described(error: Exception) -> str:
    """SQLite's own words for what is wrong: they name tables and columns, never what is in them."""
    return f"{type(error).__name__}: {error}" if isinstance(error, sqlite3.Error) else type(error).__name__
