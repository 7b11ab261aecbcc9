"""The SQL and the ledger in memory say of every sequence of ends the same."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.adapters.ledger import NOTHING_MOVES, Deed, Note, Record, Wanted
from consumer.adapters.ledger import sqlite as inside
from consumer.adapters.ledger.memory import MemoryLedger
from consumer.adapters.ledger.sqliterows import write_lines
from consumer.adapters.ledger.sqliteschema import migrate
from consumer.core.outcome import (
    Conflict,
    Dead,
    DeadReason,
    Delivered,
    Duplicate,
    Outcome,
    Retry,
    RetryReason,
    Unattributed,
)
from tests.support.ledger import NOON, note, record

OUTCOMES: list[Outcome] = [
    Delivered(200),
    Duplicate(),
    Duplicate(409),
    Duplicate(conflict=Conflict("1", "2")),
    Unattributed(),
    Retry(RetryReason.UNAVAILABLE, 2, 5.0, "answered 503", 503),
    Retry(RetryReason.HELD, 1, 60.0, "refused", 401),
    Retry(RetryReason.THROTTLED, 1, None, "too many requests", 429),
    Dead(DeadReason.EXHAUSTED, "answered 503", 503),
    Dead(DeadReason.MALFORMED, "currency"),
]
ORDERS = st.sampled_from(["A", "B"])
SHOPS = st.sampled_from(["shop_a", "foreign", None])
ENDS = st.builds(
    record,
    ORDERS,
    st.sampled_from(OUTCOMES),
    attempt=st.integers(1, 3),
    replays=st.integers(0, 1),
    fresh=st.booleans(),
    digest=st.sampled_from([None, b"1" * 32, b"2" * 32]),
    message=st.sampled_from([None, "m-1", "m-2"]),
    redelivered=st.booleans(),
    outbox=st.booleans(),
    shop=SHOPS,
)
# Put away under another key than they come back under.
KNOWN_BETTER = st.builds(
    record,
    ORDERS,
    st.sampled_from(OUTCOMES),
    fresh=st.just(False),
    message=st.sampled_from([None, "m-1", "m-2"]),
    redelivered=st.booleans(),
    shop=st.just("shop_a"),
    formerly=st.sampled_from([("foreign", "A"), ("foreign", "B"), ("", ""), ("", "A")]),
)
NOTES = st.builds(note, ORDERS, st.sampled_from(Deed), shop=SHOPS, replays=st.integers(0, 2))
LINES = st.lists(st.one_of(ENDS, KNOWN_BETTER, NOTES), max_size=12)


def rising(lines: Sequence[Record | Note]) -> list[Record | Note]:
    """Each a second after the other."""
    moved: list[Record | Note] = []
    for number, line in enumerate(lines):
        moved.append(line._replace(at=NOON + number) if isinstance(line, Record) else replace(line, at=NOON + number))
    return moved


@settings(max_examples=300, deadline=None)
@given(LINES, st.integers(1, 12))
async def test_the_sql_and_the_model_agree(lines: list[Record | Note], batch: int) -> None:
    """Whatever ends and deeds come in whatever order and batches: the same rows, counts and happenings."""
    lines = rising(lines)
    model = MemoryLedger()
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        for start in range(0, len(lines), batch):
            part = lines[start : start + batch]
            await model.write(part)
            write_lines(connection, part)
        everybody = Wanted()
        entries = inside._entries(connection, everybody, 10)
        assert sorted(entries, key=str) == sorted(await model.entries(everybody, 10), key=str)
        for order in ("A", "B"):
            assert inside._histories(connection, order, None) == await model.histories(order)
        keys = [(shop, order) for shop in ("shop_a", "foreign", "") for order in ("A", "B")]
        assert inside._standings(connection, keys) == await model.standings(keys)
        for moving in (NOTHING_MOVES, (NOON + 2, NOON + 6)):
            assert inside._tallies(connection, moving) == await model.tallies(moving)
        assert inside._delivered(connection, [("shop_a", "A"), ("shop_a", "B")]) == await model.delivered(
            [("shop_a", "A"), ("shop_a", "B")]
        )


@settings(max_examples=200, deadline=None)
@given(LINES)
async def test_no_sequence_of_ends_opens_the_account(lines: list[Record | Note]) -> None:
    """Received is what was delivered, waits, is dead and so on, at every moment and whatever happened."""
    model = MemoryLedger()
    for line in rising(lines):
        await model.write([line])
        for tally in await model.tallies():
            ends = tally.delivered + tally.duplicate + tally.unattributed + tally.waiting + tally.dead + tally.discarded
            assert tally.received == ends
