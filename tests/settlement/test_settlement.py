"""No order is lost, poison alone is dead-lettered, good orders arrive: in every state that a few faults can lead to."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import structlog
import structlog.testing
from pamqp.commands import Basic

from consumer.adapters.rabbit import Handled, Rabbit
from consumer.adapters.session import Acks, Session
from consumer.adapters.settling import Settling
from consumer.core import settlement
from consumer.core.delivery import Delivery, times_returned
from consumer.core.settlement import Move, Return, Routes
from tests.settlement.broker import DEAD, WAITING
from tests.settlement.search import Broken, explore
from tests.settlement.world import Scenario

# Each within a few seconds: some hundred states.
SCENARIOS = {
    "sessions lost": Scenario(("A",), {"lose": 4}),
    "sessions and confirms lost": Scenario(("A", "B", "M"), {"lose": 1, "silent": 1}),
    "a process killed by an order": Scenario(("A", "B", "K"), {"silent": 1, "kill": 1}),
    "an order that raises": Scenario(("A", "R"), {"retry": 1, "refuse": 1}, refusable=(WAITING[0],)),
    "dead letters refused": Scenario(("A", "M"), {"refuse": 1, "lose": 1}, refusable=(DEAD,)),
    "orders handed back": Scenario(("A",), {"untried": 4, "refuse": 1}, refusable=(WAITING[0],)),
    "orders handed back at the end": Scenario(("A",), {"untried": 2, "terminate": 1, "silent": 2}),
    "confirms lost": Scenario(("A", "M"), {"silent": 2}),
    "rolling restart": Scenario(("A", "B", "M"), {"terminate": 1, "silent": 1}),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of lost sessions are not worth a line each."""
    with structlog.testing.capture_logs():
        yield


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_order_of_events_costs_an_order(name: str) -> None:
    """In each state all orders are accounted for, and with the faults over all good ones are delivered."""
    assert explore(SCENARIOS[name]) > 30


# Bugs, each planted into the code that the model drives.


def acknowledge_before_the_confirm(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Settling._move

    async def move(self: Settling, session: Session, tag: int, moves: tuple[Move, ...]) -> bool:
        session.acks.ack(tag)
        session.acks = Acks(session._channel)  # the second acknowledgement of the original goes nowhere
        session.acks._channel = type("Nothing", (), {"is_closed": True})  # type: ignore[assignment]
        return await original(self, session, tag, moves)

    monkeypatch.setattr(Settling, "_move", move)


def forget_to_give_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settling, "_give_back", _nothing)


def forget_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rabbit, "_escape", _nothing)


def acknowledge_what_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Settling._publish

    async def publish(self: Settling, session: Session, move: Move) -> Move:
        await original(self, session, move)
        return move

    monkeypatch.setattr(Settling, "_publish", publish)


def take_kills_for_lost_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    def returned(self: Rabbit, delivery: Delivery) -> Handled | None:
        handled = self._handler.hand_back(delivery) if times_returned(delivery) else None
        return handled if handled and isinstance(handled[0], Move) else None

    monkeypatch.setattr(Rabbit, "_returned_by_us", returned)


def forget_what_was_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rabbit, "_note_innocent", lambda _: None)


def return_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "MOST_RETURNS", 1000)


def hand_back_to_one_queue_only(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Routes.hand_back

    def hand_back(*arguments: Any) -> Return | Move:
        moved = original(*arguments)
        return replace(moved, otherwise=None) if isinstance(moved, Move) else moved

    monkeypatch.setattr(Routes, "hand_back", hand_back)


def give_back_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hand_back(self: Rabbit, session: Session, tag: int, delivery: Delivery) -> None:
        if not await self.settling.settle(session, tag, self._handler.hand_back(delivery)[0]):
            await session.acks.give_back(tag)

    monkeypatch.setattr(Rabbit, "_hand_back", hand_back)


def keep_a_channel_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "replace_publisher", _nothing)


def acknowledge_all_up_to_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Acks, "_frames", lambda _, settled: [Basic.Ack(max(settled), multiple=True)] if settled else [])


async def _nothing(*_: object) -> None:
    """Instead of something."""


@pytest.mark.parametrize(
    ("plant", "name", "found"),
    [
        (acknowledge_before_the_confirm, "sessions and confirms lost", "lost"),
        (forget_to_give_back, "confirms lost", "no task works on it"),
        (forget_escapes, "an order that raises", "no task works on it"),
        (acknowledge_what_was_refused, "confirms lost", "lost"),
        (take_kills_for_lost_sessions, "a process killed by an order", "no rest"),
        (forget_what_was_in_flight, "sessions lost", "dead-lettered, returned 4 times"),
        (return_for_ever, "orders handed back", "dead-lettered, returned 4 times"),
        (hand_back_to_one_queue_only, "orders handed back", "dead-lettered, returned 4 times"),
        (give_back_twice, "orders handed back at the end", "settled before"),
        (keep_a_channel_that_refuses, "dead letters refused", "no rest"),
        (acknowledge_all_up_to_here, "sessions and confirms lost", "lost"),
    ],
)
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None], name: str, found: str
) -> None:
    """Whoever breaks settlement in one of these ways is told what does not hold, and which events lead there."""
    plant(monkeypatch)
    with pytest.raises(Broken, match=found):
        explore(SCENARIOS[name])
