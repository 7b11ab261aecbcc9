"""From LEDGER_URL to a ledger, or to the store behind it."""

from collections.abc import Callable
from pathlib import Path

from consumer.adapters.ledger import Ledger, Store
from consumer.adapters.ledger.absent import NoLedger
from consumer.adapters.ledger.batching import BatchedLedger
from consumer.adapters.ledger.memory import MemoryLedger
from consumer.adapters.ledger.postgres import PostgresStore
from consumer.adapters.ledger.sqlite import SqliteStore
from consumer.supervision import Supervisor

SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")


def open_ledger(url: str, on_error: Callable[[], None] = lambda: None, supervisor: Supervisor | None = None) -> Ledger:
    """The ledger that a checked LEDGER_URL asks for; nothing is opened yet. The rest: see `BatchedLedger`."""
    store = lasting_store(url)
    if store is not None:
        return BatchedLedger(store, on_error, supervisor)
    return NoLedger() if url == "none" else MemoryLedger()


def lasting_store(url: str, *, looks_only: bool = False) -> Store | None:
    """Where the ledger is kept; None if it is kept nowhere that another process could look.

    `looks_only`: it is there already, and is not to be changed.
    """
    if url.startswith(POSTGRES):
        return PostgresStore(url, looks_only=looks_only)
    return SqliteStore(sqlite_path(url), looks_only=looks_only) if url.startswith(SQLITE) else None


def sqlite_path(url: str) -> Path:
    """The file: three slashes and a path from here, or four for one from the root."""
    return Path(url.removeprefix(SQLITE))
