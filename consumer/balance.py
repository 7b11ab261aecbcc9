"""Conservation: every message received is delivered, a duplicate, unattributed, waiting, dead or discarded.

What was received and how it ended is what the ledger has recorded. Where the rest is, the queues are asked: an order
that the ledger believes to wait and that is in no queue is exactly what must be found out. A difference is never
explained away here.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from aio_pika.abc import AbstractConnection

from consumer.adapters.ledger import LedgerDownError, Store, Tally
from consumer.adapters.link import LINK_ERRORS, connect
from consumer.adapters.topology import queue_state
from consumer.core.settlement import Routes

FIRST_PAUSE = 20.0
LEAST_PAUSE = 300.0
# A look reads every row of the ledger, about a second for a million: it may take one part in so many of the time.
SHARE = 200.0

ENDS = ("delivered", "duplicate", "unattributed", "waiting", "dead", "discarded")


@dataclass(frozen=True, slots=True)
class InQueues:
    """Messages ready in the main queue, the delay queues together, and the dead-letter queue."""

    main: int
    retry: int
    dead: int


@dataclass(frozen=True, slots=True)
class Balance:
    """The account. `difference` is what was received and is nowhere; below 0, what is there and was not received."""

    received: int
    delivered: int
    duplicate: int
    unattributed: int
    waiting: int
    dead: int
    discarded: int
    difference: int

    def as_dict(self) -> dict[str, int]:
        """For --json and the metric, by the names of the fields."""
        return asdict(self)


def balance(tallies: Iterable[Tally], queues: InQueues | None) -> Balance:
    """The account of all `tallies`; without `queues`, from the ledger alone.

    An order whose wait is over may be in the main queue, among those that nobody has received yet: as many as the
    ledger says are taken to be there, if there are as many.
    """
    sums = dict.fromkeys(("received", *ENDS, "outbox_waiting", "outbox_dead"), 0)
    for tally in tallies:
        for name in sums:
            sums[name] += getattr(tally, name)
    outbox_waiting, outbox_dead = sums.pop("outbox_waiting"), sums.pop("outbox_dead")
    if queues is not None:
        in_queues = sums["waiting"] - outbox_waiting
        sums["waiting"] = outbox_waiting + min(max(in_queues, queues.retry), queues.retry + queues.main)
        sums["dead"] = outbox_dead + queues.dead
    return Balance(**sums, difference=sums["received"] - sum(sums[name] for name in ENDS))


def by_day(tallies: Sequence[Tally]) -> list[dict[str, object]]:
    """The account of each shop and day; from the ledger alone, since no queue tells shops apart."""
    return [{"shopId": tally.shop or None, "day": tally.day, **balance([tally], None).as_dict()} for tally in tallies]


async def ask_queues(connection: AbstractConnection, routes: Routes) -> InQueues:
    """How many messages are where; a queue that does not exist holds none. Raises one of LINK_ERRORS."""
    names = {rung.name for rung in (*routes.ladder.rungs, routes.ladder.hold)}
    retry = [await _messages(connection, routes.queues.retry(name)) for name in sorted(names)]
    main, dead = await _messages(connection, routes.queues.main), await _messages(connection, routes.queues.dead)
    return InQueues(main, sum(retry), dead)


@dataclass
class BalanceWatch:
    """Computes the balance again and again, and hands it to `show`: NaN for each place while it cannot be known."""

    store: Store
    url: str
    routes: Routes
    show: Callable[[Mapping[str, float]], None]

    async def run(self) -> None:
        """Run for as long as the program does. While ledger or broker are away it tries again after FIRST_PAUSE."""
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            begun, least = time.monotonic(), LEAST_PAUSE
            try:
                await self._close_account()
            except (LedgerDownError, *LINK_ERRORS):
                self.forget()
                least = FIRST_PAUSE
            pause = max(least, SHARE * (time.monotonic() - begun))

    def forget(self) -> None:
        """Report the balance as unknown: an old one would look like the present one."""
        self.show({field.name: math.nan for field in fields(Balance)})

    async def _close_account(self) -> None:
        connection = await connect(self.url, "neuroon-consumer balance")
        async with connection:
            queues = await ask_queues(connection, self.routes)
        self.show(balance(await self.store.tallies(), queues).as_dict())


async def _messages(connection: AbstractConnection, name: str) -> int:
    state = await queue_state(connection, name)
    return 0 if state is None else state.messages


def discrepancies(tallies: Iterable[Tally], queues: InQueues) -> Mapping[str, int]:
    """What the ledger believes to be in the queues and what is there, where the two do not agree."""
    waiting = dead = 0
    for tally in tallies:
        waiting += tally.waiting - tally.outbox_waiting
        dead += tally.dead - tally.outbox_dead
    told: dict[str, int] = {}
    if not queues.retry <= waiting <= queues.retry + queues.main:
        told |= {"waitingByLedger": waiting, "waitingInQueues": queues.retry}
    if dead != queues.dead:
        told |= {"deadByLedger": dead, "deadInQueue": queues.dead}
    return told
