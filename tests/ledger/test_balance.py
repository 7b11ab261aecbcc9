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
    assert balance(TALLIES, None).as_dict() == {
        "received": 13, "delivered": 6, "duplicate": 1, "unattributed": 1, "waiting": 2, "dead": 2, "discarded": 1,
        "difference": 0,
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
        (InQueues(main=0, retry=2, dead=5), -3),
    ],
)
def test_what_the_queues_do_not_have_is_a_difference(queues: InQueues, difference: int) -> None:
    """Waiting orders are in the delay queues, or in the main queue among those that are not received yet."""
    assert balance(TALLIES, queues).difference == difference
    assert bool(discrepancies(TALLIES, queues)) == bool(difference)


def test_what_rests_in_an_outbox_is_in_no_queue() -> None:
    """It waits, or was given up, in its own table."""
    tallies = [*TALLIES, Tally("shop_c", "2026-01-01", received=3, waiting=2, dead=1, outbox_waiting=2, outbox_dead=1)]
    account = balance(tallies, InQueues(0, 2, 2))
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
    assert shown[0].keys() == balance([], None).as_dict().keys()
    assert all(math.isnan(count) for count in shown[0].values())


async def _refused(*_: object) -> None:
    raise ConnectionRefusedError
