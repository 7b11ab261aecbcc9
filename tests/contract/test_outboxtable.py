"""One suite for the recipe's table, wherever a shop keeps it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from consumer.adapters.outboxtable import Mark, OutboxError, OutboxTable
from consumer.adapters.outboxtable.opening import open_outbox
from tests.support.shopdatabase import KINDS, Shop, shop_database


@pytest.fixture(params=KINDS)
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_database(request.param, request, tmp_path) as found:
        yield found


@pytest.fixture
async def table(shop: Shop) -> AsyncIterator[OutboxTable]:
    opened = await open_outbox(shop.url)
    yield opened
    await opened.close()


async def fill(shop: Shop, count: int) -> list[str]:
    """Rows of which ten at a time are as old as each other; their orders, the oldest first."""
    orders = [f"ORD-{number:03}" for number in range(count)]
    for number, order in enumerate(orders):
        await shop.put(order, "{}", created_at=f"2026-01-01 00:00:{number // 10:02}")
    return orders


@pytest.mark.parametrize("shop", ["postgres", "mariadb"], indirect=True)
async def test_workers_side_by_side_have_rows_of_their_own(shop: Shop) -> None:
    """Of 250 rows three have 100, 100 and 50, each the oldest that are left; a fourth has none and waits for none."""
    orders = await fill(shop, 250)
    async with AsyncExitStack() as stack:
        held: list[str] = []
        for size in (100, 100, 50, 0):
            worker = await open_outbox(shop.url)
            stack.push_async_callback(worker.close)
            claim = await stack.enter_async_context(worker.claim(None))
            assert len(claim.rows) == size
            held += [row.order for row in claim.rows]
        assert held == orders


async def test_the_shop_may_write_while_rows_are_claimed(shop: Shop, table: OutboxTable) -> None:
    """New orders come in between those that are claimed, and synced ones are changed, without waiting for us."""
    await fill(shop, 150)
    await shop.put("SYNCED", "{}")
    await shop.execute("UPDATE neuroon_conversion_outbox SET synced_at = CURRENT_TIMESTAMP WHERE order_id = 'SYNCED'")
    async with table.claim(None) as claim, asyncio.timeout(10):
        assert len(claim.rows) == 100
        await shop.put("ORD-0005", "{}", created_at="2026-01-01 00:00:00")
        await shop.execute("UPDATE neuroon_conversion_outbox SET attempts = 1 WHERE order_id = 'SYNCED'")
        await shop.execute("UPDATE neuroon_conversion_outbox SET attempts = 4 WHERE order_id = 'ORD-149'")
    assert (await shop.rows())["ORD-149"][0] == 4


async def test_who_fails_lets_go_of_the_rows(shop: Shop) -> None:
    """What was marked in a claim that ended badly is not left half done, and another worker finds every row."""
    orders = await fill(shop, 10)
    first, second = await open_outbox(shop.url), await open_outbox(shop.url)

    async def fail() -> None:
        async with first.claim(None) as claim:
            assert [row.order for row in claim.rows] == orders
            raise RuntimeError("power failure")

    with pytest.raises(RuntimeError, match="power failure"):
        await fail()
    async with second.claim(None) as claim:
        assert [row.order for row in claim.rows] == orders
    for each in (first, second):
        await each.close()


async def test_each_flush_sees_a_row_once(shop: Shop, table: OutboxTable) -> None:
    """Behind the last row come the younger ones, and of those as old the ones with a greater order id."""
    orders = await fill(shop, 105)
    async with table.claim(None) as claim:
        assert [row.order for row in claim.rows] == orders[:100]
        last = claim.rows[-1]
        await claim.mark([Mark(row, "no") for row in claim.rows])
    async with table.claim(last) as claim:
        assert [row.order for row in claim.rows] == orders[100:]
        last = claim.rows[-1]
    async with table.claim(last) as claim:
        assert not claim.rows


async def test_marks_are_the_recipes(shop: Shop, table: OutboxTable) -> None:
    """synced_at, and the rest untouched; or one attempt more, with the first 1,024 letters of why.

    A mark whose answer was lost is written again, and counts once.
    """
    await fill(shop, 3)
    async with table.claim(None) as claim:
        done, failed, changed = claim.rows
        await claim.mark([Mark(done, None), Mark(failed, "\U0001f600 \u00e9 ' \\ %s \0" + "x" * 2000)])
        await claim.mark([Mark(changed, "once"), Mark(changed, "twice")])
    rows = await shop.rows()
    assert rows[done.order] == (0, None, True)
    assert rows[failed.order] == (1, "\U0001f600 \u00e9 ' \\ %s \ufffd" + "x" * 1012, False)
    assert rows[changed.order] == (1, "twice", False)


@pytest.mark.parametrize("kept", ["NULL", "''", "'shop_b'"])
async def test_a_table_may_tell_each_orders_shop(shop: Shop, kept: str) -> None:
    """A column shop_id is read where there is one; an empty one names no shop, and its row is marked all the same."""
    await shop.execute("ALTER TABLE neuroon_conversion_outbox ADD COLUMN shop_id VARCHAR(64)")
    await fill(shop, 1)
    await shop.execute(f"UPDATE neuroon_conversion_outbox SET shop_id = {kept}")  # noqa: S608 - our own texts
    table = await open_outbox(shop.url)
    async with table.claim(None) as claim:
        assert [row.shop for row in claim.rows] == ["shop_b" if kept == "'shop_b'" else None]
        await claim.mark([Mark(row, None) for row in claim.rows])
    await table.close()
    assert (await shop.rows())["ORD-000"][2]


@pytest.mark.parametrize("table", ["nowhere", "elsewhere.neuroon_conversion_outbox"])
async def test_a_table_that_is_not_there_is_named(shop: Shop, table: str) -> None:
    """Before anything is claimed."""
    with pytest.raises(OutboxError, match=table.partition(".")[0]):
        await open_outbox(shop.url, table)
