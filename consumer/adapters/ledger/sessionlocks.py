"""Orders in hand, as advisory locks of one PostgreSQL session: its end, however it comes, lets go of all of them.

Locks are only taken in a session that is known to be ours. A pooler that deals transactions out to sessions would
leave a lock in a session that nobody finds again: the order would count as in somebody's hand for as long as the pooler
keeps that session, and the server's table of locks, which all its users share, would fill. So every statement that
takes locks compares the session's process with the one that was told at connecting, which a pooler makes up.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import structlog

from consumer.adapters.ledger import Key
from consumer.adapters.ledger.locknumber import lock_number

# A server of usual size has room for some 6,400 locks, for all its users: twenty of us do not fill it.
MOST_LOCKS = 256

_POOLED = "the session behind the connection changes: there is a pooler between"

# Row by row, in the order of the arrays: what is let go comes first.
_SET_LOCKS = """SELECT CASE WHEN pg_backend_pid() <> $3 THEN NULL
WHEN taking THEN pg_try_advisory_lock(number) ELSE pg_advisory_unlock(number) END
FROM unnest($1::bigint[], $2::boolean[]) AS k (number, taking)"""

log = structlog.get_logger(__name__)


class SessionLocks:
    """The locks of one store, in a session of its own, which `connect` opens when it is needed.

    One call at a time. Whatever fails within `session` ends it, and nothing is in hand then.
    """

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        self._connect = connect
        self._connection: Any = None
        self._held: Counter[int] = Counter()
        self._usable = True

    @property
    def open(self) -> bool:
        """Whether there is a session."""
        return self._connection is not None and not self._connection.is_closed()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Any]:
        """The connection. Raises what asyncpg and the network raise."""
        if not self.open:
            self._held.clear()
            self._connection = await self._connect()
        try:
            yield self._connection
        except BaseException:
            self.close()
            raise

    async def exchange(self, connection: Any, done: Sequence[Key], keys: Sequence[Key]) -> tuple[set[Key], set[Key]]:
        """Let go of `done`; those of `keys` that are in hand now, and those that another has. Raises as `session`."""
        if not self._usable:
            return set(), set()
        # A session that was lost has let go of its own already.
        back = list((Counter(map(lock_number, done)) & self._held).elements())
        keys = keys[: max(MOST_LOCKS - self._held.total() + len(back), 0)]
        numbers = [lock_number(key) for key in keys]
        if not back and not numbers:
            return set(), set()
        answers = await self._set_locks(connection, back, numbers)
        self._held.subtract(back)
        self._held += Counter(number for number, got in zip(numbers, answers, strict=False) if got)
        taken = {key for key, got in zip(keys, answers, strict=False) if got}
        return taken, {key for key, got in zip(keys, answers, strict=False) if got is False}

    def close(self) -> None:
        """End the session, and with it let go of everything."""
        connection, self._connection = self._connection, None
        self._held.clear()
        if connection is not None:
            connection.terminate()

    async def _set_locks(self, connection: Any, back: Sequence[int], numbers: Sequence[int]) -> list[bool | None]:
        """What became of each of `numbers`: ours, another's, or None for not locked at all."""
        taking = [False] * len(back) + [True] * len(numbers)
        try:
            rows = await connection.fetch(_SET_LOCKS, [*back, *numbers], taking, connection.get_server_pid())
        except asyncpg.PostgresError as error:
            if connection.is_closed():
                raise
            # No room for locks, or a server of another make that has none: orders go on, and others get their room.
            self._do_without(type(error).__name__)
            await connection.execute("SELECT pg_advisory_unlock_all()")
            self._held.clear()
            return []
        answers = [row[0] for row in rows]
        if not all(answers[: len(back)]) or None in answers:
            self._do_without(_POOLED)
        return answers[len(back) :]

    def _do_without(self, why: str) -> None:
        self._usable = False
        log.info("orders are posted without a claim in the ledger", why=why)
