"""The oracle itself: it says so when something is wrong, and the same seed gives the same storm."""

from dataclasses import replace
from random import Random

import pytest
from pamqp.commands import Basic

from consumer.core import delivery as header
from consumer.sandbox import Received
from consumer.sandbox.book import Seen
from tests.chaos import faults, orders
from tests.chaos.account import Account, Evidence, reckon
from tests.chaos.orders import Fate, Order
from tests.chaos.repeats import Struck
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
    seen=[],
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
        ({"seen": [Seen(at, "shop_a", GOOD.id, "200") for at in (100.0, 110.0)]}, "no fault explains it"),
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


def posts(*moments: float, end: str = "200") -> dict[str, object]:
    return {"seen": [Seen(at, GOOD.shop, GOOD.id, end) for at in moments]}


CRASH = Struck("ConsumerKilled", "consumer0", 101.0, 105.0, excuses=1, copies=True)
SILENCING = replace(CRASH, silences=True)
BLIND = Struck("LedgerGone", "ledger", 109.0, 120.0, excuses=1, blinds=True)


@pytest.mark.parametrize(
    ("moments", "struck", "closes"),
    [
        ((100.0, 110.0), CRASH, True),
        ((100.0, 110.0), replace(CRASH, excuses=0), False),
        ((100.0, 110.0), replace(CRASH, began=106.0, ended=108.0), False),  # long after the first post had ended
        ((100.0, 110.0), replace(CRASH, began=90.0, ended=95.0), False),
        ((100.0, 110.0), replace(CRASH, began=90.0, ended=95.0, felt=6.0), True),
        ((100.0, 110.0, 120.0), CRASH, False),  # one excuse, two posts too many
        ((100.0, 110.0), BLIND, True),
        ((100.0, 110.0), replace(BLIND, blinds=False), False),
    ],
)
def test_a_second_post_needs_a_fault_that_met_the_first(
    moments: tuple[float, ...], struck: Struck, closes: bool
) -> None:
    """A crash in the middle explains it, or a ledger that was away later; an innocent or exhausted fault does not."""
    assert account(**posts(*moments), struck=[struck]).closes is closes


def test_a_fault_explains_no_more_orders_than_were_under_way() -> None:
    """Two orders and one excuse: one of them stays unexplained. A second fault with room for either settles it."""
    seen = [Seen(at, each.shop, each.id, "200") for each in (GOOD, UNSEARCHED) for at in (100.0, 110.0)]
    assert len(account(seen=seen, struck=[CRASH]).repeats.unexplained) == 1
    both = account(seen=seen, struck=[CRASH, replace(CRASH, name="LinkCut")])
    assert both.repeats.by_fault == {"ConsumerKilled": 1, "LinkCut": 1}


def test_what_was_not_recorded_is_no_repeat() -> None:
    """A try that Neuroon refused, or whose connection was cut before it, may be followed by any number."""
    assert account(**posts(100.0, 110.0, 120.0, end="503")).closes


def test_second_copies_are_told_apart() -> None:
    """Without a shared ledger either consumer may post one; with one, only at the same moment or while it is away."""
    copies = {**ALL_WELL.copies, GOOD.id: 2}
    assert account(**posts(100.0, 110.0), copies=copies, ledger_shared=False).repeats.foreign == 1
    assert not account(**posts(100.0, 110.0, 120.0), copies=copies, ledger_shared=False).closes
    assert not account(**posts(100.0, 110.0), copies=copies).closes
    assert account(**posts(100.0, 100.5), copies=copies).repeats.raced == 1
    assert not account(**posts(100.0, 100.5, 101.0), copies=copies).closes
    assert account(**posts(100.0, 110.0), copies=copies, struck=[replace(BLIND, excuses=0)]).repeats.blind == 1


def test_a_seed_draws_the_same_storm_again() -> None:
    """Orders with their bodies, and faults with their victims and times."""
    assert orders.draw(Random(7), 100) == orders.draw(Random(7), 100)
    assert faults.draw(Random(7), 50, 1.0, ledger=True) == faults.draw(Random(7), 50, 1.0, ledger=True)
    assert orders.draw(Random(7), 100) != orders.draw(Random(8), 100)
    kinds = {blow.kind for blow in faults.draw(Random(7), 2000, 1.0, ledger=True)}
    assert len(kinds) == 28, "every kind of fault is drawn"


@pytest.mark.parametrize(
    ("changes", "closes"),
    [
        ({"struck": [SILENCING]}, False),  # the ledger was there, and would tell
        ({"struck": [SILENCING], "noted": frozenset({UNSEARCHED.id})}, True),
        ({"struck": [SILENCING], "ledger_shared": False}, True),
        ({"struck": [SILENCING, replace(BLIND, began=100.0)]}, True),
        ({"struck": [SILENCING, BLIND]}, False),  # it was gone at another time
        ({"struck": [CRASH], "ledger_shared": False}, False),
        ({"struck": [replace(SILENCING, excuses=0)], "ledger_shared": False}, False),
    ],
)
def test_an_order_that_was_let_go_is_told_by_log_or_ledger(changes: dict[str, object], closes: bool) -> None:
    """Only who was killed, while no ledger outlived him, may be silent, and of no more than he had under way."""
    assert account(logs=[list], **changes).closes is closes
