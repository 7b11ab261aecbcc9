"""Orders in hand: of the stores of one place only one has an order, until it lets go of it or dies."""

import asyncio
import itertools
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from consumer.adapters.ledger import Claimed, Key, Known, Store, filelocks, sessionlocks
from consumer.adapters.ledger.opening import lasting_store
from consumer.adapters.ledger.postgres import PostgresStore
from consumer.adapters.ledger.sqlite import SqliteStore
from consumer.core.outcome import Delivered, Retry, RetryReason
from tests.support.eventually import eventually
from tests.support.ledger import record
from tests.support.program import ROOT

ONE = ("shop_a", "ORD-1")
DELIVERED = record("ORD-1", Delivered(200))
FAILED = record("ORD-1", Retry(RetryReason.UNAVAILABLE, 2, 5.0, "answered 503", 503))

HOLDER = """
import asyncio, sys
from consumer.adapters.ledger.opening import lasting_store

async def hold():
    store = lasting_store(sys.argv[1])
    print(len((await store.claim([("shop_a", "ORD-1")])).taken), flush=True)
    await asyncio.Event().wait()

asyncio.run(hold())
"""


async def database(request: pytest.FixtureRequest) -> str:
    """URL of a new database."""
    server = request.getfixturevalue("postgres_url")
    name = f"claims_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return f"{server.rpartition('/')[0]}/{name}"


@pytest.fixture(params=["sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """LEDGER_URL of an empty ledger."""
    return f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else await database(request)


@pytest.fixture
async def stores(place: str) -> AsyncIterator[Callable[[], Store]]:
    """Makes stores of one place, as several processes would."""
    made: list[Store] = []

    def make() -> Store:
        store = lasting_store(place)
        assert store is not None
        made.append(store)
        return store

    yield make
    for each in made:
        await each.close()


@pytest.fixture
def pair(stores: Callable[[], Store]) -> tuple[Store, Store]:
    return stores(), stores()


@contextmanager
def holder(place: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has ORD-1 in hand."""
    started = subprocess.Popen([sys.executable, "-c", HOLDER, place], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


async def test_an_order_in_hand_is_in_no_other_hand(pair: tuple[Store, Store]) -> None:
    """The other one is told so, has what is free, and gets it once it is let go of."""
    one, two = pair
    assert await one.claim([ONE]) == Claimed({}, {ONE})
    assert await two.claim([ONE, ("shop_b", "ORD-1")]) == Claimed({}, {("shop_b", "ORD-1")}, {ONE})
    await one.claim([], [ONE])
    assert await two.claim([ONE]) == Claimed({}, {ONE})
    assert await one.claim([ONE]) == Claimed({}, frozenset(), {ONE})


async def test_an_order_on_record_is_known_in_whosever_hand_it_is(pair: tuple[Store, Store]) -> None:
    """Nobody waits for its being let go of; afterwards it is known as well."""
    one, two = pair
    await one.claim([ONE])
    await one.write([DELIVERED])
    assert await two.claim([ONE]) == Claimed({ONE: Known(b"d" * 32)})
    await one.claim([], [ONE])
    assert (await two.claim([ONE])).known == {ONE: Known(b"d" * 32)}


async def test_an_order_that_was_not_delivered_is_the_next_ones(pair: tuple[Store, Store]) -> None:
    """A failed try is on record, and leaves nothing in hand."""
    one, two = pair
    await one.claim([ONE])
    await one.write([FAILED])
    assert (await two.claim([ONE])).elsewhere == {ONE}
    await one.claim([], [ONE])
    assert (await two.claim([ONE])).taken == {ONE}


async def test_what_is_taken_twice_is_let_go_of_twice(pair: tuple[Store, Store]) -> None:
    """Also when it is taken again in the very call that lets go of it."""
    one, two = pair
    await one.claim([ONE])
    assert (await one.claim([ONE])).taken == {ONE}
    assert (await one.claim([ONE], [ONE])).taken == {ONE}
    await one.claim([], [ONE])
    assert (await two.claim([ONE])).elsewhere == {ONE}
    await one.claim([], [ONE])
    assert (await two.claim([ONE])).taken == {ONE}


async def test_letting_go_of_what_is_not_in_hand_is_harmless(pair: tuple[Store, Store]) -> None:
    """Neither another's order nor one of nobody's changes hands."""
    one, two = pair
    await one.claim([ONE])
    await two.claim([], [ONE, ("shop_a", "ORD-2")])
    await two.claim([("shop_a", "ORD-3")], [ONE])
    assert (await two.claim([ONE])).elsewhere == {ONE}


async def test_a_killed_process_has_nothing_in_hand(place: str, stores: Callable[[], Store]) -> None:
    """kill -9 leaves no order behind."""
    store = stores()
    with holder(place) as other:
        assert other.stdout is not None
        assert (await asyncio.to_thread(other.stdout.readline)).strip() == "1"
        assert (await store.claim([ONE])).elsewhere == {ONE}
        other.kill()

        async def free() -> bool:
            return ONE in (await store.claim([ONE])).taken

        await eventually(free)


async def test_a_closed_store_has_nothing_in_hand(pair: tuple[Store, Store]) -> None:
    """And may be opened again."""
    one, two = pair
    await one.claim([ONE])
    await one.close()
    assert (await two.claim([ONE])).taken == {ONE}
    assert (await one.claim([ONE], [ONE])).elsewhere == {ONE}


async def test_ids_of_any_kind_are_told_apart(pair: tuple[Store, Store]) -> None:
    """NUL, half a character, great length, and the same letters cut elsewhere: each is one order."""
    one, two = pair
    parts = ["", "1", "11", "a\0", "\ud800", "ü", "x" * 512, "x" * 511 + "y", "€" * 512]
    keys: list[Key] = list(itertools.product(parts, parts))
    assert (await one.claim(keys)).taken == set(keys)
    assert (await two.claim(keys)).elsewhere == set(keys)
    await one.claim([], keys[::2])
    assert (await two.claim(keys)).taken == set(keys[::2])


async def test_orders_with_one_number_wait_for_each_other(
    pair: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is all that a hash in common does, and one is not let go of with the other."""
    for module in (filelocks, sessionlocks):
        monkeypatch.setattr(module, "lock_number", lambda _: 42)
    one, two = pair
    both = [ONE, ("shop_a", "ORD-2")]
    assert (await one.claim(both)).taken == set(both)
    await one.claim([], both[:1])
    assert (await two.claim(both)).elsewhere == set(both)
    await one.claim([], both[1:])
    assert (await two.claim(both)).taken == set(both)


async def test_nobody_posts_what_another_has_recorded_meanwhile(stores: Callable[[], Store]) -> None:
    """Four race for 60 orders, as quickly as they can: each is posted by one, however look-up and record fall."""
    racing = [stores() for _ in range(4)]
    await racing[0].open()
    posted: list[str] = []

    async def run(store: Store) -> None:
        for number in range(60):
            key = "shop_a", f"ORD-{number}"
            while True:
                claimed = await store.claim([key])
                if key in claimed.taken and not claimed.known:
                    posted.append(key[1])
                    await store.write([record(key[1], Delivered(200))])
                await store.claim([], list(claimed.taken))
                if key not in claimed.elsewhere:
                    break

    await asyncio.gather(*map(run, racing))
    assert sorted(posted) == sorted(f"ORD-{number}" for number in range(60))


async def test_sqlite_without_a_place_for_locks_works(tmp_path: Path) -> None:
    """Nobody has anything in hand; orders are looked up all the same."""
    (tmp_path / "ledger.db-claims").mkdir()
    store = SqliteStore(tmp_path / "ledger.db")
    await store.write([DELIVERED])
    found = await store.claim([ONE, ("shop_a", "ORD-2")])
    await store.claim([], [("shop_a", "ORD-2")])
    await store.close()
    assert found == Claimed({ONE: Known(b"d" * 32)})


async def test_sqlite_keeps_its_locks_when_the_file_is_opened_elsewhere(tmp_path: Path) -> None:
    """Plain locks of POSIX would be gone once the process closes any descriptor of the file."""
    one, two = SqliteStore(tmp_path / "ledger.db"), SqliteStore(tmp_path / "ledger.db")
    await one.claim([ONE])
    assert (tmp_path / "ledger.db-claims").read_bytes() == b""
    assert (await two.claim([ONE])).elsewhere == {ONE}
    await one.close()
    await two.close()


async def test_who_only_looks_makes_no_file_for_locks(tmp_path: Path) -> None:
    """Commands change nothing."""
    written = SqliteStore(tmp_path / "ledger.db")
    await written.write([DELIVERED])
    await written.close()
    store = SqliteStore(tmp_path / "ledger.db", looks_only=True)
    assert await store.delivered([ONE])
    await store.close()
    assert not (tmp_path / "ledger.db-claims").exists()


@pytest.fixture
async def sessions(request: pytest.FixtureRequest) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    url = await database(request)
    one, two = PostgresStore(url), PostgresStore(url)
    yield one, two
    await one.close()
    await two.close()


async def locks(store: PostgresStore) -> int:
    """How many advisory locks there are in the store's database."""
    async with store._connection() as connection:
        return int(
            await connection.fetchval(
                "SELECT COUNT(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database "
                "WHERE l.locktype = 'advisory' AND d.datname = current_database()"
            )
        )


async def test_no_lock_is_left_in_a_session_of_a_pooler(
    sessions: tuple[PostgresStore, PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells another process than the one behind it: nothing is locked, then or later, and orders are looked up."""
    one, two = sessions
    await one.write([DELIVERED])
    monkeypatch.setattr(asyncpg.Connection, "get_server_pid", lambda _: 1)
    assert await one.claim([ONE, ("shop_a", "ORD-2")]) == Claimed({ONE: Known(b"d" * 32)})
    monkeypatch.undo()
    assert (await one.claim([("shop_a", "ORD-2")])).taken == set()
    assert await locks(two) == 0


async def test_a_server_that_sets_no_locks_is_a_ledger_all_the_same(
    sessions: tuple[PostgresStore, PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room for locks: those that were set are freed, nothing is in hand from then on, and orders are looked up."""
    one, two = sessions
    await one.claim([ONE])
    monkeypatch.setattr(sessionlocks, "_SET_LOCKS", "SELECT no_such_function($1::bigint[], $2::boolean[], $3::int)")
    assert await one.claim([("shop_a", "ORD-2")], [ONE]) == Claimed()
    monkeypatch.undo()
    assert (await one.claim([("shop_a", "ORD-2")])).taken == set()
    assert await locks(two) == 0


async def test_locks_of_postgresql_are_few(sessions: tuple[PostgresStore, PostgresStore]) -> None:
    """The server's room for them is everybody's: what is too many is looked up, and in nobody's hand."""
    one, two = sessions
    keys = [("shop_a", f"ORD-{number}") for number in range(sessionlocks.MOST_LOCKS + 50)]
    claimed = await one.claim(keys)
    assert (claimed.taken, claimed.elsewhere) == (set(keys[:-50]), set())
    assert await locks(two) == sessionlocks.MOST_LOCKS
    assert (await one.claim(keys[-50:], keys[:50])).taken == set(keys[-50:])


async def test_a_lost_session_has_nothing_in_hand(sessions: tuple[PostgresStore, PostgresStore]) -> None:
    """The next call opens another, and lets go of nothing that it has not."""
    one, two = sessions
    await one.claim([ONE])
    async with two._connection() as connection:
        await connection.execute("SELECT pg_terminate_backend($1)", one._locks._connection.get_server_pid())

    async def free() -> bool:
        return ONE in (await two.claim([ONE])).taken

    await eventually(free)
    await eventually(lambda: not one._locks.open)
    assert (await one.claim([ONE], [ONE])).elsewhere == {ONE}
