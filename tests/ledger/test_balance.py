"""The account, from the ledger's counts and the queues'."""

import asyncio
import math
from collections.abc import Mapping

import pytest

from consumer import balance as balance_module
from consumer.adapters.ledger import Tally
from consumer.adapters.ledger.memory import MemoryLedger
from consumer.balance import BalanceWatch, InQueues, balance, by_day, discrepancies
from consumer.settings import read_settings
from consumer.supervision import cancel
from tests.support.eventually import eventually

TALLIES = [
    Tally("shop_a", "2026-01-01", received=10, delivered=5, duplicate=1, unattributed=1, waiting=2, dead=1),
    Tally("shop_b", "2026-01-02", received=3, delivered=1, dead=1, discarded=1),
]


def test_the_ledger_alone_adds_up() -> None:
    """All shops and days together, and each by itself."""
    assert balance(TALLIES, ()).as_dict() == {
        "received": 13, "delivered": 6, "duplicate": 1, "unattributed": 1, "waiting": 2, "dead": 2, "discarded": 1,
        "inFlight": 0, "crashed": 0, "difference": 0,
    }  # fmt: skip
    assert [(each["shopId"], each["day"], each["difference"]) for each in by_day(TALLIES)] == [
        ("shop_a", "2026-01-01", 0),
        ("shop_b", "2026-01-02", 0),
    ]


@pytest.mark.parametrize(
    ("queues", "difference"),
    [
        (InQueues(main=0, retry=2, dead=2), 0),
        (InQueues(main=7, retry=0, dead=2), 0),  # both waits are over, and five came that nobody has received yet
        (InQueues(main=0, retry=1, dead=2), 1),
        (InQueues(main=0, retry=2, dead=1), 1),
        (InQueues(main=0, retry=0, dead=0), 4),
        (InQueues(main=0, retry=3, dead=2), -1),
    ],
)
def test_what_the_queues_do_not_have_is_a_difference(queues: InQueues, difference: int) -> None:
    """Waiting orders are in the delay queues, or in the main queue among those that are not received yet."""
    assert balance(TALLIES, (queues,)).difference == difference
    assert bool(discrepancies(TALLIES, queues)) == bool(difference)


def test_what_rests_in_an_outbox_is_in_no_queue() -> None:
    """It waits, or was given up, in its own table."""
    tallies = [*TALLIES, Tally("shop_c", "2026-01-01", received=3, waiting=2, dead=1, outbox_waiting=2, outbox_dead=1)]
    account = balance(tallies, (InQueues(0, 2, 2),))
    assert (account.waiting, account.dead, account.difference) == (4, 3, 0)
    assert discrepancies(tallies, InQueues(0, 2, 2)) == {}


async def test_the_balance_is_unknown_while_the_broker_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old one is not shown as the present one, and it is tried again soon and not after five minutes."""
    monkeypatch.setattr(balance_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(balance_module, "connect", _refused)
    shown: list[Mapping[str, float]] = []
    routes = read_settings({"NEUROON_SHOP_ID": "shop_a", "NEUROON_API_KEY": "sk_a"}).routes
    watch = BalanceWatch(MemoryLedger(), "amqp://broker.example/", routes, shown.append)
    running = asyncio.create_task(watch.run())
    await eventually(lambda: len(shown) >= 2)
    await cancel([running])
    assert shown[0].keys() == balance([], ()).as_dict().keys()
    assert all(math.isnan(count) for count in shown[0].values())


async def _refused(*_: object) -> None:
    raise ConnectionRefusedError


def test_what_the_broker_dead_lettered_itself_is_booked_as_crashed() -> None:
    """It was received, and no try of it was recorded; it is still named where ledger and queues disagree."""
    queues = InQueues(main=0, retry=2, dead=5)
    account = balance(TALLIES, (queues,))
    assert (account.received, account.dead, account.crashed, account.difference) == (16, 5, 3, 0)
    assert discrepancies(TALLIES, queues) == {"deadByLedger": 2, "deadInQueue": 5}


def test_a_crashed_message_that_was_discarded_stays_booked() -> None:
    """The ledger has its discard alone: one less is dead there than there ever was."""
    account = balance([Tally("shop_a", "2026-01-01", dead=-1, discarded=1)], (InQueues(0, 0, 0),))
    assert (account.received, account.discarded, account.crashed, account.difference) == (1, 1, 1, 0)


MOVING = [Tally("shop_a", "2026-01-01", received=9, waiting=6, dead=3, moving_waiting=4, moving_dead=1)]


@pytest.mark.parametrize(
    ("queues", "in_flight", "difference"),
    [
        (InQueues(main=0, retry=2, dead=2, consumers=1), 5, 0),
        (InQueues(main=0, retry=1, dead=2, consumers=1), 5, 1),
        (InQueues(main=0, retry=6, dead=1, consumers=1), 1, 1),
        (InQueues(main=0, retry=2, dead=2, consumers=0), 0, 5),
        (InQueues(main=0, retry=6, dead=0, consumers=1, dead_held=True), 3, 0),
        (InQueues(main=0, retry=6, dead=0, consumers=0, dead_held=True), 3, 0),
    ],
)
def test_what_is_in_flight_is_booked_and_no_more(queues: InQueues, in_flight: int, difference: int) -> None:
    """What may move between queue and consumer, where there is one; and what a reader of the dead letters holds."""
    account = balance(MOVING, (queues,))
    assert (account.in_flight, account.difference) == (in_flight, difference)


def test_what_changes_while_the_ledger_is_read_is_no_difference() -> None:
    """A retry queue that fills or empties meanwhile: the counts before and after both bound what was there."""
    waiting = [Tally("shop_a", "2026-01-01", received=50, waiting=50)]
    for before, after in ((0, 80), (80, 0)):
        assert balance(waiting, (InQueues(0, before, 0), InQueues(0, after, 0))).difference == 0
    assert balance(waiting, (InQueues(0, 20, 0), InQueues(0, 40, 0))).difference == 10
    assert balance(waiting, (InQueues(0, 60, 0), InQueues(0, 70, 0))).difference == -10
