"""What the probes tell of a program that moves, of one that is stuck, and of one that waits for a good reason."""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from consumer.adapters import session as session_module
from consumer.core.delivery import Delivery
from consumer.devbroker import PrivateBroker
from consumer.devbroker.ports import free_ports
from consumer.pipeline import Handled
from consumer.sandbox import DEFAULT_SHOP, Sandbox, SandboxShop
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import environment
from tests.support.proxy import Proxy


class Probes:
    """Asks a consumer as Kubernetes does. `address` is its CONSUMER_HTTP_ADDR."""

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{free_ports(1)[0]}"

    async def ask(self, path: str) -> tuple[int, Mapping[str, Any]]:
        """Status, and the parts by name."""
        async with aiohttp.ClientSession() as http, http.get(f"http://{self.address}{path}") as answer:
            told = await answer.json()
            assert told["ok"] is (answer.status == 200)
            return answer.status, told["parts"]

    async def status(self, path: str) -> int:
        return (await self.ask(path))[0]


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Probes:
    """Of a consumer that looks at itself often, and whose patience is half a second."""
    monkeypatch.setattr("consumer.app._patience", lambda _: 0.5)
    monkeypatch.setattr("consumer.health.TICK_SECONDS", 0.05)
    monkeypatch.setattr(session_module, "WATCH_SECONDS", 0.05)
    return Probes()


class Stuck:
    """A pipeline in which nothing comes to an end before `free`."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline, self.free = pipeline, asyncio.Event()

    async def handle(self, delivery: Delivery) -> Handled:
        await self.free.wait()
        handled: Handled = await self._pipeline.handle(delivery)
        return handled

    async def escaped(self, delivery: Delivery, error: Exception) -> Handled:
        raise error

    def hand_back(self, delivery: Delivery) -> Handled:
        handled: Handled = self._pipeline.hand_back(delivery)
        return handled


async def test_orders_that_wait_while_nothing_moves_are_a_reason_to_restart(
    broker: PrivateBroker, names: Names, probes: Probes
) -> None:
    """/livez fails, and says how many wait; it is good before, and again once something is settled."""
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        more = {"CONSUMER_CONCURRENCY": "2", "CONSUMER_HTTP_ADDR": probes.address}
        async with InProcess(environment(broker.url, names, sandbox, **more)) as consumer:
            assert await probes.status("/livez") == 200
            pipeline = Stuck(consumer.app.pipeline)
            consumer.app.pipeline = pipeline
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(5)))

            async def failed() -> bool:
                return await probes.status("/livez") == 503

            await eventually(failed)
            _, parts = await probes.ask("/livez")
            assert (parts["loop"]["ok"], parts["orders"]["ok"]) == (True, False)
            assert "2 in flight, 3 wait" in parts["orders"]["message"]
            assert await probes.status("/readyz") == 200
            pipeline.free.set()
            await eventually(lambda: len(consumer.reports) == 5)
            assert await probes.status("/livez") == 200


async def test_an_idle_consumer_and_one_that_is_busy_for_long_are_alive(
    broker: PrivateBroker, names: Names, probes: Probes
) -> None:
    """Nothing to do for longer than the patience; then all that there is in hand, and none that waits."""
    async with Sandbox(faults=["delay=1500ms"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, CONSUMER_HTTP_ADDR=probes.address)
        async with InProcess(environ) as consumer:
            begun = time.monotonic()
            await eventually(lambda: time.monotonic() - begun > 1)
            assert await probes.status("/livez") == 200
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(5)))
            seen = set()
            async with asyncio.timeout(30):
                while len(consumer.reports) < 5:
                    seen.add(await probes.status("/livez"))
            assert seen == {200}


async def test_a_paused_api_and_a_held_shop_are_alive_and_ready_with_the_reason(
    broker: PrivateBroker, names: Names, probes: Probes
) -> None:
    """Restarting would not help: orders wait for far longer than the patience, and no probe fails."""
    shop = SandboxShop(DEFAULT_SHOP.id, "sk_other")
    async with Sandbox([shop]) as sandbox, Proxy(("127.0.0.1", int(sandbox.url.rpartition(":")[2]))) as api:
        environ = environment(
            broker.url, names, CONSUMER_HTTP_ADDR=probes.address, NEUROON_API_URL=f"http://127.0.0.1:{api.port}"
        )
        async with desk(broker.url, names) as at_broker, InProcess(environ) as consumer:
            await at_broker.publish(order("HELD"))
            await eventually(consumer.app.admission.held)
            _, parts = await probes.ask("/readyz")
            assert (parts["shops"]["ok"], f"{shop.id} (401" in parts["shops"]["message"]) == (True, True)
            sandbox.shops.put(DEFAULT_SHOP)
            await eventually(lambda: consumer.outcomes("HELD")[-1:] == ["delivered"])
            await api.refuse()
            api.cut()
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(5)))
            await eventually(lambda: consumer.app.admission.paused() and not consumer.app.rabbit.consuming)
            begun = time.monotonic()
            while time.monotonic() - begun < 1.5:
                assert (await probes.status("/livez"), await probes.status("/readyz")) == (200, 200)
            _, parts = await probes.ask("/readyz")
            assert parts["api"]["message"] == f"down: http://127.0.0.1:{api.port}"
            assert parts["broker"]["message"] == "paused: the API is down"
            await api.accept()
            await eventually(lambda: len(sandbox.orders) == 6)


async def test_a_background_task_that_keeps_failing_is_red_in_the_details_and_fails_no_probe(
    broker: PrivateBroker, names: Names, probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/readyz names the task and the type of its exception, not its text; /livez passes: a restart would not help."""

    async def fail(*_: object) -> None:
        raise OverflowError("the order ORD-1 of Jane Doe")

    monkeypatch.setattr("consumer.stock.connect", fail)
    async with InProcess(environment(broker.url, names, CONSUMER_HTTP_ADDR=probes.address)) as consumer:
        status, parts = await probes.ask("/readyz")
        assert (status, parts["background"]) == (200, {"ok": True, "message": "no task is failing"})
        await eventually(consumer.app.supervisor.failing)
        status, parts = await probes.ask("/readyz")
        assert (status, parts["background"]["ok"]) == (200, False)
        assert re.fullmatch(
            r"queue_metrics has been failing for \d+ s: \d+ failures, last \d+ s ago \(OverflowError\)",
            parts["background"]["message"],
        )
        assert await probes.status("/livez") == 200


async def test_without_the_broker_it_is_alive_and_not_ready(names: Names, probes: Probes, link: Proxy) -> None:
    """Ready says only who has a consumer that the broker confirmed; a restart would bring no broker back."""
    url = f"amqp://guest:guest@127.0.0.1:{link.port}/"
    async with InProcess(environment(url, names, CONSUMER_HTTP_ADDR=probes.address)) as consumer:
        assert await probes.status("/readyz") == 200
        await link.refuse()
        link.cut()
        await eventually(lambda: not consumer.app.rabbit.linked)
        status, parts = await probes.ask("/readyz")
        assert (status, parts["broker"]["message"]) == (503, "no link to the broker")
        assert await probes.status("/livez") == 200
        await link.accept()
        await eventually(lambda: consumer.app.rabbit.consuming)
        assert await probes.status("/readyz") == 200


async def test_a_loop_that_stood_still_is_told(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something blocked it for longer than it may; once it turns again, all is well."""
    monkeypatch.setattr("consumer.health.TICK_SECONDS", 0.02)
    monkeypatch.setattr("consumer.health.STANDSTILL_SECONDS", 0.5)
    async with InProcess(environment(broker.url, names)) as consumer:
        assert consumer.app.health.live()["loop"].ok
        time.sleep(0.6)  # noqa: ASYNC251 - this is what is tried
        assert not consumer.app.health.live()["loop"].ok
        await eventually(lambda: consumer.app.health.live()["loop"].ok)
