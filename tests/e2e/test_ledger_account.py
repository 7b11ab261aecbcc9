"""Orders that change their key, arrays that become many, lists that are piped: the account closes and ids are whole."""

import json
from pathlib import Path
from typing import Any

import pytest

from consumer.devbroker import PrivateBroker
from consumer.sandbox import DEFAULT_SHOP, Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import command, environment


async def told(environ: dict[str, str], *arguments: str, status: int = 0) -> Any:
    """What a command prints with --json, which may be several lines."""
    code, out, err = await command(environ, *arguments, "--json")
    assert code == status, err
    lines = [json.loads(line) for line in out.splitlines()]
    return lines[0] if len(lines) == 1 else lines


def shops_file(folder: Path, *aliases: str) -> str:
    path = folder / "shops.toml"
    shop = {"id": DEFAULT_SHOP.id, "api_key": DEFAULT_SHOP.api_key, "aliases": list(aliases)}
    path.write_text("[[shops]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in shop.items()))
    return str(path)


async def test_an_order_of_a_shop_that_became_known_is_that_shops_alone(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """Dead under a foreign name, the name made an alias, replayed: list, explain, reconcile and balance agree."""
    (tmp_path / "paid.csv").write_text("orderId,shop\nORD-1,foreign\nORD-2,foreign\n")
    reconciling = ("ledger", "reconcile", str(tmp_path / "paid.csv"), "--shop-column", "shop")
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        del environ["NEUROON_SHOP_ID"], environ["NEUROON_API_KEY"]
        environ["NEUROON_SHOPS_FILE"] = shops_file(tmp_path)
        async with InProcess(environ) as consumer:
            await at_broker.publish(order("ORD-1", shopId="foreign"), order("ORD-2", shopId="foreign"))
            await eventually(lambda: len(consumer.reports) == 2)
        assert {each["state"] for each in await told(environ, "ledger", "list")} == {"dead"}
        shops_file(tmp_path, "foreign")
        found = await told(environ, *reconciling)
        assert (found["dead"], found["neverSeen"]) == (2, 0)
        async with InProcess(environ) as consumer:
            replay = ("dlq", "replay", "--order", "ORD-1", "--yes", "--audit", str(tmp_path / "audit"))
            await told(environ, *replay)
            await eventually(lambda: consumer.outcomes("ORD-1") == ["delivered"])
        listed = {each["orderId"]: (each["shopId"], each["state"]) for each in await told(environ, "ledger", "list")}
        assert listed == {"ORD-1": (DEFAULT_SHOP.id, "delivered"), "ORD-2": ("foreign", "dead")}
        life = await told(environ, "explain", "ORD-1")
        assert (life["shopId"], life["state"]) == (DEFAULT_SHOP.id, "delivered")
        assert sorted(line["event"] for line in life["timeline"]) == ["dead", "delivered", "received", "replayed"]
        found = await told(environ, *reconciling)
        assert (found["delivered"], found["dead"], found["neverSeen"]) == (1, 1, 0)
        account = await told(environ, "ledger", "balance")
    assert (account["received"], account["delivered"], account["dead"]) == (2, 1, 1)
    assert (account["difference"], account["disagreements"]) == (0, {})
    by_shop = {each["shopId"]: (each["received"], each["difference"]) for each in account["days"]}
    assert by_shop == {DEFAULT_SHOP.id: (1, 0), "foreign": (1, 0)}


async def test_orders_that_die_again_at_once_are_told_as_dead(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """Replayed for nothing: they are back in the dead letters before the replay is noted, and nobody says they wait."""
    orders = [f"ORD-{number}" for number in range(100)]
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        del environ["NEUROON_SHOP_ID"], environ["NEUROON_API_KEY"]
        environ["NEUROON_SHOPS_FILE"] = shops_file(tmp_path, "another")
        async with InProcess(environ) as consumer:
            await at_broker.publish(*(order(each, shopId="foreign") for each in orders))
            await eventually(lambda: len(consumer.reports) == 100)
            await told(environ, "dlq", "replay", "--all", "--yes", "--audit", str(tmp_path / "audit"))
            await eventually(lambda: len(consumer.reports) == 200)
        assert {each["state"] for each in await told(environ, "ledger", "list")} == {"dead"}
        account = await told(environ, "ledger", "balance")
        lives = [await told(environ, "explain", each) for each in orders[::30]]
    assert (account["received"], account["dead"], account["disagreements"]) == (100, 100, {})
    assert {tuple(line["event"] for line in life["timeline"]) for life in lives} == {
        ("received", "dead", "replayed", "dead")
    }


async def test_the_orders_of_an_array_are_received_one_by_one(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """One message with 30 orders, one of them twice, one refused, one that waits; the array itself is none."""
    orders = [order(f"ORD-{index}") for index in range(27)] + [order("ORD-0"), order("BAD-1"), order("WAIT-1")]
    body = b"[" + b",".join(orders) + b"]"
    # 503, because a 429 would make the whole shop wait, and with it whatever is posted later.
    faults = ["400:order=BAD-1", "503:retry-after=60,order=WAIT-1"]
    async with Sandbox(faults=faults) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        async with InProcess(environ) as consumer:
            await at_broker.publish(body)
            await eventually(lambda: len(consumer.reports) == 30)
        await eventually(lambda: at_broker.is_empty(names.queue))
        account = await told(environ, "ledger", "balance")
    places = {name: account[name] for name in ("received", "delivered", "duplicate", "waiting", "dead")}
    assert places == {"received": 30, "delivered": 27, "duplicate": 1, "waiting": 1, "dead": 1}
    assert (account["difference"], account["disagreements"]) == (0, {})


@pytest.mark.parametrize("columns", [None, "40"])
async def test_ids_come_whole_out_of_a_pipe(
    broker: PrivateBroker, names: Names, tmp_path: Path, columns: str | None
) -> None:
    """`ledger list` and `balance` cut nothing off where stdout is no terminal, however narrow the one of the caller."""
    long = "ORD-" + "x" * 150 + "-END"
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        async with InProcess(environ) as consumer:
            await at_broker.publish(order(long))
            await eventually(lambda: len(consumer.reports) == 1)
        environ |= {} if columns is None else {"COLUMNS": columns}
        _, listed, _ = await command(environ, "ledger", "list")
        _, balance, _ = await command(environ, "ledger", "balance")
    (line,) = [each for each in listed.splitlines() if "ORD-" in each]
    assert [each.strip() for each in line.split("\u2502")][1:4] == [long, DEFAULT_SHOP.id, "delivered"]
    assert "\u2026" not in listed + balance
    assert any(DEFAULT_SHOP.id in each and "difference" not in each for each in balance.splitlines())
