"""The ledger in PostgreSQL, which any number of consumers may share."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from consumer.adapters.ledger import (
    NOTHING_MOVES,
    Claimed,
    Entry,
    History,
    Key,
    Known,
    LedgerDownError,
    LedgerRefusedError,
    Note,
    Record,
    Span,
    Standing,
    Tally,
    Wanted,
)
from consumer.adapters.ledger import statements as sql
from consumer.adapters.ledger.happening import read_happening
from consumer.adapters.ledger.key import readable, storable
from consumer.adapters.ledger.looking import NONE_YET
from consumer.adapters.ledger.moment import EARLIEST, LATEST
from consumer.adapters.ledger.moved import MOVED, followed, new_keys
from consumer.adapters.ledger.postgresrows import write_lines
from consumer.adapters.ledger.postgresschema import DIALECT, current_version, migrate
from consumer.adapters.ledger.row import read_entry
from consumer.adapters.ledger.schema import READABLE, newest
from consumer.adapters.ledger.session import DOWN, REFUSED, Session, connect, transaction
from consumer.adapters.ledger.sessionlocks import SessionLocks

PRUNED_AT_A_TIME = 5_000
# The account reads every row, about a second for a million.
REPORT_SECONDS = 300.0


class PostgresStore:
    """See `Store`. `url` may carry what libpq knows: sslmode, options and so on.

    With `looks_only` the tables must be there, and nothing is changed, unless an earlier version of ours has left them.
    """

    def __init__(self, url: str, *, looks_only: bool = False) -> None:
        self._url, self._looks_only = url, looks_only
        # A report may read every row: nothing that an order waits for stands behind it.
        self._writing, self._reports = Session(self._connect), Session(self._connect)
        self._locks = SessionLocks(self._connect)
        self._ready = False
        self._migrating: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """See `Store`."""
        if self._ready:
            return
        try:
            await self._bring_up_to_date()
        except BaseException as error:
            self._hang_up()
            if isinstance(error, (*DOWN, ValueError)):
                raise LedgerDownError(_described(error)) from error
            raise
        self._ready = True

    async def _bring_up_to_date(self) -> None:
        """As far as it has to be. Raises LedgerDownError, and what asyncpg and the network raise."""
        async with self._writing.use() as connection:
            version = await current_version(connection)
        if self._looks_only and version is None:
            raise LedgerDownError(NONE_YET)
        if version is None or version < (READABLE if self._looks_only else newest(DIALECT)):
            await self.migrate()

    async def migrate(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """See `Store`. It goes on when the caller is cancelled, and ends with the store."""
        migrating = self._migrating
        if migrating is None or migrating.done():
            migrating = self._migrating = asyncio.create_task(self._migrate(tell))
            # Its error is the next caller's to find again, where nobody waits for it any more.
            migrating.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.shield(migrating)
        except (*DOWN, ValueError) as error:
            raise LedgerDownError(_described(error)) from error

    async def _migrate(self, tell: Callable[[str], None]) -> None:
        """On a connection of its own, since a step may take as long as it takes."""
        connection = await connect(self._url, "ledger migrate", None)
        try:
            await migrate(connection, tell)
        finally:
            connection.terminate()

    async def write(self, lines: Sequence[Record | Note]) -> None:
        """See `Store`."""
        async with self._connection() as connection:
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
        async with self._connection(self._reports) as connection:
            rows = await connection.fetch(
                f"SELECT {_COLUMNS} FROM {sql.TABLE} AS t WHERE order_id = $1 AND ($2::text IS NULL OR shop_id = $2) "
                f"AND {sql.PRESENT} ORDER BY shop_id",
                storable(order),
                None if shop is None else storable(shop),
            )
            return [History(read_entry(row), await _happenings(connection, row[0], row[1])) for row in rows]

    async def entries(self, wanted: Wanted, limit: int) -> list[Entry]:
        """See `Store`."""
        async with self._connection(self._reports) as connection:
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

    async def tallies(self, moving: Span = NOTHING_MOVES) -> list[Tally]:
        """See `Store`."""
        async with self._connection(self._reports) as connection:
            rows = await connection.fetch(
                f"""SELECT shop_id, to_char(to_timestamp({_SEEN}) AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day,
{sql.counts("${}::double precision".format)} FROM {sql.TABLE} AS t
GROUP BY shop_id, day HAVING {sql.COUNTED} > 0 ORDER BY shop_id, day""",
                *moving,
                timeout=REPORT_SECONDS,
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
            async with self._connection() as connection, transaction(connection):
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
        migrating, self._migrating = self._migrating, None
        if migrating is not None:
            migrating.cancel()
            await asyncio.gather(migrating, return_exceptions=True)
        self._hang_up()

    def _hang_up(self) -> None:
        self._writing.close()
        self._reports.close()
        self._locks.close()

    async def _connect(self) -> Any:
        return await connect(self._url, "ledger")

    @asynccontextmanager
    async def _connection(self, session: Session | None = None) -> AsyncIterator[Any]:
        """Of `session`, or of the one that writes."""
        await self.open()
        async with self._errors_as_ours(), (session or self._writing).use() as connection:
            yield connection

    @asynccontextmanager
    async def _errors_as_ours(self) -> AsyncIterator[None]:
        try:
            yield
        except REFUSED as error:
            raise LedgerRefusedError(_described(error)) from error
        except DOWN as error:
            if isinstance(error, asyncpg.UndefinedTableError):
                self._ready = False  # the database was created anew: the next call makes the tables
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


_SEEN = f"""LEAST(GREATEST(COALESCE(t.received_at,
extract(epoch FROM t.created_at::timestamptz)::double precision), {EARLIEST}), {LATEST})"""


def _described(error: BaseException) -> str:
    """The server's own words, first line; its detail, which may quote a row, is left out."""
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
