"""The recipe's outbox table, flushed by the command, in the databases that shops keep it in."""

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from consumer.adapters.ledger.sqlite import SqliteStore
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.program import command, environment
from tests.support.shopdatabase import KINDS, RECIPE, Shop, shop_database


@pytest.fixture(params=KINDS)
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_database(request.param, request, tmp_path) as found:
        yield found


def payload(order: str, **changes: object) -> dict[str, object]:
    """What the recipe stores: the body of the POST."""
    line = {"productId": "SKU-1", "searchLogId": "log_1", "quantity": 1, "lineTotal": 9.99}
    return {"orderId": order, "orderValue": 9.99, "currency": "EUR", "conversions": [line]} | changes


async def flush(environ: dict[str, str], *arguments: str) -> dict[str, int]:
    code, out, err = await command(environ, "outbox", "flush", "--json", *arguments)
    assert code == 0, err
    return dict(json.loads(out.splitlines()[-1]))


async def test_the_table_is_left_as_the_recipe_leaves_it(shop: Shop, names: Names, tmp_path: Path) -> None:
    """300 rows, a tenth refused or failing, by two workers at once: none is sent twice."""
    for number in range(300):
        await shop.put(f"ORD-{number}", payload(f"ORD-{number}"), created_at=f"2026-01-01 00:{number // 60:02}:00")
    async with Sandbox(faults=["503:order=ORD-1*,times=1", "400:order=ORD-29*"]) as sandbox:
        environ = environment("amqp://unused", names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        environ["OUTBOX_URL"] = shop.url
        await asyncio.gather(flush(environ), flush(environ))
        failing = {f"ORD-{number}" for number in range(300) if str(number).startswith("1")}
        refused = {f"ORD-{number}" for number in range(300) if str(number).startswith("29")}
        rows = await shop.rows()
        assert all(rows[order] == (0, None, True) for order in rows.keys() - failing - refused)
        assert all(rows[order][0] >= 1 and "503" in str(rows[order][1]) for order in failing)
        assert all(rows[order][0] >= 1 and not rows[order][2] and "400" in str(rows[order][1]) for order in refused)
        for _ in range(5):
            await flush(environ)
        rows = await shop.rows()
        assert all(rows[order][2] for order in rows.keys() - refused)
        assert {rows[order][0] for order in refused} == {5}
        posts = Counter(each.order_id for each in sandbox.book.requests)
        assert all(posts[order] == 5 for order in refused)
        assert {each.posts for each in sandbox.orders} == {1}
        assert await flush(environ) == {"rows": 0, "synced": 0, "failed": 0}


async def test_oldest_first_and_only_what_is_due(shop: Shop, names: Names, tmp_path: Path) -> None:
    """Rows with five attempts are left alone; events may be stored as well as payloads; what is broken says why."""
    await shop.put("GIVEN-UP", payload("GIVEN-UP"), attempts=5)
    await shop.put("YOUNG", payload("YOUNG"), created_at="2026-02-01 00:00:00")
    await shop.put("OLD", payload("OLD"), created_at="2025-02-01 00:00:00")
    event = {"orderId": "EVENT", "orderValue": 5, "currency": "EUR", "neuroonClicks": {"A": "log_2"}}
    await shop.put("EVENT", event | {"lines": [{"productId": "A", "quantity": 1, "unitPrice": 5}]})
    no_search = [{"productId": "A", "quantity": 1, "lineTotal": 5}]
    await shop.put("FORGOTTEN", payload("FORGOTTEN", conversions=no_search))
    await shop.put("NEGATIVE", payload("NEGATIVE", orderValue=-1))
    async with Sandbox() as sandbox:
        environ = environment("amqp://unused", names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        (tmp_path / "url").write_text(f"{shop.url}\n")
        one = environ | {"OUTBOX_URL_FILE": str(tmp_path / "url")}
        assert await flush(one, "--limit", "1") == {"rows": 1, "synced": 1, "failed": 0}
        assert [each.order_id for each in sandbox.orders] == ["OLD"]
        assert await flush(environ, "--url", shop.url) == {"rows": 4, "synced": 2, "failed": 2}
        assert {each.order_id for each in sandbox.orders} == {"OLD", "YOUNG", "EVENT"}
    rows = await shop.rows()
    assert rows["GIVEN-UP"] == (5, None, False)
    assert rows["FORGOTTEN"] == (1, "no product has a searchLogId", False)
    assert rows["NEGATIVE"][0] == 1
    assert "orderValue" in str(rows["NEGATIVE"][1])


async def test_an_order_that_came_as_an_event_before_is_not_posted_again(
    shop: Shop, names: Names, tmp_path: Path
) -> None:
    """The ledger knows it: the row is synced without a POST."""
    await shop.put("ORD-1", payload("ORD-1"))
    async with Sandbox() as sandbox:
        environ = environment("amqp://unused", names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        await flush(environ, "--url", shop.url)
        await shop.execute("UPDATE neuroon_conversion_outbox SET synced_at = NULL")
        assert await flush(environ, "--url", shop.url) == {"rows": 1, "synced": 1, "failed": 0}
        assert [each.posts for each in sandbox.orders] == [1]


async def test_an_order_that_is_in_two_rows_is_posted_once(shop: Shop, names: Names, tmp_path: Path) -> None:
    """Its payload stands under a second key, in the same hundred rows or later: both are synced, one is posted."""
    for number in range(120):
        await shop.put(f"ROW-{number}", payload(f"ORD-{number % 60 if number < 100 else number % 100}"))
    async with Sandbox(faults=["delay=20ms"]) as sandbox:
        environ = environment("amqp://unused", names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        assert await flush(environ, "--url", shop.url) == {"rows": 120, "synced": 120, "failed": 0}
        assert {each.order_id: each.posts for each in sandbox.orders} == {f"ORD-{number}": 1 for number in range(60)}


@pytest.mark.parametrize("shop", ["sqlite", "postgres"], indirect=True)
async def test_a_shops_table_becomes_the_ledger_and_keeps_its_rows(shop: Shop, names: Names) -> None:
    """LEDGER_URL may name the database that has the recipe's table: it is taken over, and its rows are flushed."""
    await shop.put("SYNCED", payload("SYNCED"))
    await shop.execute("UPDATE neuroon_conversion_outbox SET synced_at = CURRENT_TIMESTAMP")
    await shop.put("ORD-1", payload("ORD-1"))
    await shop.put("ORD-2", payload("ORD-2"), attempts=1)
    async with Sandbox(faults=["503:order=ORD-2,times=1"]) as sandbox:
        environ = environment("amqp://unused", names, sandbox, LEDGER_URL=shop.url)
        assert await flush(environ) == {"rows": 2, "synced": 1, "failed": 1}
        rows = await shop.rows()
        assert (rows["ORD-1"], rows["SYNCED"][2]) == ((0, None, True), True)
        assert rows["ORD-2"][0] == 2
        await shop.execute(
            "INSERT INTO neuroon_conversion_outbox (order_id, payload) "  # noqa: S608
            f"VALUES ('ORD-3', '{json.dumps(payload('ORD-3'))}')"
        )
        assert await flush(environ) == {"rows": 2, "synced": 2, "failed": 0}
        assert sorted(each.order_id for each in sandbox.orders) == ["ORD-1", "ORD-2", "ORD-3"]
        _, out, _ = await command(environ, "explain", "ORD-2", "--json")
        told = json.loads(out)
        assert told["state"] == "delivered"
        assert [line["event"] for line in told["timeline"]] == ["received", "retry", "delivered"]
        _, out, _ = await command(environ, "ledger", "balance", "--shop", told["shopId"], "--json")
        assert json.loads(out)["difference"] == 0


async def test_a_file_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """As the first numbered file alone left it, with rows in it: everything later is added, nothing is lost."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(RECIPE)
        connection.execute("CREATE TABLE neuroon_schema (version INT PRIMARY KEY, applied_at TIMESTAMP)")
        connection.execute("INSERT INTO neuroon_schema (version) VALUES (1)")
        for order, synced in (("ORD-1", "'2026-01-01 10:00:00'"), ("ORD-2", "NULL")):
            connection.execute(
                "INSERT INTO neuroon_conversion_outbox (order_id, payload, attempts, last_error, synced_at) "  # noqa: S608
                f"VALUES ('{order}', '{{}}', 3, 'HTTP 500', {synced})"
            )
    store = SqliteStore(path)
    await store.open()
    (one,), (two,) = await store.histories("ORD-1"), await store.histories("ORD-2")
    await store.close()
    assert (one.entry.outcome, one.entry.outcome_at, one.entry.attempts) == ("delivered", 1_767_261_600.0, 3)
    assert (two.entry.outcome, two.entry.last_error) == (None, "HTTP 500")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version FROM neuroon_schema ORDER BY version").fetchall() == [
            (1,),
            (2,),
            (3,),
        ]
