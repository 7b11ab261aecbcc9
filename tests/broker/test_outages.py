"""Outages, held and throttled shops: what they cost the orders, which is nothing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from consumer.core import breaker
from consumer.core import delivery as header
from consumer.devbroker import PrivateBroker
from consumer.sandbox import DEFAULT_SHOP, Sandbox, SandboxShop
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import environment
from tests.support.proxy import Proxy


@asynccontextmanager
async def an_api_that_is_away() -> AsyncIterator[tuple[Sandbox, int]]:
    """A sandbox that is to be started, at this port: until then nothing listens there."""
    sandbox = Sandbox()
    await sandbox.start()
    port = int(sandbox.url.rpartition(":")[2])
    await sandbox.stop()
    try:
        yield sandbox, port
    finally:
        await sandbox.stop()


def posts(sandbox: Sandbox) -> Counter[str]:
    return Counter(seen.order_id for seen in sandbox.book.requests)


def tries(consumer: InProcess) -> Counter[int]:
    return Counter(report.journey.attempt for report in consumer.reports)


# For a test in which no timeout plays a part: longer than a busy machine takes.
PATIENCE = {"CONSUMER_REQUEST_TIMEOUT": "25s", "CONSUMER_SHUTDOWN_GRACE": "30s"}


def _port(sandbox: Sandbox) -> int:
    return int(sandbox.url.rpartition(":")[2])


@pytest.mark.parametrize("fault", ["503", "drop", "delay=3s"])
async def test_an_outage_costs_no_try(broker: PrivateBroker, names: Names, fault: str) -> None:
    """API down for longer than all rungs together: consumption pauses, and afterwards all arrive at their first try."""
    async with Sandbox(faults=[fault]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, CONSUMER_RETRY_DELAYS="50ms,100ms,200ms")
        async with InProcess(environ | {"CONSUMER_REQUEST_TIMEOUT": "1s"}) as consumer:
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(300)))
            await eventually(consumer.app.admission.paused, timeout=15)
            await asyncio.sleep(3)
            assert consumer.app.rabbit.linked
            sandbox.fail()
            await eventually(lambda: len(sandbox.orders) == 300, timeout=20)
            await eventually(lambda: not consumer.app.admission.paused())
        assert set(tries(consumer)) == {1}
        assert await at_broker.dead() == 0


async def test_an_api_that_is_not_there_costs_no_try(broker: PrivateBroker, names: Names) -> None:
    """Nothing listens at the API's address: the very first order already costs no try, and arrives when it is back."""
    async with an_api_that_is_away() as (sandbox, port), desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(consumer.app.admission.paused)
            await sandbox.start(port=port)
            await eventually(lambda: consumer.outcomes("ORD-1")[-1:] == ["delivered"], timeout=20)
            assert set(tries(consumer)) == {1}


async def test_one_order_that_always_fails_stops_nobody(broker: PrivateBroker, names: Names) -> None:
    """It climbs its ladder into the dead letters while the others are delivered."""
    async with Sandbox(faults=["503:order=POISON"]) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            await at_broker.publish(order("POISON"), *(order(f"ORD-{index}") for index in range(50)))
            await eventually(at_broker.dead, timeout=20)
            assert len(sandbox.orders) == 50
            assert consumer.outcomes("POISON") == ["retry", "retry", "dead"]


@pytest.mark.parametrize("count", [1, 3])
async def test_poison_alone_does_not_keep_an_api_down(broker: PrivateBroker, names: Names, count: int) -> None:
    """After an outage only orders are left that Neuroon never takes: they die, and the API counts as up again."""
    async with an_api_that_is_away() as (sandbox, port), desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            poison = [f"POISON-{index}" for index in range(count)]
            await at_broker.publish(*map(order, poison))
            await eventually(consumer.app.admission.paused)
            sandbox.fail("500:order=POISON-*")
            await sandbox.start(port=port)
            await eventually(
                lambda: [consumer.outcomes(each)[-1:] for each in poison] == [["dead"]] * count, timeout=60
            )
            assert not consumer.app.admission.paused()
            assert consumer.app.rabbit.consuming
            await at_broker.publish(order("GOOD"))
            await eventually(lambda: consumer.outcomes("GOOD") == ["delivered"])
        letters = await at_broker.take_dead()
    assert [letter.headers[header.REASON] for letter in letters] == ["exhausted"] * count


async def test_an_outage_that_only_orders_meet_costs_no_try(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API comes back for a GET, while every POST goes on failing: a dozen orders try in turn, and none is charged.

    That they come again and again is nobody's poison while as many as open the breaker are among them.
    """
    monkeypatch.setattr(breaker, "LONGEST_PAUSE", 0.2)
    async with an_api_that_is_away() as (sandbox, port), desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(12)))
            await eventually(consumer.app.admission.paused)
            sandbox.fail("503")
            await sandbox.start(port=port)
            await eventually(lambda: max(posts(sandbox).values(), default=0) >= 3, timeout=120)
            sandbox.fail()
            await eventually(lambda: len(sandbox.orders) == 12, timeout=30)
        assert set(tries(consumer)) == {1}


async def test_an_api_does_not_count_as_down_for_want_of_orders(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back after an outage, and nothing is left to try it with: after a while it counts as up."""
    monkeypatch.setattr(breaker, "WINDOW_SECONDS", 0.3)
    async with an_api_that_is_away() as (sandbox, port), desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1"))
            await eventually(lambda: consumer.app.admission.paused() and not consumer.app.rabbit.consuming)
            await eventually(lambda: at_broker.count(names.queue))
            await at_broker.take(names.queue)
            await sandbox.start(port=port)
            await eventually(lambda: not consumer.app.admission.paused())
            await eventually(lambda: consumer.app.rabbit.consuming)


def shops_file(folder: Path, count: int, wrong: str) -> Path:
    file = folder / "shops.toml"
    keys = {f"shop_{index}": wrong if index == 0 else f"sk_{index}" for index in range(count)}
    file.write_text("".join(f'[[shops]]\nid = "{shop}"\napi_key = "{key}"\n' for shop, key in keys.items()))
    return file


async def test_a_held_and_a_throttled_shop_leave_the_others_alone(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """Of 20 shops one has a wrong key and one is throttled: 18 are delivered at once; after the repair, all are."""
    shops = [SandboxShop(f"shop_{index}", f"sk_{index}") for index in range(20)]
    file = shops_file(tmp_path, 20, "sk_wrong")
    async with Sandbox(shops, ["429:shop=shop_1,retry-after=3,count=1"]) as sandbox:
        async with desk(broker.url, names) as at_broker:
            environ = environment(broker.url, names, sandbox, NEUROON_SHOPS_FILE=str(file))
            del environ["NEUROON_SHOP_ID"], environ["NEUROON_API_KEY"]
            async with InProcess(environ) as consumer:
                events = [order(f"ORD-{index}", shopId=f"shop_{index % 20}") for index in range(400)]
                await at_broker.publish(*events)
                await eventually(lambda: len(sandbox.orders) >= 360, timeout=20)
                assert list(consumer.app.admission.held()) == ["shop_0"]
                asked = Counter(seen.shop_id for seen in sandbox.book.requests if seen.end in {"401", "429"})
                assert asked["shop_1"] == 1  # its next orders did not each learn it anew
                shops_file(tmp_path, 20, "sk_0")
                await eventually(lambda: len(sandbox.orders) == 400, timeout=20)
                assert not consumer.app.admission.held()
            assert set(tries(consumer)) == {1}
            assert await at_broker.dead() == 0


async def test_an_api_that_is_down_does_not_stop_shops_at_another(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """Two base URLs, one of them dead: the other shop is served meanwhile, and the waiting orders afterwards."""
    async with Sandbox([SandboxShop("a", "sk_a")], ["503"]) as down, Sandbox([SandboxShop("b", "sk_b")]) as well:
        file = tmp_path / "shops.toml"
        keys = (("a", down.url), ("b", well.url))
        file.write_text(
            "".join(f'[[shops]]\nid = "{shop}"\napi_key = "sk_{shop}"\napi_url = "{url}"\n' for shop, url in keys)
        )
        environ = environment(broker.url, names, well, NEUROON_SHOPS_FILE=str(file))
        del environ["NEUROON_SHOP_ID"], environ["NEUROON_API_KEY"]
        async with desk(broker.url, names) as at_broker, InProcess(environ) as consumer:
            await at_broker.publish(*(order(f"{shop}-{index}", shopId=shop) for index in range(50) for shop in "ab"))
            await eventually(lambda: len(well.orders) == 50)
            await eventually(consumer.app.admission.paused)
            down.fail()
            await eventually(lambda: len(down.orders) == 50, timeout=20)
            assert set(tries(consumer)) == {1}


async def test_held_for_too_long_is_dead(broker: PrivateBroker, names: Names) -> None:
    """After the longest hold: `exhausted`, with the answer that held it."""
    async with Sandbox([SandboxShop(DEFAULT_SHOP.id, "sk_other")]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, CONSUMER_HOLD_DELAY="100ms", CONSUMER_MAX_HOLD="500ms")
        async with InProcess(environ):
            await at_broker.publish(order("ORD-1"))
            await eventually(at_broker.dead)
        (letter,) = await at_broker.take_dead()
    assert (letter.headers[header.REASON], letter.headers[header.STATUS]) == ("exhausted", 401)


async def test_an_alarm_at_the_broker_pauses_and_ends(own_broker: PrivateBroker, names: Names) -> None:
    """A memory alarm: what must be published waits, consumption pauses, and both go on by themselves."""
    async with Sandbox(faults=["503:order=ORD-2,times=1"]) as sandbox, Proxy(("127.0.0.1", _port(sandbox))) as api:
        api_url = f"http://127.0.0.1:{api.port}"
        environ = environment(own_broker.url, names, NEUROON_API_URL=api_url) | PATIENCE
        async with InProcess(environ) as consumer, desk(own_broker.url, names) as at_broker:
            api.stall()  # the answer, which leads to a publish, must find the alarm raised
            await at_broker.publish(order("ORD-2"))
            await eventually(lambda: consumer.app.rabbit.in_flight)
            await asyncio.to_thread(own_broker.set_memory_alarm, True)
            api.resume()
            await eventually(lambda: consumer.app.rabbit.blocked and not consumer.app.rabbit.consuming)
            await asyncio.to_thread(own_broker.set_memory_alarm, False)
            await eventually(lambda: consumer.app.rabbit.consuming and not consumer.app.rabbit.blocked)
            await eventually(lambda: consumer.outcomes("ORD-2") == ["retry", "delivered"])
        assert [each.posts for each in sandbox.orders] == [1]
