"""Surprises from the client library, and from ourselves: a session may die of anything, the program of nothing."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from aio_pika.abc import AbstractConnection

from consumer.adapters import rabbit as rabbit_module
from consumer.adapters import session as session_module
from consumer.adapters.backoff import FIRST_PAUSE, LONGEST_PAUSE, pause
from consumer.adapters.link import open_channel
from consumer.adapters.session import Session
from consumer.adapters.topology import QueueState, queue_state
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import environment


@pytest.fixture
def told() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def count(told: list[Any], event: str) -> int:
    return sum(line["event"] == event for line in told)


@pytest.mark.parametrize("surprise", [RuntimeError("no transport"), KeyError(7), asyncio.CancelledError()])
@pytest.mark.parametrize("where", ["look_for_alarm", "consume"])
async def test_a_session_that_dies_of_a_bug_is_followed_by_another(
    broker: PrivateBroker,
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
    told: list[Any],
    surprise: BaseException,
    where: str,
) -> None:
    """Whatever is raised while a session lives: told once, with its trace, and orders go on arriving."""
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            first = consumer.app.rabbit._session
            assert first is not None

            async def fail(*_: object) -> None:
                monkeypatch.undo()
                raise surprise

            monkeypatch.setattr(first, where, fail)
            consumer.app.rabbit.want(5)
            await eventually(lambda: consumer.app.rabbit._session is not first and consumer.app.rabbit.consuming)
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1") == ["delivered"])
        assert [line["exc_info"] for line in told if line["event"] == "bug"] == [True]


@pytest.mark.parametrize("surprise", [RuntimeError, asyncio.CancelledError])
async def test_a_bug_at_every_opening_goes_on_being_told_ever_more_rarely(
    broker: PrivateBroker,
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
    told: list[Any],
    surprise: type[BaseException],
) -> None:
    """Not ready and not gone: each failure is a line with its trace, each pause longer than the one before."""
    monkeypatch.setattr("consumer.adapters.backoff.FIRST_PAUSE", 0.01)
    async with InProcess(environment(broker.url, names)) as consumer:
        app, session = consumer.app, consumer.app.rabbit._session
        assert session is not None

        async def fail(*_: object, **__: object) -> Session:
            raise surprise

        monkeypatch.setattr(Session, "open", fail)
        session.lose("for the test")
        await eventually(lambda: count(told, "bug") >= 4)
        assert not app.health.ready()["broker"].ok
        assert app.health.live()["loop"].ok
        pauses = [line["retry_in_seconds"] for line in told if line["event"] == "broker not usable"]
        assert pauses == sorted(pauses)
        monkeypatch.undo()
        await eventually(lambda: app.health.ready()["broker"].ok)


async def test_a_bug_that_kills_every_session_does_not_spin(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions that open and die at once are as bad as none: the pauses between them grow too."""
    waits: list[float] = []

    async def record(_: asyncio.Event, seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    async def fail(_: Session) -> bool:
        raise KeyError("frame")

    async with InProcess(environment(broker.url, names)) as consumer:
        monkeypatch.setattr(rabbit_module, "sleep_unless", record)
        monkeypatch.setattr(Session, "look_for_alarm", fail)
        await eventually(lambda: len(waits) >= 4, timeout=20)
        monkeypatch.undo()
        await eventually(lambda: consumer.app.rabbit.consuming)
    assert waits[3] > waits[0] * 4


def test_the_pauses_grow_up_to_a_limit() -> None:
    """From a quarter of a second to 15 s, and up to a quarter more."""
    pauses = [pause(failures) for failures in range(40)]
    assert FIRST_PAUSE <= pauses[0] <= FIRST_PAUSE * 1.25
    assert all(LONGEST_PAUSE <= each <= LONGEST_PAUSE * 1.25 for each in pauses[6:])


@pytest.mark.parametrize("surprise", [RuntimeError, asyncio.CancelledError])
async def test_a_session_is_not_left_without_its_watch(
    broker: PrivateBroker,
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
    told: list[Any],
    surprise: type[BaseException],
) -> None:
    """What looks after the consumer dies of a bug: the session is given up, since nobody would notice any more."""

    async def fail(*_: object) -> None:
        monkeypatch.undo()
        raise surprise

    monkeypatch.setattr(session_module, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(session_module, "queue_state", fail)
    async with InProcess(environment(broker.url, names)) as consumer:
        await eventually(lambda: count(told, "broker lost"))
        await eventually(lambda: count(told, "consuming") == 2)
        assert consumer.app.rabbit.consuming
    assert count(told, "bug") == 1


async def test_a_lost_consumer_is_noticed_beside_another_one(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    """The broker has forgotten ours and knows one of another pod, which is busy: the waiting order is fetched anew."""
    monkeypatch.setattr(session_module, "WATCH_SECONDS", 0.2)
    monkeypatch.setattr(session_module, "DOUBT_SECONDS", 0.2)
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            session = consumer.app.rabbit._session
            assert session is not None
            other = await open_channel(at_broker.connection)
            await other.basic_qos(prefetch_count=1)
            await other.basic_consume(names.queue, lambda _: asyncio.sleep(0))
            await session._channel.basic_cancel(session._tag or "")  # behind the session's back
            await at_broker.publish(order("ORD-1"), order("ORD-2"))
            await eventually(lambda: len(sandbox.orders) == 1)
            state = await queue_state(at_broker.connection, names.queue)
            assert state is not None
            assert state.consumers == 2
            await other.close()
            await eventually(lambda: len(sandbox.orders) == 2)
    assert [line["why"] for line in told if line["event"] == "broker lost"] == [
        "messages wait, and the broker delivers none to us"
    ]


@pytest.mark.parametrize(("silent_looks", "lost"), [(1, 0), (2, 1)])
async def test_a_queue_between_two_leaders_is_no_lost_consumer(
    broker: PrivateBroker,
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
    told: list[Any],
    silent_looks: int,
    lost: int,
) -> None:
    """A look meets no leader, and is told of 0 messages and 0 consumers: the session is kept. Twice in a row: lost."""
    looks: list[QueueState | None] = []

    async def look(connection: AbstractConnection, name: str) -> QueueState | None:
        looks.append(QueueState(0, 0) if len(looks) < silent_looks else await queue_state(connection, name))
        return looks[-1]

    monkeypatch.setattr(session_module, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(session_module, "queue_state", look)
    async with InProcess(environment(broker.url, names)) as consumer:
        await eventually(lambda: len(looks) > silent_looks + 2)
        await eventually(lambda: consumer.app.rabbit.consuming)
    assert count(told, "broker lost") == lost


async def test_a_consumer_that_is_full_or_idle_is_left_alone(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    """Orders wait because as many as may be are in flight, then none waits: neither is a reason for a new session."""
    monkeypatch.setattr(session_module, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(session_module, "DOUBT_SECONDS", 0.05)
    async with Sandbox(faults=["delay=1s"]) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox, CONSUMER_CONCURRENCY="2")) as consumer:
            session = consumer.app.rabbit._session
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(4)))
            await eventually(lambda: consumer.app.rabbit.waiting)
            await eventually(lambda: len(consumer.reports) == 4)
            await eventually(lambda: not consumer.app.rabbit.waiting)
            assert consumer.app.rabbit._session is session
    assert count(told, "broker lost") == 0


@pytest.mark.parametrize("surprise", [RuntimeError("no transport"), TimeoutError(), asyncio.CancelledError()])
async def test_a_connection_that_cannot_be_closed_keeps_no_orders(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch, surprise: BaseException
) -> None:
    """The old session's connection refuses to close: it is cut, or the broker would go on delivering to it."""
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            first = consumer.app.rabbit._session
            assert first is not None

            async def fail() -> None:
                raise surprise

            monkeypatch.setattr(first._consuming, "close", fail)
            first.lose("for the test")
            await eventually(lambda: consumer.app.rabbit._session is not first and consumer.app.rabbit.consuming)
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(50)))
            await eventually(lambda: len(consumer.reports) == 50)
        assert [each.posts for each in sandbox.orders] == [1] * 50
