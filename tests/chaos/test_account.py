"""The oracle itself: it says so when something is wrong, and the same seed gives the same storm."""

from dataclasses import replace
from random import Random

import pytest
from pamqp.commands import Basic

from consumer.core import delivery as header
from consumer.sandbox import Received
from tests.chaos import faults, orders
from tests.chaos.account import Account, Evidence, Struck, reckon
from tests.chaos.orders import Fate, Order
from tests.chaos.report import report
from tests.support.broker import Message

GOOD, BAD, UNSEARCHED = (
    orders.one(Random(1), number, fate)
    for number, fate in enumerate((Fate.DELIVERED, Fate.MALFORMED, Fate.UNATTRIBUTED))
)


def recorded(order: Order, **changes: object) -> Received:
    received = Received(order.shop, order.id, b"", order.payload, first=100.0, last=100.0)
    for name, value in changes.items():
        setattr(received, name, value)
    return received


def letter(order: Order, reason: str) -> Message:
    return Message(order.body, {header.REASON: reason}, Basic.Properties())


def told(**more: str) -> dict[str, str]:
    return {"event": "settled", "outcome": "unattributed", "order": UNSEARCHED.id, "shop": UNSEARCHED.shop} | more


ALL_WELL = Evidence(
    orders={order.id: order for order in (GOOD, BAD, UNSEARCHED)},
    copies={order.id: 1 for order in (GOOD, BAD, UNSEARCHED)},
    recorded=[recorded(GOOD)],
    dead=[letter(BAD, "malformed")],
    left={},
    struck=[],
    logs=[lambda: [told()]],
    ledger_shared=True,
    seconds=1.0,
)


def account(**changes: object) -> Account:
    return reckon("a plan", replace(ALL_WELL, **changes), [])  # type: ignore[arg-type]  # each by its own name


def test_it_closes_when_all_is_well() -> None:
    """One delivered, one dead, one let go."""
    assert account().problems == []
    assert "closes" in report(account())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"recorded": []}, "lost: neither recorded nor dead"),
        ({"recorded": [recorded(GOOD, body=b"{}")]}, "other bytes"),
        ({"recorded": [recorded(GOOD, conflict=True)]}, "other bytes"),
        ({"recorded": [recorded(GOOD, shop_id="shop_x")]}, "recorded for shop_x"),
        ({"recorded": [recorded(GOOD), recorded(BAD)]}, "though it should be dead"),
        ({"recorded": [recorded(GOOD), recorded(UNSEARCHED)]}, "nothing of it came from a search"),
        ({"recorded": [recorded(GOOD), recorded(GOOD, order_id="X")]}, "never published"),
        ({"recorded": [recorded(GOOD, posts=2, last=110.0)]}, "no fault excuses it"),
        ({"dead": []}, "lost: it should be dead"),
        ({"dead": [letter(BAD, "exhausted")]}, "another reason than malformed"),
        ({"dead": [Message(BAD.body, {"x-death": []}, Basic.Properties())]}, "another reason than malformed"),
        ({"dead": [letter(BAD, "malformed"), letter(GOOD, "exhausted")]}, "dead, 1 times"),
        ({"dead": [letter(BAD, "malformed"), letter(BAD, "malformed")]}, "dead letters too many"),
        ({"dead": [letter(BAD, "malformed"), replace(letter(BAD, "malformed"), body=b"?")]}, "nobody published"),
        ({"left": {"a queue": [letter(GOOD, "x")]}}, "left in a queue"),
        ({"logs": [list]}, "nobody says what became of it"),
        ({"logs": [lambda: [told(), {"event": "bug"}]]}, "logged"),
    ],
)
def test_it_does_not_close_when_something_is_wrong(changes: dict[str, object], problem: str) -> None:
    """Each kind of damage is named."""
    found = account(**changes)
    assert not found.closes
    assert problem in report(found)


def test_a_second_post_needs_a_fault_at_that_time_and_no_more_than_it_excuses() -> None:
    """A crash at the moment explains it; one long before or an innocent fault does not; nor do three posts by one."""
    twice = {"recorded": [recorded(GOOD, posts=2, last=110.0)]}
    crash = Struck("ConsumerKilled", "consumer0", 99.0, 105.0, 1)
    assert account(**twice, struck=[crash]).closes
    assert not account(**twice, struck=[replace(crash, excuses=0)]).closes
    assert not account(**twice, struck=[replace(crash, began=1.0, ended=2.0)]).closes
    assert not account(recorded=[recorded(GOOD, posts=3, last=110.0)], struck=[crash]).closes


def test_second_copies_are_told_apart() -> None:
    """Without a shared ledger a copy may be posted by either consumer; with one, only at the same moment."""
    copies = {**ALL_WELL.copies, GOOD.id: 2}
    late, at_once = recorded(GOOD, posts=2, last=110.0), recorded(GOOD, posts=2, last=100.5)
    assert account(recorded=[late], copies=copies, ledger_shared=False).closes
    assert not account(recorded=[late], copies=copies).closes
    assert account(recorded=[at_once], copies=copies).raced == 1


def test_a_seed_draws_the_same_storm_again() -> None:
    """Orders with their bodies, and faults with their victims and times."""
    assert orders.draw(Random(7), 100) == orders.draw(Random(7), 100)
    assert faults.draw(Random(7), 50, 1.0, ledger=True) == faults.draw(Random(7), 50, 1.0, ledger=True)
    assert orders.draw(Random(7), 100) != orders.draw(Random(8), 100)
    kinds = {blow.kind for blow in faults.draw(Random(7), 2000, 1.0, ledger=True)}
    assert len(kinds) == 25, "every kind of fault is drawn"
