"""`ledger migrate`, and commands that look at a ledger of the last release."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from tests.contract.test_ledger_migration import released, released_file, with_shop_table
from tests.contract.test_ledger_store import empty_database
from tests.support.program import command

SHOP = {"NEUROON_SHOP_ID": "shop_a", "NEUROON_API_KEY": "sk_a"}


async def test_tables_are_made_and_brought_up_to_date_ahead_of_a_start(tmp_path: Path, postgres_url: str) -> None:
    """From nothing and from a shop's table; once it is done there is nothing to do."""
    for url in (
        f"sqlite:///{tmp_path}/ledger.db",
        await empty_database(postgres_url),
        await with_shop_table(postgres_url, 10),
    ):
        code, out, err = await command(SHOP | {"LEDGER_URL": url}, "ledger", "migrate", "--json")
        assert (code, bool(json.loads(out)["steps"])) == (0, True), err
        assert await command(SHOP | {"LEDGER_URL": url}, "ledger", "migrate") == (0, "up to date\n", "")


@pytest.mark.parametrize("url", ["none", "memory://"])
async def test_where_there_is_no_database_there_is_nothing_to_bring_up_to_date(url: str) -> None:
    """One line says so."""
    code, _, err = await command(SHOP | {"LEDGER_URL": url}, "ledger", "migrate")
    assert (code, len(err.splitlines())) == (1, 1)


async def test_a_time_that_no_calendar_has_keeps_nobody_from_looking(tmp_path: Path, postgres_url: str) -> None:
    """An earlier version kept what a header claimed: the year 9999 west of Greenwich, or long before 1970."""
    released_file(tmp_path / "ledger.db")
    server = await empty_database(postgres_url)
    await released(server)
    columns = "shop_id, order_id, outcome, outcome_at, due_at, received_at, received, waiting"
    odd = [
        f"INSERT INTO neuroon_conversion_outbox ({columns}) "  # noqa: S608 - our own texts
        f"VALUES ('shop_a', 'ORD-{number}', 'waiting', {moment}, {moment}, {moment}, 1, 1)"
        for number, moment in enumerate(("253402387139", "-99999999999", "1e300"))
    ]
    odd.append(
        "INSERT INTO neuroon_order_happenings (shop_id, order_id, event, replays, attempt, reason, status, who, "
        "first_at, last_at, due_at, detail) VALUES "
        "('shop_a', 'ORD-0', 'retry', 0, 1, 'unavailable', 503, '', -99999999999, 253402387139, 1e300, '')"
    )
    for url in (f"sqlite:///{tmp_path}/ledger.db", server):
        await change(url, odd)
        environ = SHOP | {"LEDGER_URL": url}
        for arguments in (("ledger", "list"), ("explain", "ORD-0"), ("ledger", "balance", "--shop", "shop_a")):
            code, out, err = await command(environ, *arguments, "--json")
            assert code == 0, err
            assert "ORD-0" in out or json.loads(out)["waiting"] == 3
            assert (await command(environ, *arguments))[0] == 0


async def change(url: str, statements: list[str]) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)
        return
    at_server = await asyncpg.connect(url)
    for statement in statements:
        await at_server.execute(statement)
    await at_server.close()
