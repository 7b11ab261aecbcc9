"""Looking into a ledger changes nothing, and needs nothing that could be changed."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from consumer.adapters.ledger import LedgerDownError, Wanted
from consumer.adapters.ledger.looking import for_looking
from consumer.adapters.ledger.postgres import PostgresStore
from consumer.adapters.ledger.sqlite import SqliteStore
from consumer.core.outcome import Delivered
from tests.contract.test_ledger_store import empty_database
from tests.support.ledger import record
from tests.support.program import command
from tests.support.shopdatabase import RECIPE

READ_ONLY = "?default_transaction_read_only=on"  # as on a standby


async def filled(store: SqliteStore | PostgresStore) -> None:
    """One order in it, and closed."""
    await store.write([record("ORD-1", Delivered(200))])
    await store.close()


async def orders(store: SqliteStore | PostgresStore) -> list[str]:
    try:
        return [each.order for each in await store.entries(Wanted(), 10)]
    finally:
        await store.close()


async def test_where_nobody_has_made_a_ledger_none_is_made(tmp_path: Path, postgres_url: str) -> None:
    """Neither in an empty file nor in an empty database; a shop's own outbox stays as it is."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(RECIPE)
    url = await empty_database(postgres_url)
    for store in (SqliteStore(path, looks_only=True), PostgresStore(url, looks_only=True)):
        with pytest.raises(LedgerDownError, match="none yet"):
            await orders(store)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall() == [
            ("neuroon_conversion_outbox",)
        ]
    at_server = await asyncpg.connect(url)
    assert await at_server.fetch("SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []
    await at_server.close()


async def test_what_an_earlier_version_left_is_brought_up_to_date(tmp_path: Path) -> None:
    """After an upgrade, whoever looks first need not wait for a consumer's start."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(RECIPE)
        connection.execute("CREATE TABLE neuroon_schema (version INT PRIMARY KEY, applied_at TIMESTAMP)")
        connection.execute("INSERT INTO neuroon_schema (version) VALUES (1)")
        connection.execute("INSERT INTO neuroon_conversion_outbox (order_id, payload) VALUES ('ORD-1', '{}')")
    assert await orders(SqliteStore(path, looks_only=True)) == ["ORD-1"]


async def test_a_file_is_read_where_no_other_can_be_made(tmp_path: Path) -> None:
    """On a disk that is full, or takes no writes: here, the place of SQLite's shared memory is taken."""
    path = tmp_path / "ledger.db"
    await filled(SqliteStore(path))
    (tmp_path / "ledger.db-shm").symlink_to("nowhere/at/all")
    with pytest.raises(LedgerDownError):
        await orders(SqliteStore(path))
    assert await orders(SqliteStore(path, looks_only=True)) == ["ORD-1"]


async def test_half_of_the_truth_is_not_told(tmp_path: Path) -> None:
    """What a killed consumer wrote last is in the log alone: where that cannot be read, nothing is."""
    alive = SqliteStore(tmp_path / "alive.db")
    await alive.write([record("ORD-1", Delivered(200))])
    for end in ("", "-wal"):
        shutil.copy(tmp_path / f"alive.db{end}", tmp_path / f"killed.db{end}")
    await alive.close()
    (tmp_path / "killed.db-shm").symlink_to("nowhere/at/all")
    with pytest.raises(LedgerDownError, match="unable to open"):
        await orders(SqliteStore(tmp_path / "killed.db", looks_only=True))
    (tmp_path / "killed.db-shm").unlink()
    assert await orders(SqliteStore(tmp_path / "killed.db", looks_only=True)) == ["ORD-1"]


def test_what_is_busy_is_not_taken_for_what_cannot_be_written(tmp_path: Path) -> None:
    """A file that somebody has for himself may change while it is read."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE t (x)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            for_looking(path, 0.01)


async def test_the_commands_look_and_only_prune_writes(tmp_path: Path, postgres_url: str) -> None:
    """A server that takes no writes answers all who ask; what would change it is told that it cannot."""
    url = await empty_database(postgres_url)
    await filled(PostgresStore(url))
    (tmp_path / "paid.csv").write_text("orderId\nORD-1\n")
    environ = {"LEDGER_URL": url + READ_ONLY, "NEUROON_SHOP_ID": "shop_a", "NEUROON_API_KEY": "sk_a"}
    for arguments in (
        ("explain", "ORD-1"),
        ("ledger", "list"),
        ("ledger", "balance", "--shop", "shop_a"),
        ("ledger", "reconcile", str(tmp_path / "paid.csv")),
        ("ledger", "prune", "--older-than", "1d", "--dry-run"),
    ):
        code, out, err = await command(environ, *arguments, "--json")
        assert (code, bool(out)) == (0, True), err
    code, _, err = await command(environ, "ledger", "prune", "--older-than", "1ms", "--yes")
    assert (code, "read-only" in err) == (1, True)
