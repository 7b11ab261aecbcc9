"""The ledger's tables come up to date in steps, beside a shop that writes, and refuse programs that are too old."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumer.adapters.ledger import LedgerDownError, Store, Wanted, postgresschema, schema
from consumer.adapters.ledger.opening import lasting_store
from consumer.adapters.ledger.postgres import PostgresStore
from consumer.core.outcome import Delivered
from consumer.doctor.finding import Level
from consumer.doctor.ledger import check_ledger
from tests.contract.test_ledger_store import empty_database
from tests.support.eventually import eventually
from tests.support.ledger import record
from tests.support.shopdatabase import RECIPE

RELEASED = Path(__file__).parents[1] / "ledger/released"

COLUMNS = """SELECT table_name, column_name, data_type, is_nullable, column_default
FROM information_schema.columns WHERE table_name LIKE 'neuroon_%' AND table_name <> 'neuroon_schema' ORDER BY 1, 2"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE tablename IN ('neuroon_conversion_outbox', 'neuroon_order_happenings')"


async def released(url: str) -> None:
    """The tables as the last release left them, in a PostgreSQL."""
    connection = await asyncpg.connect(url)
    await connection.execute((RELEASED / "postgres.sql").read_text())
    await connection.execute(schema.REMEMBER)
    await connection.execute("INSERT INTO neuroon_schema (version) VALUES (1), (2), (3)")
    await connection.close()


def released_file(path: Path) -> None:
    """The same in a SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((RELEASED / "sqlite.sql").read_text())
        connection.execute(schema.REMEMBER)
        connection.execute("INSERT INTO neuroon_schema (version) VALUES (1), (2), (3)")
        connection.commit()


async def shape(url: str) -> tuple[Any, Any]:
    connection = await asyncpg.connect(url)
    columns = [tuple(row) for row in await connection.fetch(COLUMNS)]
    indexes = sorted(row[0] for row in await connection.fetch(INDEXES))
    await connection.close()
    return columns, indexes


async def with_shop_table(postgres_url: str, rows: int) -> str:
    """URL of a database with the recipe's table, of which every second row is synced."""
    url = await empty_database(postgres_url)
    connection = await asyncpg.connect(url)
    await connection.execute(RECIPE)
    await connection.execute(
        "INSERT INTO neuroon_conversion_outbox (order_id, payload, synced_at) "
        "SELECT 'ORD-' || n, '{}', CASE WHEN n % 2 = 0 THEN NOW() END FROM generate_series(1, $1::int) AS n",
        rows,
    )
    await connection.close()
    return url


async def test_the_steps_leave_what_the_last_release_left(postgres_url: str) -> None:
    """The same columns, keys and indexes, from nothing and from a shop's table."""
    old = await empty_database(postgres_url)
    await released(old)
    shops = await with_shop_table(postgres_url, 10)
    fresh = await empty_database(postgres_url)
    for url in (shops, fresh):
        store = PostgresStore(url)
        await store.open()
        await store.close()
        assert await shape(url) == await shape(old)


async def test_a_shop_writes_on_while_its_table_is_taken_over(postgres_url: str) -> None:
    """Its transactions keep the table from us for a while; no insert of another session waits behind us meanwhile."""
    url = await with_shop_table(postgres_url, 12_000)
    slow, quick = await asyncpg.connect(url), await asyncpg.connect(url)
    await quick.execute("SET lock_timeout = '5s'")
    insert = "INSERT INTO neuroon_conversion_outbox (order_id, payload) VALUES ($1, '{}')"
    begun = slow.transaction()
    await begun.start()
    await slow.execute(insert, "SLOW")
    store = PostgresStore(url)
    told: list[str] = []
    migrating = asyncio.create_task(store.migrate(told.append))
    await eventually(lambda: told)
    for number in range(5):
        await quick.execute(insert, f"QUICK-{number}")
    assert not migrating.done()
    await begun.commit()
    await migrating
    assert len(await store.entries(Wanted(state="delivered"), 20_000)) == 6_000
    assert len(await store.histories("QUICK-4")) == len(await store.histories("SLOW")) == 1
    await store.close()
    for each in (slow, quick):
        await each.close()


async def test_whoever_is_ended_in_the_middle_leaves_the_rest_to_the_next(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any step: what was begun is begun again, and no row is lost."""
    steps = sum(len(each.steps) for each in schema.migrations("postgres"))
    monkeypatch.setattr(postgresschema, "BATCH", 7)
    expected = None
    for last in range(steps + 1):
        url = await with_shop_table(postgres_url, 20)
        left = iter(range(last))

        def tell(_: str, left: Any = left) -> None:
            if next(left, None) is None:
                raise KeyError

        store = PostgresStore(url)
        if last < steps:
            with pytest.raises(KeyError):
                await store.migrate(tell)
        await store.open()
        assert len(await store.entries(Wanted(state="delivered"), 100)) == 10
        await store.close()
        expected = expected or await shape(url)
        assert await shape(url) == expected


async def test_an_index_that_was_begun_is_begun_again(postgres_url: str) -> None:
    """A process that dies while one is built leaves it behind, unfinished: PostgreSQL keeps it, and uses it never."""
    url = await with_shop_table(postgres_url, 20)
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE INDEX neuroon_outbox_unsynced ON neuroon_conversion_outbox (created_at)")
    await connection.execute(
        "UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'neuroon_outbox_unsynced'::regclass"
    )
    store = PostgresStore(url)
    await store.open()
    await store.close()
    (made,) = await connection.fetch("SELECT indexdef FROM pg_indexes WHERE indexname = 'neuroon_outbox_unsynced'")
    await connection.close()
    assert "synced_at IS NULL" in made[0]


async def test_a_start_does_not_wait_for_a_long_migration(postgres_url: str) -> None:
    """Who asks for the store gives up after a while; the migration goes on, and the next call finds it done."""
    url = await with_shop_table(postgres_url, 20)
    blocker = await asyncpg.connect(url)
    begun = blocker.transaction()
    await begun.start()
    await blocker.execute("LOCK TABLE neuroon_conversion_outbox IN SHARE MODE")
    store = PostgresStore(url)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await store.open()
    await begun.commit()
    await blocker.close()
    await store.write([record("ORD-1", Delivered(200))])
    await store.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Callable[[str], Any]]:
    """LEDGER_URL of a ledger of the last release, and a way to change it."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.db"
        released_file(path)

        async def change(statement: str) -> Any:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                return connection.execute(statement).fetchall()

        return f"sqlite:///{path}", change
    url = await empty_database(request.getfixturevalue("postgres_url"))
    await released(url)

    async def alter(statement: str) -> Any:
        connection = await asyncpg.connect(url)
        found = await connection.fetch(statement)
        await connection.close()
        return [tuple(row) for row in found]

    return url, alter


async def opened(url: str, *, looks_only: bool = False) -> Store:
    store = lasting_store(url, looks_only=looks_only)
    assert store is not None
    await store.open()
    return store


async def test_a_ledger_of_the_last_release_is_used_as_it_is(old: tuple[str, Callable[[str], Any]]) -> None:
    """Nothing of its tables changes where nothing is missing, and it is written and read."""
    url, ask = old
    store = await opened(url)
    await store.write([record("ORD-1", Delivered(200))])
    assert len(await store.histories("ORD-1")) == 1
    await store.close()
    assert await ask("SELECT version FROM neuroon_schema ORDER BY version") == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("columns", "values", "told"),
    [
        ("version", "99", "knows schema 99"),
        (
            "version, needs, program",
            "99, 98, '7.8.9'",
            "by neuroon-consumer 7.8.9 and needs a program that knows schema 98",
        ),
    ],
)
async def test_a_database_that_needs_a_newer_program_is_refused(
    old: tuple[str, Callable[[str], Any]], columns: str, values: str, told: str
) -> None:
    """With words that say which program made it and what to do; by those who only look, too."""
    url, change = old
    await change("ALTER TABLE neuroon_schema ADD COLUMN needs INT")
    await change("ALTER TABLE neuroon_schema ADD COLUMN program TEXT")
    await change(f"INSERT INTO neuroon_schema ({columns}) VALUES ({values})")  # noqa: S608 - our own texts
    for looks_only in (False, True):
        with pytest.raises(LedgerDownError, match=rf"{told}.*install a newer one"):
            await opened(url, looks_only=looks_only)
    (finding,) = await check_ledger(url)
    assert (finding.level, "upgrading.md" in finding.cure) == (Level.ERROR, True)


async def test_tables_to_which_a_newer_program_has_only_added_are_used(
    old: tuple[str, Callable[[str], Any]],
) -> None:
    """A rolling upgrade, or a way back: what is new has defaults, and the number that is needed is one that we know."""
    url, change = old
    await change("ALTER TABLE neuroon_schema ADD COLUMN needs INT")
    await change("INSERT INTO neuroon_schema (version, needs) VALUES (99, 3)")
    await change("ALTER TABLE neuroon_conversion_outbox ADD COLUMN newer TEXT")
    store = await opened(url)
    await store.write([record("ORD-1", Delivered(200))])
    assert len(await store.histories("ORD-1")) == 1
    await store.close()


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
async def test_a_further_file_is_applied_and_remembered_with_what_it_needs(
    dialect: str, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a ledger of the last release, whose own table of files knows nothing of needs yet."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    if dialect == "sqlite":
        released_file(tmp_path / "ledger.db")
    else:
        url = await empty_database(postgres_url)
        await released(url)
    folder = tmp_path / "sql"
    folder.mkdir()
    for file in schema._folder(dialect).iterdir():
        (folder / file.name).write_text(file.read_text())
    (folder / "004_more.sql").write_text("-- needs: 3\nALTER TABLE neuroon_conversion_outbox ADD COLUMN newer TEXT;\n")
    real = schema._folder

    def more(asked: str) -> Traversable:
        return folder if asked == dialect else real(asked)

    monkeypatch.setattr(schema, "_folder", more)
    store = await opened(url)
    await store.write([record("ORD-1", Delivered(200))])
    await store.close()
    monkeypatch.undo()
    store = await opened(url)  # the program of before
    assert len(await store.histories("ORD-1")) == 1
    await store.close()


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
async def test_a_shops_table_with_another_key_does_not_become_the_ledger(
    dialect: str, tmp_path: Path, postgres_url: str
) -> None:
    """It would have to be written anew; the words name column and type, and nothing is changed."""
    made = RECIPE.replace("VARCHAR(64)", "BIGINT")
    url = f"sqlite:///{tmp_path}/shop.db"
    if dialect == "sqlite":
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            connection.execute(made)
    else:
        url = await empty_database(postgres_url)
        at_server = await asyncpg.connect(url)
        await at_server.execute(made)
        await at_server.close()
    with pytest.raises(LedgerDownError, match=r"order_id is (?i:bigint).*OUTBOX_URL"):
        await opened(url)
