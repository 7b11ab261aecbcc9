"""Looking into a ledger in a SQLite file without changing it, also where it could not be changed.

An operator asks where an order is just when the disk is full or takes no writes. SQLite needs a file in shared memory
beside a ledger in write-ahead mode even to read it, and it may be impossible to make one. While a consumer has the
ledger open that file is there. Without it, and without anything in the write-ahead log, the ledger's own file is all
that there is, and is read as one that nobody changes.
"""

import sqlite3
from pathlib import Path

from consumer.adapters.ledger import LedgerDownError
from consumer.adapters.ledger.schema import READABLE
from consumer.adapters.ledger.sqliteschema import current_version

# What SQLite says, in the byte without the details, where it can make no file beside the ledger's.
_NOTHING_CAN_BE_MADE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL}

NONE_YET = "there is none yet in this database; `run` makes it"


def for_looking(path: Path, timeout: float) -> sqlite3.Connection:
    """A connection that reads. Raises sqlite3.Error."""
    place = path.resolve().as_uri()
    connection = sqlite3.connect(f"{place}?mode=rw", uri=True, timeout=timeout, isolation_level=None)
    try:
        connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF not in _NOTHING_CAN_BE_MADE or _has_log(path):
            raise
        return sqlite3.connect(f"{place}?immutable=1", uri=True, isolation_level=None)
    except BaseException:
        connection.close()
        raise
    return connection


def readable_as_it_is(connection: sqlite3.Connection) -> bool:
    """Whether nothing has to be brought up to date first. Raises LedgerDownError where there is no ledger at all."""
    version = current_version(connection)
    if version is None:
        raise LedgerDownError(NONE_YET)
    return version >= READABLE


def _has_log(path: Path) -> bool:
    """Whether something is written that is not in the ledger's own file yet."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0
