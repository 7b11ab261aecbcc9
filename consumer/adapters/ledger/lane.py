"""One SQLite connection in one thread of its own, so that no statement ever holds up the event loop."""

import contextlib
import os
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


MOVED_AWAY = "the ledger's file was moved or replaced; what is at its place now is used from here on"


def connected(path: Path, timeout: float) -> sqlite3.Connection:
    """A connection that reads and writes, and makes a file that is missing."""
    with contextlib.suppress(OSError):  # SQLite itself says what is wrong with the place
        _keep_private(path.resolve())
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
        self._file: _File | None = None
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
            if self._connection is not None and _file(self._path) != self._file:
                self._drop()
                raise LedgerDownError(MOVED_AWAY)
            if self._connection is None:
                self._connection = self._connected()
                self._file = _file(self._path)
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


_File = tuple[int, int]


def _file(path: Path) -> _File | None:
    """Which file is at a place; None for none. SQLite itself goes on writing to one that is somewhere else by now."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _keep_private(path: Path) -> None:
    """Let only those read a ledger who may write to it: orders are nobody else's business. Raises OSError.

    The files that SQLite makes beside it get the same rights. A file that is there is not opened here: its closing
    would end SQLite's own locks on it.
    """
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        return
    for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with contextlib.suppress(FileNotFoundError):
            mode = each.stat().st_mode
            if mode & 0o007:
                each.chmod(mode & 0o660 if mode & 0o020 else mode & 0o600)


def _described(error: Exception) -> str:
    """SQLite's own words for what is wrong: they name tables and columns, never what is in them."""
    return f"{type(error).__name__}: {error}" if isinstance(error, sqlite3.Error) else type(error).__name__
