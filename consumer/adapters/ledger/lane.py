"""One SQLite connection in one thread of its own, so that no statement ever holds up the event loop.

The thread is a plain one with a queue: a call through a ThreadPoolExecutor takes 40 us of CPU instead of 12, and a busy
consumer makes one for every four orders.
"""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

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
        self._jobs: SimpleQueue[Callable[[], None] | None] | None = None  # the thread's; None: there is none
        self._lock = threading.Lock()

    async def call(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """What `work` returns, called with the connection. Raises LedgerDownError or LedgerRefusedError.

        Whoever is cancelled here leaves the work to be done all the same.
        """
        with self._lock:
            if self._jobs is None:
                self._jobs = SimpleQueue()
                # A disk that hangs keeps nobody from leaving: the process does not wait for a daemon.
                threading.Thread(target=_work, args=(self._jobs,), name="ledger", daemon=True).start()
            jobs = self._jobs
        return await _done(jobs, partial(self._guarded, work, *arguments, **named))

    async def close(self) -> None:
        """Close the connection and end the thread."""
        jobs = self._jobs
        if jobs is not None:
            await _done(jobs, self._drop)
            jobs.put(None)
            self._jobs = None

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


def _work(jobs: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (job := jobs.get()) is not None:
        job()


def _done(jobs: "SimpleQueue[Callable[[], None] | None]", work: Callable[[], T]) -> asyncio.Future[T]:
    """The result of `work`, called by the thread of these jobs."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def job() -> None:
        answer: Callable[[], object]
        try:
            answer = partial(_answer, result, result.set_result, work())
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            answer = partial(_answer, result, result.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(answer)

    jobs.put(job)
    return result


def _answer(result: asyncio.Future[Any], answer: Callable[[Any], None], value: object) -> None:
    if not result.done():
        answer(value)


def _described(error: Exception) -> str:
    """SQLite's own words for what is wrong: they name tables and columns, never what is in them."""
    return f"{type(error).__name__}: {error}" if isinstance(error, sqlite3.Error) else type(error).__name__
