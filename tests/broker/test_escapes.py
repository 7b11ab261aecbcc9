"""An error that nothing was prepared for: it costs one message a try, is logged and counted, and keeps no place."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from consumer.core import delivery as header
from consumer.core.delivery import Delivery
from consumer.core.settlement import Move, Settlement
from consumer.deadletters.browse import looking
from consumer.deadletters.filters import Filter
from consumer.devbroker import PrivateBroker
from consumer.pipeline import Handled
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.dead_letter_desk import a_desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import environment

SECRET = "Erika Mustermann"


class Failing:
    """A pipeline that fails unexpectedly on orders named so."""

    def __init__(self, inner: object, error: Callable[[], BaseException]) -> None:
        self._inner, self._error = inner, error

    async def handle(self, delivery: Delivery) -> Handled:
        if b"FAILS" in delivery.body:
            raise self._error()
        handled: Handled = await self._inner.handle(delivery)  # type: ignore[attr-defined]
        return handled

    async def escaped(self, delivery: Delivery, error: Exception) -> Handled:
        handled: Handled = await self._inner.escaped(delivery, error)  # type: ignore[attr-defined]
        return handled

    def hand_back(self, delivery: Delivery) -> Handled:
        handled: Handled = self._inner.hand_back(delivery)  # type: ignore[attr-defined]
        return handled


def failures(consumer: InProcess) -> float:
    return consumer.app.telemetry.registry.get_sample_value("neuroon_consumer_settling_failures_total") or 0.0


async def good_orders_go_on(consumer: InProcess, publish: Callable[..., object]) -> None:
    """Sixty-four of them, with four places: none was lost to what failed."""
    await publish(*(order(f"GOOD-{number}") for number in range(64)))  # type: ignore[misc]
    await eventually(lambda: all(consumer.outcomes(f"GOOD-{number}") for number in range(64)), timeout=30)
    await eventually(lambda: not consumer.app.rabbit.in_flight)
    session = consumer.app.rabbit._session
    assert session is not None
    assert not session.lost.done()
    assert not session.acks.outstanding


@pytest.mark.parametrize("error", [lambda: ValueError(SECRET), asyncio.CancelledError], ids=["error", "cancelled"])
async def test_an_error_while_handling_costs_a_try_and_ends_as_bug(
    broker: PrivateBroker, names: Names, error: Callable[[], BaseException]
) -> None:
    """Every try is used up, the dead letter says bug, and the text of the error is shown nowhere."""
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, CONSUMER_CONCURRENCY="4")
        async with InProcess(environ) as consumer:
            consumer.app.pipeline = Failing(consumer.app.pipeline, error)
            with capture_logs() as logs:
                await at_broker.publish(*(order(f"FAILS-{number}") for number in range(8)))
                await eventually(at_broker.dead, timeout=30)
                await eventually(lambda: len(consumer.reports) == 3 * 8, timeout=30)
            await good_orders_go_on(consumer, at_broker.publish)
            assert failures(consumer) == 3 * 8
        letters = await at_broker.take_dead()
    assert [letter.headers[header.REASON] for letter in letters] == ["bug"] * 8
    assert {letter.headers[header.ATTEMPT] for letter in letters} == {3}
    assert not any(SECRET in str(letter.headers) for letter in letters)
    assert [line["event"] for line in logs].count("unexpected error while settling") == 3 * 8


async def test_an_error_while_settling_costs_a_try(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publish to a retry queue fails for a reason of ours, once: the message is published as a bug's."""
    async with Sandbox(faults=["400"]) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox, CONSUMER_CONCURRENCY="4")) as consumer:
            fail_settling(consumer, monkeypatch, times=1)
            await at_broker.publish(*(order(f"FAILS-{number}") for number in range(4)))
            await eventually(lambda: len(consumer.reports) == 8, timeout=30)
            sandbox.fail()
            await good_orders_go_on(consumer, at_broker.publish)
            assert failures(consumer) == 4
        letters = await at_broker.take_dead()
    assert [letter.headers[header.REASON] for letter in letters] == ["refused"] * 4
    assert {letter.headers[header.ATTEMPT] for letter in letters} == {2}


async def test_what_cannot_be_published_at_all_is_left_to_the_broker(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the end as a bug can be published: the broker moves the message as it came, and `dlq` says bug."""
    async with Sandbox(faults=["400"]) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox, CONSUMER_CONCURRENCY="4")) as consumer:
            fail_settling(consumer, monkeypatch, times=10_000)
            events = [order(f"FAILS-{number}") for number in range(8)]
            await at_broker.publish(*events, headers={"tenant": "x"})
            await eventually(lambda: failures(consumer) == 16, timeout=30)
            sandbox.fail()
            await good_orders_go_on(consumer, at_broker.publish)
        async with a_desk(broker.url, names) as operator, looking(operator, Filter()) as look:
            found = [(held.delivery, letter) async for held, letter in look]
    assert sorted(delivery.body for delivery, _ in found) == sorted(events)
    assert {delivery.headers["tenant"] for delivery, _ in found} == {"x"}
    assert {letter.reason for _, letter in found} == {"bug"}
    assert all("left it to the broker" in letter.detail for _, letter in found)


def fail_settling(consumer: InProcess, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let the first `times` publishes of each order fail unexpectedly."""
    settling, failed = consumer.app.rabbit.settling, Counter[bytes]()
    settle = settling.settle

    async def failing(session: object, tag: int, settlement: Settlement) -> bool:
        if isinstance(settlement, Move) and failed[settlement.body] < times:
            failed[settlement.body] += 1
            fail()
        return await settle(session, tag, settlement)  # type: ignore[arg-type]

    monkeypatch.setattr(settling, "settle", failing)


def fail() -> NoReturn:
    raise KeyError(SECRET)
