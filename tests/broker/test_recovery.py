"""How fast orders go: after an outage, beside shops in trouble, and at an API that is slow.

The API sets the pace here: an answer takes so long that full speed is as many under way as may be, on any machine.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import structlog

from consumer.admission.gate import Gate
from consumer.core.breaker import Closed
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox, SandboxShop
from consumer.telemetry import PREFIX
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import environment
from tests.support.proxy import Proxy

IN_FLIGHT = 16
LATENCY = "delay=100ms"
SETTINGS = {
    "CONSUMER_CONCURRENCY": str(IN_FLIGHT),
    "CONSUMER_RETRY_DELAYS": "50ms,100ms,200ms",
    "CONSUMER_REQUEST_TIMEOUT": "20s",  # plays no part
    "CONSUMER_SHUTDOWN_GRACE": "25s",
}


def port_of(sandbox: Sandbox) -> int:
    return int(sandbox.url.rpartition(":")[2])


def gate(consumer: InProcess) -> Gate:
    """The way to the only API."""
    (found,) = consumer.app.admission._apis.values()
    return found


def rate(moments: Sequence[float]) -> float:
    """A second, from the first to the last."""
    return (len(moments) - 1) / (moments[-1] - moments[0])


def arrived(sandbox: Sandbox, since: float = 0.0, shops: Iterable[str] = ()) -> list[float]:
    """When the orders of these shops, or of all, came that were recorded."""
    wanted = set(shops)
    seen = (each for each in sandbox.book.requests if each.end == "200" and each.at >= since)
    return sorted(each.at for each in seen if not wanted or each.shop_id in wanted)


async def strike(fault: str, sandbox: Sandbox, api: Proxy) -> None:
    """Nothing listens any more, or every order fails while all other questions are answered."""
    if fault == "gone":
        await api.refuse()
        api.cut()
    else:
        sandbox.fail(fault)


async def mend(sandbox: Sandbox, api: Proxy) -> float:
    """Neuroon is as before; the time at which it is."""
    sandbox.fail(LATENCY)
    await api.accept()
    return time.time()


def metric(consumer: InProcess, name: str) -> float | None:
    return consumer.app.telemetry.registry.get_sample_value(f"neuroon_consumer_{name}")


@pytest.mark.parametrize("fault", ["gone", "503"])
async def test_full_speed_is_back_within_five_seconds(broker: PrivateBroker, names: Names, fault: str) -> None:
    """After an outage through which an order could have climbed all rungs many times: no try, no dead letter either.

    It lasts until the pauses between two questions are as long as they get. Metric, readiness and two log lines tell.
    """
    async with Sandbox(faults=[LATENCY]) as sandbox, Proxy(("127.0.0.1", port_of(sandbox))) as api:
        environ = environment(broker.url, names, NEUROON_API_URL=f"http://127.0.0.1:{api.port}") | SETTINGS
        with structlog.testing.capture_logs() as told:
            async with desk(broker.url, names) as at_broker, InProcess(environ) as consumer:
                await at_broker.publish(*(order(f"BEFORE-{index}") for index in range(100)))
                await eventually(lambda: len(consumer.reports) == 100)
                await strike(fault, sandbox, api)
                await at_broker.publish(*(order(f"ORD-{index}") for index in range(1000)))
                await eventually(lambda: getattr(gate(consumer).state, "trips", 0) >= 5, timeout=60)
                assert metric(consumer, "api_paused") == 1
                parts = consumer.app._ready()
                assert parts["api"].message.startswith("down: http://127.0.0.1")
                assert all(each.ok for each in parts.values())
                back = await mend(sandbox, api)
                way = gate(consumer)
                await eventually(lambda: isinstance(way.state, Closed) and way.under_way == IN_FLIGHT)
                assert time.time() - back < 5
                await eventually(lambda: len(sandbox.orders) == 1100, timeout=60)
                assert metric(consumer, "api_paused") == 0
                assert {report.journey.attempt for report in consumer.reports} == {1}
                assert await at_broker.dead() == 0
    changes = [line["event"] for line in told if str(line["event"]).startswith("API")]
    assert (changes[0], changes[-1]) == ("API down, consumption pauses", "API up")
    assert changes.count("API up") == 1


def shops_file(folder: Path, keys: dict[str, str]) -> str:
    file = folder / "shops.toml"
    file.write_text("".join(f'[[shops]]\nid = "{shop}"\napi_key = "{key}"\n' for shop, key in keys.items()))
    return str(file)


def of_many(broker: PrivateBroker, names: Names, sandbox: Sandbox, file: str, **more: str) -> dict[str, str]:
    """Settings with the shops of a file."""
    environ = environment(broker.url, names, sandbox, NEUROON_SHOPS_FILE=file) | SETTINGS | more
    del environ["NEUROON_SHOP_ID"], environ["NEUROON_API_KEY"]
    return environ


async def test_eighteen_shops_lose_no_speed_to_two_in_trouble(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """One has a wrong key, one is throttled for long, and their orders come in between: less than 5 %.

    After the repair all arrive, and none has used a try. The best of three is taken: a machine does other things, too.
    """
    keys = {f"shop_{number}": f"sk_{number}" for number in range(20)}
    well = list(keys)[2:]
    file = shops_file(tmp_path, keys | {"shop_0": "sk_wrong"})
    shops = [SandboxShop(shop, key) for shop, key in keys.items()]
    # Looked at as rarely as in earnest: where that is every 200 ms, it is the looking that takes the speed.
    seldom = {"CONSUMER_HOLD_DELAY": "10s", "CONSUMER_RETRY_DELAYS": "10s"}
    async with Sandbox(shops, ["429:shop=shop_1,retry-after=10,count=1", LATENCY]) as sandbox:
        async with desk(broker.url, names) as at_broker:
            async with InProcess(of_many(broker, names, sandbox, file, **seldom)) as consumer:

                async def rate_of_the_well(name: str, among: Sequence[str]) -> float:
                    begun, count = time.time(), 18 * 12
                    pairs = [(each, number) for number in range(12) for each in among]
                    await at_broker.publish(*(order(f"{name}-{each}-{n}", shopId=each) for each, n in pairs))
                    await eventually(lambda: len(arrived(sandbox, begun, well)) == count, timeout=60)
                    return rate(arrived(sandbox, begun, well))

                shares: list[float] = []
                while len(shares) < 3 and max(shares, default=0.0) < 0.95:
                    alone = await rate_of_the_well(f"ALONE-{len(shares)}", well)
                    shares.append(await rate_of_the_well(f"MIXED-{len(shares)}", list(keys)) / alone)
                assert max(shares) >= 0.95, shares
                assert list(consumer.app.admission.held()) == ["shop_0"]
                refused = [each.end for each in sandbox.book.requests if each.shop_id == "shop_1"]
                assert refused.count("429") == 1  # the others of its orders did not each learn it anew
                shops_file(tmp_path, keys)
                await eventually(lambda: len(sandbox.orders) == len(shares) * 12 * 38, timeout=90)
            assert {report.journey.attempt for report in consumer.reports} == {1}
            assert await at_broker.dead() == 0


async def test_a_key_that_changes_is_tried_at_once(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """The shop's next order goes out with it, though the next look at the held ones is an hour away; one line each."""
    file = shops_file(tmp_path, {"shop_a": "sk_wrong"})
    async with Sandbox([SandboxShop("shop_a", "sk_a")]) as sandbox, desk(broker.url, names) as at_broker:
        with structlog.testing.capture_logs() as told:
            async with InProcess(of_many(broker, names, sandbox, file, CONSUMER_HOLD_DELAY="1h")) as consumer:
                await at_broker.publish(*(order(f"HELD-{index}") for index in range(5)))
                await eventually(lambda: len(consumer.reports) == 5)
                assert sum(each.end == "401" for each in sandbox.book.requests) < 6
                assert "shop_a (401" in consumer.app._ready()["shops"].message
                shops_file(tmp_path, {"shop_a": "sk_a"})
                await eventually(lambda: any(line["event"] == "shops file reloaded" for line in told))
                await at_broker.publish(order("NEXT"))
                await eventually(lambda: consumer.outcomes("NEXT") == ["delivered"])
                assert not consumer.app.admission.held()
    (held,) = [line for line in told if line["event"] == "shop held"]
    assert (held["shop"], held["status"], held["cure"]) == ("shop_a", 401, "neuroon-consumer check")
    assert sum(line["event"] == "shop free again" for line in told) == 1


async def test_a_shop_on_hold_waits_until_the_shops_file_lets_it_go(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """Readiness and metrics name the shop, and since when the file is unusable; its orders go out at try 1."""
    file, enabled = tmp_path / "shops.toml", '[[shops]]\nid = "shop_a"\napi_key = "sk_a"\n'
    file.write_text(f'{enabled}enabled = "hold"\n')
    async with Sandbox([SandboxShop("shop_a", "sk_a")]) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(of_many(broker, names, sandbox, str(file), CONSUMER_HOLD_DELAY="300ms")) as consumer:
            metric = consumer.app.telemetry.registry.get_sample_value
            unusable = f"{PREFIX}_shops_unusable_since_timestamp_seconds"
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(5)))
            await eventually(lambda: len(consumer.reports) >= 10)
            assert consumer.app._ready()["shops"].message == "held: shop_a (by the shops file)"
            assert metric(f"{PREFIX}_shop_held", {"shop": "shop_a"}) == 1
            assert metric(unusable) == 0
            file.write_text("")
            await eventually(lambda: not consumer.app._ready()["shops file"].ok)
            await eventually(lambda: (metric(unusable) or 0) > 0)
            file.write_text(enabled)
            await eventually(lambda: len(sandbox.orders) == 5)
            assert {report.journey.attempt for report in consumer.reports} == {1}
            assert metric(f"{PREFIX}_shop_held", {"shop": "shop_a"}) == 0
            assert metric(unusable) == 0
            assert consumer.app._ready()["shops file"].ok


async def test_a_slow_api_gets_fewer_orders_at_a_time(broker: PrivateBroker, names: Names) -> None:
    """Down to one while answers take more than half of their time; up again to the setting when they do not."""
    more = SETTINGS | {"CONSUMER_REQUEST_TIMEOUT": "2s", "CONSUMER_SHUTDOWN_GRACE": "5s"}
    async with Sandbox(faults=["delay=1100ms"]) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox) | more) as consumer:
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(400)))
            await eventually(lambda: gate(consumer).under_way == IN_FLIGHT)
            await eventually(lambda: gate(consumer).limit.value < 2 and gate(consumer).under_way == 1, timeout=60)
            assert not consumer.app.admission.paused()
            sandbox.fail(LATENCY)
            await eventually(lambda: gate(consumer).under_way == IN_FLIGHT, timeout=60)
            await eventually(lambda: len(sandbox.orders) == 400, timeout=60)
        assert {report.journey.attempt for report in consumer.reports} == {1}
