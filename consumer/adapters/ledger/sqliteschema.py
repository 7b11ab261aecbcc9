"""The tables in a SQLite file: which there are, and bringing them up to date."""

import sqlite3
from typing import Final

from consumer import __version__
from consumer.adapters.ledger import LedgerDownError
from consumer.adapters.ledger.schema import REMEMBER, REMEMBERED_TOO, Migration, migrations, newest, version_of
from consumer.adapters.ledger.sqlitetakeover import copy_ahead

DIALECT: Final = "sqlite"
# From this file on the table is the ledger's, and no shop's any more.
TAKEN_OVER: Final = 2


def current_version(connection: sqlite3.Connection) -> int | None:
    """The number of the last file that was applied; None where there is no ledger.

    Raises LedgerDownError where the tables need a newer program, and sqlite3.Error.
    """
    columns = _columns(connection, "neuroon_schema")
    if not columns:
        return None
    needs, program = (name if name in columns else "NULL" for name in REMEMBERED_TOO)
    applied = connection.execute(f"SELECT version, {needs}, {program} FROM neuroon_schema ORDER BY version").fetchall()
    return version_of(applied, newest(DIALECT))


def migrate(connection: sqlite3.Connection) -> None:
    """Apply what is missing; nothing is written where nothing is. Raises as `current_version`.

    Of several processes that start at once, one does it and the others wait.
    """
    version = current_version(connection)
    if version == newest(DIALECT):
        return
    if (version or 0) < TAKEN_OVER:
        _check_key(connection)
        copy_ahead(connection)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        connection.execute(REMEMBER)
        for migration in migrations(DIALECT, after=current_version(connection) or 0):
            for statement in migration.statements:
                connection.execute(statement)
            _remember(connection, migration)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _check_key(connection: sqlite3.Connection) -> None:
    """Raises LedgerDownError for a shop's table that cannot become the ledger's."""
    kind = _columns(connection, "neuroon_conversion_outbox").get("order_id", "TEXT")
    if not any(each in kind.upper() for each in ("CHAR", "TEXT")):
        raise LedgerDownError(
            f"the file has a table neuroon_conversion_outbox whose order_id is {kind}, which cannot become the "
            "ledger's; expected text. Name another file in LEDGER_URL, and this one in OUTBOX_URL"
        )


def _remember(connection: sqlite3.Connection, migration: Migration) -> None:
    columns = _columns(connection, "neuroon_schema")
    for name, kind in REMEMBERED_TOO.items():
        if name not in columns:
            connection.execute(f"ALTER TABLE neuroon_schema ADD COLUMN {name} {kind}")
    connection.execute(
        "INSERT INTO neuroon_schema (version, needs, program) VALUES (?, ?, ?)",
        (migration.version, migration.needs, __version__),
    )


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Type by name; nothing where there is no such table."""
    return {each[1]: each[2] for each in connection.execute(f"PRAGMA table_info({table})").fetchall()}
