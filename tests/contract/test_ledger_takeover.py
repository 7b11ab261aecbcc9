"""A shop's large outbox table in a SQLite file becomes the ledger's while the shop goes on writing to it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from consumer.adapters.ledger import LedgerDownError, Wanted, sqlitetakeover
from consumer.adapters.ledger.sqlite import SqliteStore
from tests.support.shopdatabase import RECIPE

pytestmark = pytest.mark.long

ROWS = 500


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the recipe's table, of which every second row is synced, and which is copied in ten batches."""
    monkeypatch.setattr(sqlitetakeover, "BATCH", 50)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute(RECIPE)
        connection.executemany(
            "INSERT INTO neuroon_conversion_outbox (order_id, payload, synced_at) VALUES (?, '{}', ?)",
            [(f"ORD-{number:03}", None if number % 2 else "2026-01-01 10:00:00") for number in range(ROWS)],
        )
        connection.commit()
    return tmp_path / "shop.db"


def between_batches(monkeypatch: pytest.MonkeyPatch, work: Callable[[int], None]) -> None:
    """Call `work` with the number of the batch, in place of each pause."""
    numbers = iter(range(1000))
    monkeypatch.setattr(sqlitetakeover, "pause", lambda: work(next(numbers)))


async def test_a_shop_writes_between_two_batches(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It inserts, changes and deletes rows that are copied already or not yet, without waiting for any lock."""

    def shop(number: int) -> None:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
            table = "neuroon_conversion_outbox"
            connection.execute(f"INSERT INTO {table} (order_id, payload) VALUES ('NEW-{number}', '{{}}')")  # noqa: S608
            for order in (f"ORD-{number:03}", f"ORD-{ROWS - 10 + number:03}"):
                connection.execute(f"UPDATE {table} SET attempts = 4 WHERE order_id = ?", (order,))  # noqa: S608
            for order in (f"ORD-{20 + number:03}", f"ORD-{ROWS - 30 + number:03}"):
                connection.execute(f"DELETE FROM {table} WHERE order_id = ?", (order,))  # noqa: S608

    between_batches(monkeypatch, shop)
    store = SqliteStore(path)
    await store.open()
    found = {entry.order: entry for entry in await store.entries(Wanted(), 1000)}
    await store.close()
    deleted = {f"ORD-{first + number:03}" for first in (20, ROWS - 30) for number in range(10)}
    kept = {f"ORD-{number:03}" for number in range(ROWS)} - deleted
    assert found.keys() == kept | {f"NEW-{number}" for number in range(10)}
    assert {order for order, entry in found.items() if entry.outcome == "delivered"} == {
        order for order in kept if int(order[-3:]) % 2 == 0
    }
    changed = {f"ORD-{first + number:03}" for first in (0, ROWS - 10) for number in range(10)}
    assert {order for order, entry in found.items() if entry.attempts == 4} == changed


async def test_a_copy_that_was_ended_in_the_middle_is_gone_on_with(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shop may write meanwhile, and nothing of the copy is left over in the end."""

    def fail(number: int) -> None:
        if number == 3:
            raise OSError("gone")

    between_batches(monkeypatch, fail)
    store = SqliteStore(path)
    with pytest.raises(LedgerDownError):
        await store.open()
    await store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE neuroon_conversion_outbox SET attempts = 1 WHERE order_id = 'ORD-001'")
    between_batches(monkeypatch, lambda _: None)
    store = SqliteStore(path)
    await store.open()
    entries = await store.entries(Wanted(), 1000)
    await store.close()
    assert (len(entries), sum(entry.attempts for entry in entries)) == (ROWS, 1)
    with closing(sqlite3.connect(path)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'neuroon%'")}
    assert names == {
        "neuroon_conversion_outbox",
        "neuroon_outbox_unsynced",
        "neuroon_order_happenings",
        "neuroon_schema",
    }
