"""A shop's large outbox table in a SQLite file, copied ahead of the transaction that makes it the ledger's.

SQLite lets one connection write at a time, and a shop's insert gives up after some seconds of waiting. So the rows are
copied by thousands, with pauses in which others write, and triggers keep what is copied like what it was copied from.
The last transaction (`002_ledger.sql`) then has little to do. Whoever is ended in the middle leaves the copy and the
triggers, with which the next goes on; of several at the same time, one makes the table the ledger's, and the others
find that done.
"""

import sqlite3
import time
from typing import Final

from consumer.adapters.ledger.schema import migrations

BATCH: Final = 5_000
PAUSE_SECONDS: Final = 0.05

_TAKEN_OVER = 2
_COLUMNS = "order_id, payload, attempts, last_error, created_at, synced_at"
_INTO = f"INTO neuroon_ledger_new ({_COLUMNS}, outcome, outcome_at)"


def _values(prefix: str) -> str:
    """The columns of a copy, of a row that is called `prefix`."""
    columns = ", ".join(f"{prefix}.{name}" for name in _COLUMNS.split(", "))
    delivered = f"CASE WHEN {prefix}.synced_at IS NOT NULL THEN 'delivered' END"
    return f"{columns}, {delivered}, CAST(strftime('%s', {prefix}.synced_at) AS REAL)"


_FORGET = "DELETE FROM neuroon_ledger_new WHERE order_id = old.order_id;"
_COPY = f"INSERT OR REPLACE {_INTO} VALUES ({_values('new')});"
_TRIGGERS = {"insert": _COPY, "update": f"{_FORGET} {_COPY}", "delete": _FORGET}
_INDEX = """CREATE INDEX IF NOT EXISTS neuroon_outbox_unsynced ON neuroon_ledger_new (created_at, order_id)
WHERE synced_at IS NULL AND payload IS NOT NULL"""


def copy_ahead(connection: sqlite3.Connection) -> None:
    """Copy the rows of the shop's table, if there are many. Raises sqlite3.Error.

    To be called where the table is the shop's still.
    """
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'neuroon_conversion_outbox'").fetchone() is None:
        return
    if connection.execute(f"SELECT 1 FROM neuroon_conversion_outbox LIMIT 1 OFFSET {BATCH}").fetchone() is None:
        return
    _begin(connection)
    if _is_ledger(connection):
        return
    (last,) = connection.execute("SELECT MAX(rowid) FROM neuroon_conversion_outbox").fetchone()
    for first in range(0, last, BATCH):
        connection.execute(
            f"INSERT OR IGNORE {_INTO} SELECT {_values('t')} FROM neuroon_conversion_outbox AS t "
            "WHERE rowid > ? AND rowid <= ?",
            (first, first + BATCH),
        )
        pause()


def pause() -> None:
    """Let others write."""
    time.sleep(PAUSE_SECONDS)


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        (takeover,) = (each for each in migrations("sqlite") if each.version == _TAKEN_OVER)
        if not _is_ledger(connection):
            connection.execute(takeover.statements[0])
            connection.execute(_INDEX)
            for event, body in _TRIGGERS.items():
                connection.execute(
                    f"CREATE TRIGGER IF NOT EXISTS neuroon_copy_{event} AFTER {event} ON neuroon_conversion_outbox "
                    f"BEGIN {body} END"
                )
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _is_ledger(connection: sqlite3.Connection) -> bool:
    """Whether another process has taken the table over by now."""
    return any(each[1] == "shop_id" for each in connection.execute("PRAGMA table_info(neuroon_conversion_outbox)"))
