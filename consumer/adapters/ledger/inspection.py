"""Whether a ledger could be used, found out without writing anything or making its tables."""

import os
import sqlite3
import time
from dataclasses import dataclass

import asyncpg

from consumer.adapters.ledger import LedgerDownError, postgresschema, sqliteschema
from consumer.adapters.ledger.opening import POSTGRES, SQLITE, sqlite_path
from consumer.adapters.ledger.session import connect

SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Inspection:
    """`problem` is "" where all is good. `skew`: seconds by which the server's clock is ahead; None without one.

    `reached`: whether there was somebody to answer. `warning`: what is not as it should be, and does no harm yet.
    """

    problem: str
    message: str
    skew: float | None = None
    reached: bool = True
    warning: str = ""


async def inspect(url: str) -> Inspection:
    """Whether the ledger at this checked LEDGER_URL can be reached and written."""
    if url.startswith(POSTGRES):
        return await _postgres(url)
    if url.startswith(SQLITE):
        return _sqlite(url)
    told = (
        "nothing is remembered: a repeat is posted again" if url == "none" else "in memory: forgotten at every restart"
    )
    return Inspection("", told)


def _sqlite(url: str) -> Inspection:
    path = sqlite_path(url)
    folder = path.parent.resolve()
    if not folder.is_dir():
        return Inspection(f"{folder} is no folder", "")
    # SQLite makes files beside the ledger: its journal and its shared memory.
    if not os.access(folder, os.W_OK):
        return Inspection(f"{folder} cannot be written to", "")
    if not path.exists():
        return Inspection("", "does not exist yet; `run` will create it")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=SECONDS)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
            sqliteschema.current_version(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Inspection(f"{type(error).__name__}: {error}", "")
    except LedgerDownError as error:
        return Inspection(str(error), "")
    others = path.stat().st_mode & 0o007
    return Inspection(
        "", "can be written to", warning=f"{path} may be read by everybody; expected 0600" if others else ""
    )


async def _postgres(url: str) -> Inspection:
    try:
        connection = await connect(url, "check", SECONDS)
        try:
            before = time.time()
            now, read_only, may_create = await connection.fetchrow(
                "SELECT extract(epoch FROM clock_timestamp())::float8, current_setting('transaction_read_only') = 'on',"
                " has_schema_privilege(current_schema(), 'CREATE')"
            )
            after = time.time()
            await postgresschema.current_version(connection)
        finally:
            await connection.close(timeout=SECONDS)
    except LedgerDownError as error:
        return Inspection(str(error), "")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        # The texts of these name hosts, users and databases; none quotes the password.
        told = str(error).splitlines()[0][:200] if str(error) else "no answer"
        return Inspection(f"{type(error).__name__}: {told}", "", reached=False)
    if read_only:
        return Inspection("the server takes no writes: it is a standby", "")
    if not may_create:
        return Inspection("the user may not create tables in its schema", "")
    return Inspection("", "can be written to", now - (before + after) / 2)
