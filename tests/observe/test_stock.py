"""The numbers that need the broker: what waits, what is dead, and how much money that is."""

import math

import pytest
from prometheus_client import CollectorRegistry

from consumer import stock as module
from consumer.adapters.link import connect
from consumer.app import letter_reader, wanted_topology
from consumer.core.delivery import Journey
from consumer.core.outcome import Delivered
from consumer.core.settlement import Subject
from consumer.core.shop import Shops
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from consumer.settings import read_settings
from consumer.stock import Stock
from consumer.telemetry import OTHER, Telemetry
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import environment


def _value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"neuroon_consumer_{name}", labels)


async def test_the_money_in_the_dead_letters_is_told_and_the_letters_stay(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted at every look; added up once the number stands still, and again only when it has changed."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    async with Sandbox(faults=["400:times=99"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox)
        async with InProcess(environ) as consumer:
            await at_broker.publish(order("ORD-1"), order("ORD-2"))
            await eventually(lambda: len(consumer.reports) == 2)
        settings, telemetry = read_settings(environ), Telemetry()
        read = letter_reader(settings, lambda: Shops(()))
        stock = Stock(broker.url, wanted_topology(settings), settings.routes.queues, telemetry, read)
        assert math.isnan(_value(telemetry.registry, "dead_letters") or 0.0)
        async with await connect(broker.url, "test") as connection:
            await stock.count(connection)
            assert _value(telemetry.registry, "dead_letters") == 2
            assert _value(telemetry.registry, "waiting", place="main") == 0
            assert _value(telemetry.registry, "dead_letters_value", currency="EUR") is None
            await stock.count(connection)
            assert _value(telemetry.registry, "dead_letters_value", currency="EUR") == pytest.approx(2 * 24.99)
            looked = stock._looked
            await stock.count(connection)
            assert stock._looked == looked
        assert await at_broker.dead() == 2


def test_thousands_of_shops_make_few_series() -> None:
    """The first shops have labels of their own; all others share one, in every metric."""
    telemetry = Telemetry(max_shops=2)
    for number in range(1000):
        telemetry.settled(Delivered(200), Subject(f"shop_{number}", "ORD-1"), Journey(1, 0.0, "", ""), 1.0, 1.0)
        telemetry.requested(f"shop_{number}", 200, 0.1)
    telemetry.hold(["shop_1", "shop_500", "shop_501"])
    labels = {
        sample.labels["shop"]
        for metric in telemetry.registry.collect()
        for sample in metric.samples
        if "shop" in sample.labels
    }
    assert labels == {"shop_0", "shop_1", OTHER}
    assert _value(telemetry.registry, "orders_total", shop=OTHER, outcome="delivered", reason="") == 998
    assert _value(telemetry.registry, "shop_held", shop=OTHER) == 1
