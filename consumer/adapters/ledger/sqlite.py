"""The ledger in a SQLite file, which several processes on one host may share.

Write-ahead logging lets readers and a writer work at the same time. With `synchronous=NORMAL` a commit survives the
death of the process but perhaps not a power cut, which can take the last moments with it: those orders are then posted
again, and Neuroon drops them. Syncing every commit would cost a disk's latency per batch and gain nothing else.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from consumer.adapters.ledger import (
    NOTHING_MOVES,
    Claimed,
    Entry,
    Happening,
    History,
    Key,
    Known,
    Note,
    Record,
    Span,
    Standing,
    Tally,
    Wanted,
)
from consumer.adapters.ledger import statements as sql
from consumer.adapters.ledger.filelocks import FileLocks
from consumer.adapters.ledger.happening import read_happening
from consumer.adapters.ledger.key import readable, storable
from consumer.adapters.ledger.lane import Lane
from consumer.adapters.ledger.looking import for_looking, readable_as_it_is
from consumer.adapters.ledger.moment import EARLIEST, LATEST, moment
from consumer.adapters.ledger.moved import MOVED, followed, new_keys
from consumer.adapters.ledger.row import read_entry
from consumer.adapters.ledger.schema import newest
from consumer.adapters.ledger.sqliterows import write_lines
from consumer.adapters.ledger.sqliteschema import DIALECT, current_version, migrate

PRUNED_AT_A_TIME = 5_000
DAY = 86_400


class SqliteStore:
    """See `Store`. `path`: the file, made when missing; its folder must be there.

    With `looks_only` it must be there, and is changed in nothing, unless an earlier version of ours has left it.
    """

    def __init__(self, path: Path, *, looks_only: bool = False) -> None:
        self.path, self._looks_only = path, looks_only
        # Two connections, so that an order is looked up while a batch is being written.
        self._writing = Lane(path, _set_up_writer)
        self._reading = Lane(path, _nothing, for_looking) if looks_only else Lane(path, _set_up)
        self._locks = FileLocks(path.with_name(f"{path.name}-claims"))
        self._open = False

    async def open(self) -> None:
        """See `Store`."""
        if self._open:
            return
        if not (self._looks_only and await self._reading.call(readable_as_it_is)):
            await self.migrate()
            await self._reading.call(_nothing)
        self._open = True

    async def migrate(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """See `Store`. The connection that writes does it when it is opened."""
        if await self._reading.call(current_version) != newest(DIALECT):
            tell("all files, a shop's large table by thousands of rows before")
        await self._writing.call(_nothing)

    async def write(self, lines: Sequence[Record | Note]) -> None:
        """See `Store`."""
        await self._writing.call(write_lines, lines)

    async def delivered(self, keys: Sequence[Key]) -> dict[Key, Known]:
        """See `Store`."""
        await self.open()
        return await self._reading.call(_delivered, keys)

    async def claim(self, keys: Sequence[Key], done: Sequence[Key] = ()) -> Claimed:
        """See `Store`.

        The locks are set here and not in the thread of the connection: each call hands the interpreter lock over, and
        a thread beside a busy event loop gets it back only after up to 5 ms.
        """
        self._locks.give_back(done)
        if not keys:
            return Claimed()
        await self.open()
        taken, elsewhere = self._locks.take(keys)
        try:
            known = await self._reading.call(_delivered, keys)
        except BaseException:
            self._locks.give_back(list(taken))
            raise
        return Claimed(known, taken, elsewhere - known.keys())

    async def standings(self, keys: Sequence[Key]) -> dict[Key, Standing]:
        """See `Store`."""
        await self.open()
        return await self._reading.call(_standings, keys)

    async def histories(self, order: str, shop: str | None = None) -> list[History]:
        """See `Store`."""
        await self.open()
        return await self._reading.call(_histories, order, shop)

    async def entries(self, wanted: Wanted, limit: int) -> list[Entry]:
        """See `Store`."""
        await self.open()
        return await self._reading.call(_entries, wanted, limit)

    async def tallies(self, moving: Span = NOTHING_MOVES) -> list[Tally]:
        """See `Store`."""
        await self.open()
        return await self._reading.call(_tallies, moving)

    async def prune(self, before: float, *, dry_run: bool = False) -> int:
        """See `Store`."""
        await self.open()
        if dry_run:
            return await self._reading.call(_count_prunable, before)
        pruned = 0
        while count := await self._writing.call(_prune_some, before):
            pruned += count
        return pruned

    async def close(self) -> None:
        """See `Store`."""
        await self._reading.close()
        await self._writing.close()
        self._locks.close()
        self._open = False


def _nothing(_: sqlite3.Connection) -> None:
    """Only opens the connection."""


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")


def _set_up_writer(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    _set_up(connection)
    migrate(connection)


def _json(keys: Sequence[Key]) -> str:
    return json.dumps([(storable(shop), storable(order)) for shop, order in keys])


# CROSS JOIN: the keys are looked up one by one, whatever SQLite thinks of the table's size.
_AMONG = (
    f"FROM json_each(?) AS k CROSS JOIN {sql.TABLE} AS t "
    "ON t.shop_id = json_extract(k.value, '$[0]') AND t.order_id = json_extract(k.value, '$[1]')"
)


def _delivered(connection: sqlite3.Connection, keys: Sequence[Key]) -> dict[Key, Known]:
    query = f"SELECT k.key, t.digest {_AMONG} WHERE t.synced_at IS NOT NULL"
    return {keys[index]: Known(digest) for index, digest in connection.execute(query, (_json(keys),)).fetchall()}


def _standings(connection: sqlite3.Connection, keys: Sequence[Key]) -> dict[Key, Standing]:
    query = f"SELECT k.key, {_STATE}, COALESCE({_SINCE}, {_CREATED}), t.due_at, t.reason {_AMONG}"
    rows = connection.execute(query, (_json(keys),)).fetchall()
    found = {keys[index]: Standing(state or "waiting", moment(at), moment(due)) for index, state, at, due, _ in rows}
    moved = {keys[index]: shop and readable(shop) for index, state, _, _, shop in rows if state == MOVED}
    return followed(found, moved, _standings(connection, list(new_keys(moved))) if moved else {})


_STATE = "COALESCE(t.outcome, CASE WHEN t.synced_at IS NOT NULL THEN 'delivered' END)"
_SINCE = "COALESCE(t.outcome_at, CAST(strftime('%s', t.synced_at) AS REAL))"
_CREATED = "CAST(strftime('%s', t.created_at) AS REAL)"

_COLUMNS = f"""t.shop_id, t.order_id, {_STATE},
t.reason, t.status, t.attempt, t.attempts, t.milliseconds, t.last_error,
{_CREATED}, {_SINCE}, t.received_at, t.unattributed_at, t.due_at, t.event_id, t.delivered, t.duplicate"""


def _histories(connection: sqlite3.Connection, order: str, shop: str | None) -> list[History]:
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM {sql.TABLE} AS t "
        f"WHERE order_id = ?1 AND (shop_id = ?2 OR ?2 IS NULL) AND {sql.PRESENT} ORDER BY shop_id",
        (storable(order), None if shop is None else storable(shop)),
    ).fetchall()
    return [History(read_entry(row), _happenings(connection, row[0], row[1])) for row in found]


def _happenings(connection: sqlite3.Connection, shop: str, order: str) -> tuple[Happening, ...]:
    rows = connection.execute(
        f"SELECT {sql.HAPPENING_COLUMNS} FROM {sql.HAPPENINGS} WHERE {sql.told_of('?{}'.format)} "
        "ORDER BY first_at, replays, attempt",
        (order, shop),
    )
    return tuple(read_happening(row) for row in rows.fetchall())


def _entries(connection: sqlite3.Connection, wanted: Wanted, limit: int) -> list[Entry]:
    query = f"""SELECT {_COLUMNS} FROM {sql.TABLE} AS t
WHERE (:shop IS NULL OR shop_id = :shop)
AND (:state IS NULL OR outcome = :state) AND (:reason IS NULL OR reason = :reason)
AND (:since IS NULL OR outcome_at >= :since) AND (:until IS NULL OR outcome_at <= :until)
AND order_id <> '' AND {sql.PRESENT} ORDER BY outcome_at DESC, order_id LIMIT :limit"""
    values = {
        "shop": None if wanted.shop is None else storable(wanted.shop),
        "state": wanted.state,
        "reason": wanted.reason,
        "since": wanted.since,
        "until": wanted.until,
        "limit": limit,
    }
    return [read_entry(row) for row in connection.execute(query, values).fetchall()]


def _tallies(connection: sqlite3.Connection, moving: Span) -> list[Tally]:
    seen = f"MIN(MAX(COALESCE(received_at, {_CREATED}), {EARLIEST}), {LATEST})"
    rows = connection.execute(
        f"""SELECT shop_id, CAST({seen} / {DAY} AS INT) AS day, {sql.counts("?{}".format)}
FROM {sql.TABLE} AS t GROUP BY shop_id, day HAVING {sql.COUNTED} > 0 ORDER BY shop_id, day""",
        moving,
    ).fetchall()
    return [Tally(readable(shop), _date(day), *rest) for shop, day, *rest in rows]


def _date(day: int) -> str:
    """The day of that number since 1970."""
    return datetime.fromtimestamp(day * DAY, UTC).date().isoformat()


def _count_prunable(connection: sqlite3.Connection, before: float) -> int:
    found: int = connection.execute(f"SELECT COUNT(*) FROM {sql.TABLE} WHERE {sql.PRUNABLE} ?", (before,)).fetchone()[0]
    return found


def _prune_some(connection: sqlite3.Connection, before: float) -> int:
    connection.execute("BEGIN IMMEDIATE")
    keys = connection.execute(
        f"SELECT order_id, shop_id FROM {sql.TABLE} WHERE {sql.PRUNABLE} ? LIMIT {PRUNED_AT_A_TIME}", (before,)
    ).fetchall()
    for table in (sql.HAPPENINGS, sql.TABLE):
        connection.executemany(f"DELETE FROM {table} WHERE order_id = ? AND shop_id = ?", keys)
    connection.execute("COMMIT")
    return len(keys)
