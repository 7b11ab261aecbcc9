"""The tables in PostgreSQL: which there are, and bringing them up to date while a shop goes on writing to them.

A step waits for a lock on a table no longer than a moment, because whoever waits for one makes all later writers wait
behind it; then it lets them pass and tries again. Indexes are built beside the writers, and rows are changed by
thousands.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from consumer import __version__
from consumer.adapters.ledger import LedgerDownError
from consumer.adapters.ledger.schema import (
    REMEMBER,
    REMEMBERED_TOO,
    Migration,
    Step,
    Way,
    migrations,
    newest,
    version_of,
)
from consumer.adapters.ledger.session import transaction

DIALECT: Final = "postgres"
# "neuroon" in ASCII: the process that migrates holds this advisory lock.
MIGRATION_LOCK: Final = 0x6E6575726F6F6E
TURN_SECONDS: Final = 0.2
BATCH: Final = 5_000
# A shop's insert waits no longer than that behind us for the table; between two tries it does not wait at all.
LOCK_MILLISECONDS: Final = 500
LOCK_AGAIN_SECONDS: Final = 1.0
LOCK_TRIES: Final = 120

_APPLIED = """SELECT version, (to_jsonb(s) ->> 'needs')::int, to_jsonb(s) ->> 'program'
FROM neuroon_schema AS s ORDER BY version"""

# A shop's own table has to have the recipe's key. An index that was begun and not finished is of no use.
_KEY_TYPE = """SELECT format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass('neuroon_conversion_outbox') AND attname = 'order_id'"""
_UNFINISHED = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid"


async def current_version(connection: Any) -> int | None:
    """The number of the last file that was applied; None where there is no ledger.

    Raises LedgerDownError where the tables need a newer program, and what asyncpg and the network raise.
    """
    if await connection.fetchval("SELECT to_regclass('neuroon_schema')::text") is None:
        return None
    return version_of([tuple(row) for row in await connection.fetch(_APPLIED)], newest(DIALECT))


async def migrate(connection: Any, tell: Callable[[str], None] = lambda _: None) -> None:
    """Apply what is missing; nothing is written where nothing is. Raises as `current_version`.

    Of several processes that start at once, one does it and the others wait. Whoever is ended in the middle leaves the
    rest to the next. `tell` is called with what is about to be done.
    """
    if await current_version(connection) == newest(DIALECT):
        return
    async with _turn(connection):
        version = await current_version(connection)
        if version is None:
            await _at_once(connection, (REMEMBER,))
        if not version:
            await _check_key(connection)
        for migration in migrations(DIALECT, after=version or 0):
            for number, step in enumerate(migration.steps, 1):
                tell(f"schema {migration.version}, step {number} of {len(migration.steps)}, {step.way}")
                await _run(connection, step)
            await _remember(connection, migration)


@asynccontextmanager
async def _turn(connection: Any) -> AsyncIterator[None]:
    """The lock is polled: who waits for one inside of a statement keeps an index from being built concurrently.

    Behind a pooler, which makes up the process id, a lock would stay behind in a session of its own: there steps may
    meet those of another process, and one of the two fails and is tried again.
    """
    ask = "SELECT CASE WHEN pg_backend_pid() = $2 THEN pg_try_advisory_lock($1) END"
    given = MIGRATION_LOCK, connection.get_server_pid()
    while (got := await connection.fetchval(ask, *given)) is False:  # noqa: ASYNC110 - others set no event of ours
        await asyncio.sleep(TURN_SECONDS)
    yield
    if got:
        await connection.execute("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)


async def _check_key(connection: Any) -> None:
    """Raises LedgerDownError for a shop's table that cannot become the ledger's."""
    kind = await connection.fetchval(_KEY_TYPE)
    if kind is not None and not kind.startswith(("character", "text")):
        raise LedgerDownError(
            f"the database has a table neuroon_conversion_outbox whose order_id is {kind}, which cannot become the "
            "ledger's; expected text. Name another database in LEDGER_URL, and this one in OUTBOX_URL"
        )


async def _run(connection: Any, step: Step) -> None:
    match step.way:
        case Way.AT_ONCE:
            await _at_once(connection, step.statements)
        case Way.IN_BATCHES:
            for statement in step.statements:
                await _in_batches(connection, statement)
        case Way.CONCURRENTLY:
            for statement in step.statements:
                await _concurrently(connection, statement)


async def _at_once(connection: Any, statements: tuple[str, ...]) -> None:
    """All in one transaction, tried again for as long as others keep a table from us."""
    for left in reversed(range(LOCK_TRIES)):
        try:
            async with transaction(connection):
                await connection.execute(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
                await connection.execute("SET LOCAL client_min_messages = warning")
                for statement in statements:
                    await connection.execute(statement)
        except asyncpg.LockNotAvailableError:
            await connection.execute("ROLLBACK")
            if not left:
                raise
            await asyncio.sleep(LOCK_AGAIN_SECONDS)
        else:
            return


async def _in_batches(connection: Any, statement: str) -> None:
    lower = ""
    find = "SELECT order_id FROM neuroon_conversion_outbox WHERE order_id >= $1 ORDER BY order_id"
    while True:
        upper = await connection.fetchval(f"{find} OFFSET {BATCH} LIMIT 1", lower)
        last = upper is None
        if last:
            upper = await connection.fetchval("SELECT MAX(order_id) FROM neuroon_conversion_outbox")
        if upper is not None:
            await connection.execute(statement, lower, upper)
        if last:
            return
        lower = upper


async def _concurrently(connection: Any, statement: str) -> None:
    """Outside of a transaction. In an empty table there is nothing to wait for others for."""
    index = re.search(r"IF NOT EXISTS (\w+)", statement)
    if index is not None and await connection.fetchval(_UNFINISHED, index[1]):
        await connection.execute(f"DROP INDEX {index[1]}")
    if not await connection.fetchval("SELECT EXISTS (SELECT 1 FROM neuroon_conversion_outbox)"):
        await _at_once(connection, (statement.replace(" CONCURRENTLY", ""),))
        return
    await connection.execute(statement)


async def _remember(connection: Any, migration: Migration) -> None:
    columns = ", ".join(f"ADD COLUMN IF NOT EXISTS {name} {kind}" for name, kind in REMEMBERED_TOO.items())
    await _at_once(connection, (f"ALTER TABLE neuroon_schema {columns}",))
    await connection.execute(
        "INSERT INTO neuroon_schema (version, needs, program) VALUES ($1, $2, $3) ON CONFLICT (version) DO NOTHING",
        migration.version,
        migration.needs,
        __version__,
    )
