"""One suite for every place where the ledger can be kept, the one in memory included."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from consumer.adapters.ledger import Deed, Happening, Known, Note, Record, Standing, Store, Tally, Wanted
from consumer.adapters.ledger.memory import MemoryLedger
from consumer.adapters.ledger.postgres import PostgresStore
from consumer.adapters.ledger.sqlite import SqliteStore
from consumer.core.outcome import Conflict, Dead, DeadReason, Delivered, Duplicate, Retry, RetryReason, Unattributed
from tests.support.ledger import NOON, note, record

DAY = "2026-01-01"
RETRY = Retry(RetryReason.UNAVAILABLE, 2, 5.0, "answered 503", 503)
RETRY_AGAIN = Retry(RetryReason.UNAVAILABLE, 3, 30.0, "read timeout")
HELD = Retry(RetryReason.HELD, 1, 60.0, "the key is refused", 401)
DEAD = Dead(DeadReason.EXHAUSTED, "answered 503", 503)
MALFORMED = Dead(DeadReason.MALFORMED, "currency: expected a code")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryLedger()
    if request.param == "sqlite":
        store = SqliteStore(tmp_path / "ledger.db")
    elif request.param == "postgres":
        store = PostgresStore(await empty_database(request.getfixturevalue("postgres_url")))
    await store.open()
    yield store
    await store.close()


async def empty_database(server: str) -> str:
    """URL of a new database."""
    name = f"ledger_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return f"{server.rpartition('/')[0]}/{name}"


async def standing(store: Store, order: str) -> Standing | None:
    return (await store.standings([("shop_a", order)])).get(("shop_a", order))


async def story(store: Store, order: str) -> list[str]:
    (history,) = await store.histories(order)
    return [each.event for each in history.happenings]


async def test_what_was_delivered_is_known_with_its_digest(store: Store) -> None:
    """Delivered orders are found by shop and id together; nothing else is."""
    await store.write(
        [record("ORD-1", Delivered(200), digest=b"1" * 32), record("ORD-2", RETRY), record("ORD-3", Unattributed())]
    )
    asked = [("shop_a", f"ORD-{number}") for number in range(1, 5)] + [("shop_b", "ORD-1")]
    assert await store.delivered(asked) == {("shop_a", "ORD-1"): Known(b"1" * 32)}


async def test_an_order_that_neuroon_knew_counts_as_delivered(store: Store) -> None:
    """A 409 that means "recorded before" needs no second POST either."""
    await store.write([record("ORD-1", Duplicate(409))])
    assert await store.delivered([("shop_a", "ORD-1")]) == {("shop_a", "ORD-1"): Known(b"d" * 32)}
    assert (await standing(store, "ORD-1")) == Standing("duplicate", NOON)


async def test_an_ordinary_order_is_told_by_its_row_alone(store: Store) -> None:
    """Received, delivered, with status, try and milliseconds; and no happening beside it."""
    await store.write([record("ORD-1", Delivered(201))])
    (history,) = await store.histories("ORD-1", "shop_a")
    entry = history.entry
    assert history.happenings == ()
    assert (entry.shop, entry.order, entry.outcome, entry.status, entry.attempt) == (
        "shop_a",
        "ORD-1",
        "delivered",
        201,
        1,
    )
    assert (entry.received_at, entry.outcome_at, entry.milliseconds) == (NOON - 1, NOON, 12.5)
    assert (entry.attempts, entry.last_error, entry.event_id) == (0, None, "evt-ORD-1")


async def test_the_first_delivery_stays_whatever_comes_later(store: Store) -> None:
    """A duplicate, a conflict and a broken second event change neither the state nor what was delivered."""
    await store.write([record("ORD-1", Delivered(200), digest=b"1" * 32)])
    conflict = Duplicate(None, Conflict("11", "22"))
    await store.write([record("ORD-1", Duplicate(), at=NOON + 10)])
    await store.write([record("ORD-1", conflict, at=NOON + 20, digest=b"2" * 32)])
    await store.write([record("ORD-1", MALFORMED, at=NOON + 30)])
    assert await standing(store, "ORD-1") == Standing("delivered", NOON)
    assert await store.delivered([("shop_a", "ORD-1")]) == {("shop_a", "ORD-1"): Known(b"1" * 32)}
    assert await story(store, "ORD-1") == ["duplicate", "conflict", "dead"]
    (history,) = await store.histories("ORD-1")
    assert history.happenings[1].detail == "delivered as 11, now offered as 22"


async def test_every_end_of_a_try_is_told(store: Store) -> None:
    """Twice retried, dead, replayed by Ada, delivered: in this order, each with why, when and until when."""
    for number, line in enumerate(life("ORD-1")):
        await store.write([line])
        expected = [("waiting", 5.0), ("waiting", 30.0), ("dead", None), ("waiting", None), ("delivered", None)][number]
        found = await standing(store, "ORD-1")
        assert found is not None
        assert (found.state, None if found.due is None else found.due - found.at) == expected
    (history,) = await store.histories("ORD-1")
    assert [each.event for each in history.happenings] == ["retry", "retry", "dead", "replayed"]
    assert history.happenings[0] == Happening(
        "retry", NOON, NOON, 1, 1, 0, "unavailable", 503, 12.5, NOON + 5, "answered 503"
    )
    assert history.happenings[3].who == "ada@desk"
    assert (history.entry.attempts, history.entry.last_error) == (3, "answered 503")


def life(order: str) -> list[Record | Note]:
    return [
        record(order, RETRY),
        record(order, RETRY_AGAIN, at=NOON + 5, attempt=2, fresh=False),
        record(order, DEAD, at=NOON + 35, attempt=3, fresh=False),
        note(order, Deed.REPLAYED, at=NOON + 60),
        record(order, Delivered(200), at=NOON + 61, replays=1, fresh=False),
    ]


async def test_what_happens_again_and_again_is_one_row(store: Store) -> None:
    """An order that is looked at a thousand times while its shop is held does not grow."""
    lines = [record("ORD-1", HELD, at=NOON + number, fresh=not number) for number in range(1000)]
    for start in range(0, 1000, 250):
        await store.write(lines[start : start + 250])
    (history,) = await store.histories("ORD-1")
    (held,) = history.happenings
    assert (held.event, held.times, held.first_at, held.last_at) == ("held", 1000, NOON, NOON + 999)
    assert await standing(store, "ORD-1") == Standing("held", NOON + 999, NOON + 1059)
    assert await store.tallies() == [Tally("shop_a", DAY, received=1, waiting=1)]


async def test_messages_are_counted_by_where_they_are(store: Store) -> None:
    """Per shop and day; what left a retry queue or the dead letters is not counted there any more."""
    await store.write(
        [
            *life("ORD-1"),
            record("ORD-2", Delivered(200)),
            record("ORD-2", Duplicate(), at=NOON + 1),
            record("ORD-3", Unattributed()),
            record("ORD-4", RETRY),
            record("ORD-5", DEAD),
            record("ORD-6", DEAD),
            note("ORD-6", Deed.DISCARDED),
            record("ORD-7", Delivered(200), at=NOON + 86_400),
            record("ORD-8", Delivered(200), shop="shop_b"),
            record(None, MALFORMED, shop=None),
        ]
    )
    assert await store.tallies() == [
        Tally("", DAY, received=1, dead=1),
        Tally("shop_a", DAY, 7, delivered=2, duplicate=1, unattributed=1, waiting=1, dead=1, discarded=1),
        Tally("shop_a", "2026-01-02", 1, delivered=1),
        Tally("shop_b", DAY, 1, delivered=1),
    ]


async def test_a_replay_that_nobody_noted_leaves_the_dead_letters_all_the_same(store: Store) -> None:
    """A travelled message of an order with nothing waiting must have come from the dead letters."""
    await store.write([record("ORD-1", DEAD), record("ORD-1", Delivered(200), replays=1, fresh=False)])
    assert await store.tallies() == [Tally("shop_a", DAY, received=1, delivered=1)]


@pytest.mark.parametrize("again", [DEAD, RETRY], ids=["dead", "waiting"])
async def test_a_replay_that_is_noted_late_changes_nothing_but_the_story(store: Store, again: Dead | Retry) -> None:
    """The replayed order had come to its next end by then: it is where that left it, and due when that said."""
    back = record("ORD-1", again, at=NOON + 11, replays=1, fresh=False)
    await store.write([record("ORD-1", DEAD), back])
    before = await standing(store, "ORD-1"), await store.tallies()
    await store.write([note("ORD-1", Deed.REPLAYED, at=NOON + 10, replays=1)])
    assert (await standing(store, "ORD-1"), await store.tallies()) == before
    assert await story(store, "ORD-1") == ["dead", "replayed", "retry" if again is RETRY else "dead"]


async def test_each_replay_has_its_place_in_the_story(store: Store) -> None:
    """Replayed twice by one person, and dead after the first: in this order."""
    await store.write(
        [
            record("ORD-1", DEAD),
            note("ORD-1", Deed.REPLAYED, at=NOON + 10, replays=1),
            record("ORD-1", DEAD, at=NOON + 11, replays=1, fresh=False),
            note("ORD-1", Deed.REPLAYED, at=NOON + 20, replays=2),
        ]
    )
    assert await story(store, "ORD-1") == ["dead", "replayed", "dead", "replayed"]
    assert await standing(store, "ORD-1") == Standing("waiting", NOON + 20)
    assert await store.tallies() == [Tally("shop_a", DAY, received=1, waiting=1)]


UNKNOWN = Dead(DeadReason.UNKNOWN_SHOP, "no shop of this id")


@pytest.mark.parametrize("noted", ["before", "after", "never"])
async def test_a_dead_order_whose_shop_is_known_now_is_that_shops_alone(store: Store, noted: str) -> None:
    """Replayed, it leaves nothing under the name it died with, whenever its replay is noted; and its story is one."""
    deed = note("ORD-1", Deed.REPLAYED, shop="foreign", at=NOON + 9)
    back = record("ORD-1", Delivered(200), at=NOON + 10, replays=1, fresh=False, formerly=("foreign", "ORD-1"))
    await store.write([record("ORD-1", UNKNOWN, shop="foreign")])
    orders: dict[str, list[Record | Note]] = {"before": [deed, back], "after": [back, deed], "never": [back]}
    for line in orders[noted]:
        await store.write([line])
    assert [(each.shop, each.outcome) for each in await store.entries(Wanted(), 10)] == [("shop_a", "delivered")]
    # Also for whoever asks by the old name, as somebody does who has just replayed it.
    both = [("foreign", "ORD-1"), ("shop_a", "ORD-1")]
    assert await store.standings(both) == dict.fromkeys(both, Standing("delivered", NOON + 10))
    (history,) = await store.histories("ORD-1")
    told = ["dead"] if noted == "never" else ["dead", "replayed"]
    assert (history.entry.shop, [each.event for each in history.happenings]) == ("shop_a", told)
    assert await store.tallies() == [Tally("shop_a", DAY, received=1, delivered=1)]
    assert await store.prune(NOON + 60) == 2
    assert await store.histories("ORD-1") == []


async def test_of_two_that_died_under_a_name_the_other_is_still_dead(store: Store) -> None:
    """One is replayed and delivered; the second stays where it is until its turn comes, and is a duplicate then."""
    await store.write([record("ORD-1", UNKNOWN, shop="foreign", at=NOON + n, message=f"m-{n}") for n in (0, 1)])
    back = record("ORD-1", Delivered(200), at=NOON + 10, fresh=False, formerly=("foreign", "ORD-1"), message="m-2")
    await store.write([note("ORD-1", Deed.REPLAYED, shop="foreign", at=NOON + 9), back])
    one_dead = [Tally("foreign", DAY, 1, dead=1), Tally("shop_a", DAY, 1, delivered=1)]
    assert await store.tallies() == one_dead
    states = {each.shop: each.outcome for each in await store.entries(Wanted(), 10)}
    assert states == {"foreign": "dead", "shop_a": "delivered"}
    # Delivered again by the broker, since its ack was lost: it takes nothing away a second time.
    await store.write([back._replace(outcome=Duplicate(), redelivered=True)])
    assert await store.tallies() == one_dead
    again = back._replace(outcome=Duplicate(), message="m-3", at=NOON + 20)
    await store.write([note("ORD-1", Deed.REPLAYED, shop="foreign", at=NOON + 19), again])
    assert await store.tallies() == [Tally("shop_a", DAY, 2, delivered=1, duplicate=1)]
    assert [each.shop for each in await store.entries(Wanted(), 10)] == ["shop_a"]


async def test_what_could_not_be_read_is_received_by_the_order_that_it_turns_out_to_be(store: Store) -> None:
    """Three that told neither shop nor order, one of them repaired: two are left, and it is counted once."""
    await store.write([record(None, MALFORMED, shop=None, message=f"m-{n}") for n in range(3)])
    await store.write([note(None, Deed.REPLAYED, shop=None)])
    await store.write([record("ORD-1", Delivered(200), fresh=False, formerly=("", ""))])
    assert await store.tallies() == [Tally("", DAY, 2, dead=2), Tally("shop_a", DAY, 1, delivered=1)]


async def test_a_name_that_died_may_be_used_again(store: Store) -> None:
    """The alias is gone once more, and so is the next event for that order: it is dead under its name, visibly."""
    back = record("ORD-1", Delivered(200), at=NOON + 10, fresh=False, formerly=("foreign", "ORD-1"))
    await store.write([record("ORD-1", UNKNOWN, shop="foreign"), back])
    await store.write([record("ORD-1", UNKNOWN, shop="foreign", at=NOON + 20)])
    assert [(each.shop, each.outcome) for each in await store.entries(Wanted(), 10)] == [
        ("foreign", "dead"),
        ("shop_a", "delivered"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "tally"),
    [
        (Delivered(200), Duplicate(), Tally("shop_a", DAY, received=1, delivered=1)),
        (RETRY, Delivered(200), Tally("shop_a", DAY, received=1, delivered=1)),
        (RETRY, RETRY, Tally("shop_a", DAY, received=1, waiting=1)),
        (DEAD, DEAD, Tally("shop_a", DAY, received=1, dead=1)),
        (Duplicate(), Duplicate(), Tally("shop_a", DAY, received=1, duplicate=1)),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_message_that_the_broker_delivers_again_is_counted_once(
    store: Store,
    first: Delivered | Retry | Dead | Duplicate,
    second: Delivered | Retry | Dead | Duplicate,
    tally: Tally,
) -> None:
    """Its ack, or its way into another queue, was lost: the new end takes the place of the old one."""
    await store.write([record("ORD-1", first, message="m-1")])
    for moment in (1, 2):
        again = second if moment == 1 or isinstance(second, Retry | Dead) else Duplicate()
        await store.write([record("ORD-1", again, at=NOON + moment, message="m-1", redelivered=True)])
    assert await store.tallies() == [tally]


async def test_a_copy_that_a_crash_made_is_received_like_any_other(store: Store) -> None:
    """Published to the delay queue, not acknowledged, delivered again: two messages where there was one."""
    await store.write([record("ORD-1", RETRY, message="m-1")])
    await store.write([record("ORD-1", Delivered(200), at=NOON + 1, message="m-1", redelivered=True)])
    await store.write([record("ORD-1", Duplicate(), at=NOON + 5, attempt=2, fresh=False, message="m-2")])
    assert await store.tallies() == [Tally("shop_a", DAY, received=2, delivered=1, duplicate=1)]


async def test_a_message_whose_first_record_is_lost_is_received_with_its_second(store: Store) -> None:
    """What overflowed while the ledger was away does not open the account."""
    await store.write([record("ORD-1", Delivered(200), attempt=2, fresh=False)])
    assert await store.tallies() == [Tally("shop_a", DAY, received=1, delivered=1)]


async def test_another_message_of_the_same_order_is_counted_though_redelivered(store: Store) -> None:
    """A second publication, returned untried by a consumer that stopped, is a duplicate like any other."""
    await store.write([record("ORD-1", Delivered(200), message="m-1")])
    await store.write([record("ORD-1", Duplicate(), at=NOON + 1, message="m-2", redelivered=True)])
    assert await store.tallies() == [Tally("shop_a", DAY, received=2, delivered=1, duplicate=1)]


async def test_what_was_discarded_may_be_imported_again(store: Store) -> None:
    """Export, discard, import: the letter is counted once; one from elsewhere is received by its import."""
    await store.write([record("ORD-1", DEAD), note("ORD-1", Deed.DISCARDED), note("ORD-1", Deed.IMPORTED)])
    await store.write([note("ORD-2", Deed.IMPORTED)])
    assert await store.tallies() == [Tally("shop_a", DAY, received=2, dead=2)]


@pytest.mark.parametrize(
    "order",
    ["nul\0inside", "\ud800", "\ufdd0x", "x" * 512, "\U0001f600" * 512, "a'b\"c\\d", "ñ", "\x7f\x01", "\0", "\\x00"],
)
async def test_every_identifier_can_be_kept_and_found(store: Store, order: str) -> None:
    """NUL, lone surrogates, emoji up to the greatest length; and none is taken for another."""
    other = {"\0": "\\x00", "\\x00": "\0"}.get(order, order + "!")
    await store.write(
        [record(order, Delivered(200), shop=order), record(order, RETRY, shop="shop_a"), record(other, RETRY)]
    )
    assert list(await store.delivered([(order, order), ("shop_a", order), (order, other)])) == [(order, order)]
    (history,) = await store.histories(order, order)
    assert history.entry.order == order or len(order.encode("utf-8", "surrogatepass")) > 1000


async def test_texts_of_any_kind_can_be_kept(store: Store) -> None:
    """A detail may quote what a stranger's server answered."""
    await store.write([record("ORD-1", Dead(DeadReason.REFUSED, "a\0b\ud800" + "x" * 5000, 400))])
    (history,) = await store.histories("ORD-1")
    assert history.happenings[0].detail.startswith("a\ufffdb?xxx")
    assert len(history.happenings[0].detail) == 1024


async def test_orders_are_listed_latest_first(store: Store) -> None:
    """By shop, state, reason and time; no more than asked for."""
    await store.write([record(f"ORD-{number}", Delivered(200), at=NOON + number) for number in range(5)])
    await store.write([record("DEAD-1", DEAD, shop="shop_b", at=NOON + 9), record("WAIT-1", RETRY, at=NOON - 9)])

    async def listed(limit: int = 10, **given: object) -> list[str]:
        return [each.order for each in await store.entries(Wanted(**given), limit)]  # type: ignore[arg-type]

    assert await listed(3) == ["DEAD-1", "ORD-4", "ORD-3"]
    assert await listed(shop="shop_b") == ["DEAD-1"]
    assert await listed(state="waiting") == ["WAIT-1"]
    assert await listed(reason="exhausted") == ["DEAD-1"]
    assert await listed(since=NOON + 3, until=NOON + 4) == ["ORD-4", "ORD-3"]


async def test_only_what_came_to_its_end_is_forgotten(store: Store) -> None:
    """Old orders that wait, or rest in the dead letters, stay; so do young ones. A dry run only counts."""
    await store.write([record("OLD-1", Delivered(200)), record("OLD-2", Unattributed()), record("OLD-3", RETRY)])
    await store.write(
        [record("OLD-4", DEAD), record("OLD-1", Duplicate()), record("NEW-1", Delivered(200), at=NOON + 9)]
    )
    assert await store.prune(NOON + 5, dry_run=True) == 2
    assert await store.prune(NOON + 5) == 2
    assert sorted(each.order for each in await store.entries(Wanted(), 10)) == ["NEW-1", "OLD-3", "OLD-4"]
    assert await store.histories("OLD-1") == []
    assert await store.prune(NOON + 5) == 0


async def test_a_batch_may_hold_one_order_several_times(store: Store) -> None:
    """All of a life at once, for many orders, mixed."""
    lives = [life(f"ORD-{number}") for number in range(100)]
    await store.write([line for step in zip(*lives, strict=True) for line in step])
    assert await store.tallies() == [Tally("shop_a", DAY, received=100, delivered=100)]
    assert await story(store, "ORD-99") == ["retry", "retry", "dead", "replayed"]


async def test_two_shops_may_have_an_order_of_one_id(store: Store) -> None:
    """They are two orders, told one after the other, or one alone."""
    await store.write([record("1", Delivered(200)), record("1", DEAD, shop="shop_b")])
    assert [each.entry.shop for each in await store.histories("1")] == ["shop_a", "shop_b"]
    assert [each.entry.outcome for each in await store.histories("1", "shop_b")] == ["dead"]
    assert await store.histories("2") == []


@pytest.fixture(params=["sqlite", "postgres"])
async def several(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[], Store]]:
    """Makes stores of one place, as several processes would."""
    made: list[Store] = []
    url = "" if request.param == "sqlite" else await empty_database(request.getfixturevalue("postgres_url"))

    def make() -> Store:
        made.append(PostgresStore(url) if url else SqliteStore(tmp_path / "ledger.db"))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def test_several_may_start_at_once(several: Callable[[], Store]) -> None:
    """On nothing at all: one makes the tables, all of them work afterwards."""
    stores = [several() for _ in range(6)]
    await asyncio.gather(*(each.open() for each in stores))
    await asyncio.gather(*(each.write([record(f"ORD-{n}", Delivered(200))]) for n, each in enumerate(stores)))
    assert await stores[0].tallies() == [Tally("shop_a", DAY, received=6, delivered=6)]


async def test_writers_of_the_same_orders_do_not_stop_each_other(several: Callable[[], Store]) -> None:
    """Two write 200 orders in opposite order, 20 times; every message is counted."""
    one, two = several(), several()
    await one.open()
    forth = [record(f"ORD-{number}", Duplicate()) for number in range(200)]
    for _ in range(10):
        await asyncio.gather(one.write(forth), two.write(forth[::-1]))
    assert await one.tallies() == [Tally("shop_a", DAY, received=4000, duplicate=4000)]


async def test_what_was_written_outlives_the_store(several: Callable[[], Store]) -> None:
    """Another one, later, finds it."""
    first = several()
    await first.write([record("ORD-1", Delivered(200))])
    await first.close()
    assert await several().delivered([("shop_a", "ORD-1")]) == {("shop_a", "ORD-1"): Known(b"d" * 32)}
