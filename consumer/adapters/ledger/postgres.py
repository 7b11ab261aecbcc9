"""The ledger in PostgreSQL, which any number of consumers may share."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from consumer.adapters.ledger import (
    Claimed,
    Entry,
    History,
    Key,
    Known,
    LedgerDownError,
    LedgerRefusedError,
    Note,
    Record,
    Standing,
    Tally,
    Wanted,
)
from consumer.adapters.ledger import statements as sql
from consumer.adapters.ledger.happening import read_happening
from consumer.adapters.ledger.key import readable, storable
from consumer.adapters.ledger.looking import NONE_YET
from consumer.adapters.ledger.moved import MOVED, followed, new_keys
from consumer.adapters.ledger.postgresrows import write_lines
from consumer.adapters.ledger.row import read_entry
from consumer.adapters.ledger.schema import REMEMBER, migrations, newest
from consumer.adapters.ledger.session import DOWN, REFUSED, Session, connect, transaction
from consumer.adapters.ledger.sessionlocks import SessionLocks

PRUNED_AT_A_TIME = 5_000
# "neuroon" in ASCII: whoever migrates holds this advisory lock.
MIGRATION_LOCK = 0x6E6575726F6F6E


class PostgresStore:
    """See `Store`. `url` may carry what libpq knows: sslmode, options and so on.

    With `looks_only` the tables must be there, and nothing is changed, unless an earlier version of ours has left them.
    """

    def __init__(self, url: str, *, looks_only: bool = False) -> None:
        self._url, self._looks_only = url, looks_only
        self._writing, self._reading = Session(self._connect), Session(self._connect)
        self._locks = SessionLocks(self._connect)
        self._ready = False

    async def open(self) -> None:
        """See `Store`."""
        if self._ready:
            return
        try:
            async with self._writing.use() as connection:
                if not (self._looks_only and await _up_to_date(connection)):
                    await migrate(connection)
        except (*DOWN, ValueError) as error:
            raise LedgerDownError(_described(error)) from error
        self._ready = True

    async def write(self, lines: Sequence[Record | Note]) -> None:
        """See `Store`."""
        async with self._connection(self._writing) as connection:
            await write_lines(connection, lines)

    async def delivered(self, keys: Sequence[Key]) -> dict[Key, Known]:
        """See `Store`."""
        async with self._connection() as connection:
            return await _delivered(connection, keys)

    async def claim(self, keys: Sequence[Key], done: Sequence[Key] = ()) -> Claimed:
        """See `Store`.

        Two statements, because one sees what had been committed when it began: a row that it read before it had the
        lock could lack what the lock's last holder wrote. A connection of the pool would need as many for a look-up
        alone, since it is reset when it is given back.
        """
        if not keys and not self._locks.open:
            return Claimed()
        await self.open()
        async with self._errors_as_ours(), self._locks.session() as connection:
            taken, elsewhere = await self._locks.exchange(connection, done, keys)
            known = await _delivered(connection, keys) if keys else {}
        return Claimed(known, taken, elsewhere - known.keys())

    async def standings(self, keys: Sequence[Key]) -> dict[Key, Standing]:
        """See `Store`."""
        async with self._connection() as connection:
            rows = await _among(connection, keys, _COLUMNS, "TRUE")
        entries = {keys[number - 1]: read_entry(row) for number, *row in rows}
        moved = {key: each.reason and readable(each.reason) for key, each in entries.items() if each.outcome == MOVED}
        found = {key: each.standing for key, each in entries.items()}
        return followed(found, moved, await self.standings(list(new_keys(moved))) if moved else {})

    async def histories(self, order: str, shop: str | None = None) -> list[History]:
        """See `Store`."""
        async with self._connection() as connection:
            rows = await connection.fetch(
                f"SELECT {_COLUMNS} FROM {sql.TABLE} AS t WHERE order_id = $1 AND ($2::text IS NULL OR shop_id = $2) "
                f"AND {sql.PRESENT} ORDER BY shop_id",
                storable(order),
                None if shop is None else storable(shop),
            )
            return [History(read_entry(row), await _happenings(connection, row[0], row[1])) for row in rows]

    async def entries(self, wanted: Wanted, limit: int) -> list[Entry]:
        """See `Store`."""
        async with self._connection() as connection:
            rows = await connection.fetch(
                f"""SELECT {_COLUMNS} FROM {sql.TABLE} AS t
WHERE ($1::text IS NULL OR shop_id = $1)
AND ($2::text IS NULL OR outcome = $2) AND ($3::text IS NULL OR reason = $3)
AND ($4::double precision IS NULL OR outcome_at >= $4) AND ($5::double precision IS NULL OR outcome_at <= $5)
AND order_id <> '' AND {sql.PRESENT} ORDER BY outcome_at DESC NULLS LAST, order_id LIMIT $6""",
                None if wanted.shop is None else storable(wanted.shop),
                wanted.state,
                wanted.reason,
                wanted.since,
                wanted.until,
                limit,
            )
        return [read_entry(row) for row in rows]

    async def tallies(self) -> list[Tally]:
        """See `Store`."""
        async with self._connection() as connection:
            rows = await connection.fetch(
                f"""SELECT shop_id, to_char(COALESCE(to_timestamp(received_at), created_at::timestamptz)
AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, {sql.COUNTS}
FROM {sql.TABLE} GROUP BY shop_id, day HAVING {sql.COUNTED} > 0 ORDER BY shop_id, day"""
            )
        return [Tally(readable(shop), *rest) for shop, *rest in rows]

    async def prune(self, before: float, *, dry_run: bool = False) -> int:
        """See `Store`."""
        if dry_run:
            async with self._connection() as connection:
                count = await connection.fetchval(f"SELECT COUNT(*) FROM {sql.TABLE} WHERE {sql.PRUNABLE} $1", before)
                return int(count)
        pruned = 0
        while True:
            async with self._connection(self._writing) as connection, transaction(connection):
                rows = await connection.fetch(
                    f"""DELETE FROM {sql.TABLE} WHERE (order_id, shop_id) IN (SELECT order_id, shop_id FROM {sql.TABLE}
WHERE {sql.PRUNABLE} $1 LIMIT {PRUNED_AT_A_TIME} FOR UPDATE SKIP LOCKED) RETURNING shop_id, order_id""",
                    before,
                )
                await connection.execute(
                    f"""DELETE FROM {sql.HAPPENINGS} AS h USING unnest($1::text[], $2::text[]) AS k (shop, ordered)
WHERE h.shop_id = k.shop AND h.order_id = k.ordered""",
                    [row[0] for row in rows],
                    [row[1] for row in rows],
                )
            if not rows:
                return pruned
            pruned += len(rows)

    async def close(self) -> None:
        """See `Store`."""
        self._ready = False
        self._hang_up()

    def _hang_up(self) -> None:
        self._writing.close()
        self._reading.close()
        self._locks.close()

    async def _connect(self) -> Any:
        return await connect(self._url, "ledger")

    @asynccontextmanager
    async def _connection(self, session: Session | None = None) -> AsyncIterator[Any]:
        """Of `session`, or of the one that reads."""
        await self.open()
        async with self._errors_as_ours(), (session or self._reading).use() as connection:
            yield connection

    @asynccontextmanager
    async def _errors_as_ours(self) -> AsyncIterator[None]:
        try:
            yield
        except REFUSED as error:
            raise LedgerRefusedError(_described(error)) from error
        except DOWN as error:
            if isinstance(error, asyncpg.UndefinedTableError):
                self._ready = False  # somebody made the database anew: the next call makes the tables
            if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                self._hang_up()  # look-ups must not stay with a server that has become a standby either
            raise LedgerDownError(_described(error)) from error


async def _among(connection: Any, keys: Sequence[Key], columns: str, condition: str) -> list[Any]:
    query = f"""SELECT k.number, {columns}
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (shop, ordered, number)
JOIN {sql.TABLE} AS t ON t.shop_id = k.shop AND t.order_id = k.ordered WHERE {condition}"""
    shops, orders = [storable(shop) for shop, _ in keys], [storable(order) for _, order in keys]
    return list(await connection.fetch(query, shops, orders))


async def _delivered(connection: Any, keys: Sequence[Key]) -> dict[Key, Known]:
    rows = await _among(connection, keys, "digest", "t.synced_at IS NOT NULL")
    return {keys[number - 1]: Known(digest) for number, digest in rows}


async def _up_to_date(connection: Any) -> bool:
    """Whether every numbered file has been applied. Raises LedgerDownError where there is no ledger at all."""
    if await connection.fetchval("SELECT to_regclass('neuroon_schema')::text") is None:
        raise LedgerDownError(NONE_YET)
    version = await connection.fetchval("SELECT COALESCE(MAX(version), 0) FROM neuroon_schema")
    return bool(version >= newest("postgres"))


async def migrate(connection: Any) -> None:
    """Apply what is missing. Of several processes that start at once, one does it and the others wait."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
        await connection.execute("SET LOCAL client_min_messages = warning")
        await connection.execute(REMEMBER)
        version = await connection.fetchval("SELECT COALESCE(MAX(version), 0) FROM neuroon_schema")
        for migration in migrations("postgres", after=version):
            for statement in migration.statements:
                await connection.execute(statement)
            await connection.execute("INSERT INTO neuroon_schema (version) VALUES ($1)", migration.version)


async def _happenings(connection: Any, shop: str, order: str) -> tuple[Any, ...]:
    rows = await connection.fetch(
        f"SELECT {sql.HAPPENING_COLUMNS} FROM {sql.HAPPENINGS} WHERE {sql.told_of('${}::text'.format)} "
        "ORDER BY first_at, replays, attempt",
        order,
        shop,
    )
    return tuple(read_happening(row) for row in rows)


_COLUMNS = """t.shop_id, t.order_id, COALESCE(t.outcome, CASE WHEN t.synced_at IS NOT NULL THEN 'delivered' END),
t.reason, t.status, t.attempt, t.attempts, t.milliseconds, t.last_error,
extract(epoch FROM t.created_at::timestamptz)::double precision,
COALESCE(t.outcome_at, extract(epoch FROM t.synced_at::timestamptz)::double precision),
t.received_at, t.unattributed_at, t.due_at, t.event_id, t.delivered, t.duplicate"""


def _described(error: BaseException) -> str:
    """The server's own words, first line; its detail, which may quote a row, is left out."""
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
