"""The numbers that need the broker: what waits, what is dead, and how much money that is."""

import math
import random
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from consumer import stock as module
from consumer.adapters.deadletterqueue import DeadLetterQueue
from consumer.adapters.link import connect
from consumer.adapters.publisher import Publisher
from consumer.adapters.topology import declare
from consumer.app import App, letter_reader, load_shops, wanted_topology
from consumer.core.delivery import Delivery, Journey, Properties
from consumer.core.order import Malformed, OrderPaid, Refund
from consumer.core.outcome import Delivered
from consumer.core.settlement import Subject
from consumer.core.shop import Shops
from consumer.deadletters.browse import Desk, looking
from consumer.deadletters.filters import Filter
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from consumer.settings import read_settings
from consumer.stock import Stock
from consumer.telemetry import OTHER, Telemetry
from consumer.workload import LIGHT
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import command, environment


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


async def test_the_first_money_is_told_at_once_and_gone_with_the_letters(broker: PrivateBroker, names: Names) -> None:
    """An empty queue of dead letters costs no look, so the first that die after a quiet time are looked at as soon as
    their number stands still; when all are gone, so is their money."""
    environ = environment(broker.url, names)
    settings, telemetry = read_settings(environ), Telemetry()
    wanted, read = wanted_topology(settings), letter_reader(settings, lambda: Shops(()))
    stock = Stock(broker.url, wanted, settings.routes.queues, telemetry, read)
    async with desk(broker.url, names) as at_broker:
        await declare(at_broker.connection, wanted)
        for _ in range(3):
            await stock.count(at_broker.connection)
        publisher = await Publisher.open(at_broker.connection)
        await publisher.publish(order("ORD-1"), {}, Properties("application/json"), routing_key=f"{names.queue}.dlq")
        for _ in range(2):
            await stock.count(at_broker.connection)
        assert _value(telemetry.registry, "dead_letters_value", currency="EUR") == pytest.approx(24.99)
        await at_broker.take_dead()
        await stock.count(at_broker.connection)
        assert _value(telemetry.registry, "dead_letters_value", currency="EUR") is None


async def test_large_letters_are_read_beside_the_event_loop(broker: PrivateBroker, names: Names) -> None:
    """Their money counts like that of small ones, and reading them holds nothing up."""
    settings, telemetry = read_settings(environment(broker.url, names)), Telemetry()
    wanted, usual = wanted_topology(settings), letter_reader(settings, lambda: Shops(()))
    here, read_here = threading.get_ident(), dict[str | None, bool]()

    def read(delivery: Delivery) -> OrderPaid | Malformed | Refund:
        found = usual(delivery)
        read_here[found.order_id] = threading.get_ident() == here
        return found

    stock = Stock(broker.url, wanted, settings.routes.queues, telemetry, read)
    async with desk(broker.url, names) as at_broker:
        await declare(at_broker.connection, wanted)
        publisher = await Publisher.open(at_broker.connection)
        for body in (order("SMALL"), order("LARGE") + b" " * LIGHT):
            await publisher.publish(body, {}, Properties("application/json"), routing_key=f"{names.queue}.dlq")
        for _ in range(2):
            await stock.count(at_broker.connection)
        await at_broker.take_dead()
    assert _value(telemetry.registry, "dead_letters_value", currency="EUR") == pytest.approx(2 * 24.99)
    assert read_here == {"SMALL": True, "LARGE": False}


@asynccontextmanager
async def two_letters(broker: PrivateBroker, names: Names, telemetry: Telemetry) -> AsyncIterator[tuple[Stock, Desk]]:
    """Two dead letters, and who counts them on a connection beside that of who may look at them."""
    settings = read_settings(environment(broker.url, names))
    wanted, read = wanted_topology(settings), letter_reader(settings, lambda: Shops(()))
    async with desk(broker.url, names) as at_broker:
        await declare(at_broker.connection, wanted)
        publisher = await Publisher.open(at_broker.connection)
        for number in range(2):
            event = order(f"ORD-{number}")
            await publisher.publish(event, {}, Properties("application/json"), routing_key=f"{names.queue}.dlq")
        operator = Desk(DeadLetterQueue(at_broker.connection, settings.routes.queues), read)
        yield Stock(broker.url, wanted, settings.routes.queues, telemetry, read), operator


async def test_letters_that_somebody_looks_at_are_still_there(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker does not count what somebody holds: number and money stay told meanwhile, but not for ever."""
    telemetry = Telemetry()
    async with two_letters(broker, names, telemetry) as (stock, operator), await connect(broker.url, "test") as link:
        for _ in range(2):
            await stock.count(link)
        async with looking(operator, Filter()) as look:
            assert await look.take()
            await stock.count(link)
            assert _value(telemetry.registry, "dead_letters") == 2
            assert _value(telemetry.registry, "dead_letters_value", currency="EUR") == pytest.approx(2 * 24.99)
            monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
            await stock.count(link)
            assert _value(telemetry.registry, "dead_letters") == 0
            assert _value(telemetry.registry, "dead_letters_value", currency="EUR") is None


async def test_two_who_looked_at_one_moment_do_not_meet_again(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who saw only a part of the letters tells nothing, and looks again after a wait that is drawn."""
    telemetry = Telemetry()
    async with two_letters(broker, names, telemetry) as (stock, operator), await connect(broker.url, "test") as link:
        await stock.count(link)
        monkeypatch.setattr(random, "random", lambda: 1.0)  # the shortest wait
        async with looking(operator, Filter()) as look:
            assert await look.take()
            assert stock._read is not None
            await stock._look(link, stock._read)
        assert _value(telemetry.registry, "dead_letters_value", currency="EUR") is None
        await stock.count(link)
        assert _value(telemetry.registry, "dead_letters_value", currency="EUR") == pytest.approx(2 * 24.99)


async def test_the_age_of_what_waits_is_told_while_nothing_moves(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders that were published an hour ago wait for an API that is down: their age is told; it is 0 once they are
    delivered."""
    monkeypatch.setattr(module, "COUNT_SECONDS", 0.1)
    an_hour_ago = Properties("application/json", timestamp=int(time.time()) - 3600)
    async with Sandbox(faults=["503"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, CONSUMER_CONCURRENCY="1")
        await declare(at_broker.connection, wanted_topology(read_settings(environ)))
        # Before the consumer comes: a queue that it had seen empty would hold no order so old.
        await at_broker.publish(*(order(f"ORD-{number}") for number in range(50)), properties=an_hour_ago)
        async with InProcess(environ) as consumer:
            registry = consumer.app.telemetry.registry
            await eventually(lambda: (_value(registry, "backlog_age_seconds") or 0.0) >= 3600)
            sandbox.fail()
            await eventually(lambda: len(sandbox.orders) == 50, timeout=60)
            await eventually(lambda: _value(registry, "backlog_age_seconds") == 0)


async def test_publish_says_when(broker: PrivateBroker, names: Names) -> None:
    """The command stamps what it publishes, so that the age of it can be told."""
    environ = environment(broker.url, names)
    async with desk(broker.url, names) as at_broker:
        await declare(at_broker.connection, wanted_topology(read_settings(environ)))
        assert (await command(environ, "publish", stdin=order("ORD-1")))[0] == 0
        (message,) = await at_broker.take(names.queue)
    assert message.properties.timestamp is not None
    assert abs(datetime.now(UTC) - message.properties.timestamp) < timedelta(hours=1)


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
    names = [sample.name for metric in telemetry.registry.collect() for sample in metric.samples]
    assert not [name for name in names if name.endswith("_created")]
    assert _value(telemetry.registry, "orders_total", shop=OTHER, outcome="delivered", reason="") == 998
    assert _value(telemetry.registry, "shop_held", shop=OTHER) == 1


def test_the_settings_cap_the_labels_and_switch_the_money_off(names: Names) -> None:
    """CONSUMER_METRICS_SHOPS and CONSUMER_METRICS_VALUE reach the program that runs."""
    environ = environment("amqp://127.0.0.1:9/", names, CONSUMER_METRICS_SHOPS="1", CONSUMER_METRICS_VALUE="off")
    settings = read_settings(environ)
    app = App(settings, load_shops(settings, environ))
    for shop in ("shop_a", "shop_b"):
        app.telemetry.requested(shop, 200, 0.1)
    assert _value(app.telemetry.registry, "api_requests_total", shop="shop_a", status="200") == 1
    assert _value(app.telemetry.registry, "api_requests_total", shop=OTHER, status="200") == 1
    assert app.stock._read is None
