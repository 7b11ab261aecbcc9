"""One connection to PostgreSQL, opened when it is needed and replaced after a failure.

A connection on which a statement failed or did not answer in time is closed and never used again: its server may have
become a standby, its settings may be those of a database that took no writes at the time, or nobody may answer on it
any more. Closing it needs no answer and ends its transaction.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

CONNECT_SECONDS: Final = 5.0
# A batch takes milliseconds; a server that takes longer than this counts as gone.
STATEMENT_SECONDS: Final = 10.0

DOWN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
# The values of a row are refused, and the connection still works. ValueError is raised by asyncpg itself.
REFUSED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, ValueError)

# Fails where a pooler answers: it makes up the process id that it sends at connecting. The simple query protocol
# returns no rows to us, so the answer is an error, which the server's log shows with the comment.
_IS_POOLED = "SELECT 1 / (pg_backend_pid() = {})::int -- neuroon-consumer: fails where there is a pooler, as intended"


async def connect(url: str, name: str, statement_seconds: float | None = STATEMENT_SECONDS) -> Any:
    """A connection whose statements end after `statement_seconds`. Raises one of `DOWN`, or ValueError for the URL.

    A pooler hands each transaction to any of its server connections, where statements that were prepared before are
    missing or, worse, another client's. Behind one, nothing is prepared ahead of its use.
    """
    settings = {"application_name": f"neuroon-consumer {name}"}
    given: dict[str, Any] = {"timeout": CONNECT_SECONDS, "command_timeout": statement_seconds}
    connection = await asyncpg.connect(url, server_settings=settings, **given)
    try:
        await connection.execute(_IS_POOLED.format(connection.get_server_pid()))
    except asyncpg.DivisionByZeroError:
        connection.terminate()
        return await asyncpg.connect(url, server_settings=settings, statement_cache_size=0, **given)
    except BaseException:
        connection.terminate()
        raise
    return connection


@asynccontextmanager
async def transaction(connection: Any, *, commit: bool = True) -> AsyncIterator[None]:
    """A transaction that is committed at the end if it is to be, and rolled back where the values of a row are refused.

    After any other failure it is left open: its session closes the connection, which waits for no answer.
    """
    await connection.execute("BEGIN")
    try:
        yield
    except REFUSED:
        await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT" if commit else "ROLLBACK")


class Session:
    """Lends its connection to one user at a time. `opening` makes a connection."""

    def __init__(self, opening: Callable[[], Awaitable[Any]]) -> None:
        self._opening = opening
        self._connection: Any = None
        self._turn = asyncio.Lock()

    @property
    def open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None and not self._connection.is_closed()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Any]:
        """The connection. Raises what asyncpg and the network raise; all but `REFUSED` closes the connection."""
        async with self._turn:
            if not self.open:
                self._connection = await self._opening()
            try:
                yield self._connection
            except REFUSED:
                raise
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close the connection now, whatever is under way."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
