"""Conservation: every message received is delivered, a duplicate, unattributed, waiting, dead or discarded.

What was received and how it ended is what the ledger has recorded. Where the rest is, the queues are asked: an order
that the ledger believes to wait and that is in no queue is exactly what must be found out.

Two kinds of message are in one of the two alone, and are booked as what they are. One that is in flight was recorded,
and is on its way between a queue and a consumer: its last try has just ended, or its next has just become due. One that
the broker dead-lettered itself (`crashed`) is in the dead-letter queue, and no try of it was ever recorded. What
neither explains is the difference.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from aio_pika.abc import AbstractConnection

from consumer.adapters.ledger import LedgerDownError, Span, Store, Tally
from consumer.adapters.link import LINK_ERRORS, connect
from consumer.adapters.topology import QueueState, queue_state
from consumer.core.settlement import Routes

FIRST_PAUSE = 20.0
LEAST_PAUSE = 300.0
# A look reads every row of the ledger, about a second for a million: it may take one part in so many of the time.
SHARE = 200.0

ENDS = ("delivered", "duplicate", "unattributed", "waiting", "dead", "discarded")
_SUMS = ("received", *ENDS, "outbox_waiting", "outbox_dead", "moving_waiting", "moving_dead")


@dataclass(frozen=True, slots=True)
class InQueues:
    """Messages ready in the main queue, the delay queues together, and the dead-letter queue.

    `consumers` of the main queue; `dead_held`: a consumer of the dead-letter queue may have some of its messages.
    """

    main: int
    retry: int
    dead: int
    consumers: int = 0
    dead_held: bool = False


@dataclass(frozen=True, slots=True)
class Balance:
    """The account, received = the other places + difference.

    `difference` is what was received and is nowhere; below 0, what is there and was not received.
    """

    received: int
    delivered: int
    duplicate: int
    unattributed: int
    waiting: int
    dead: int
    discarded: int
    in_flight: int
    crashed: int
    difference: int

    def as_dict(self) -> dict[str, int]:
        """For --json and the metric."""
        fields = asdict(self)
        return {"inFlight" if name == "in_flight" else name: fields[name] for name in fields}


def balance(tallies: Iterable[Tally], queues: Sequence[InQueues]) -> Balance:
    """The account of all `tallies`; `queues` as counted before and after them, or nothing: from the ledger alone.

    An order whose wait is over may be in the main queue, among those that nobody has received yet: as many as the
    ledger says are taken to be there, if there are as many. What changed between the counts was there.

    `crashed` are counted among `received` and `dead`, too.
    """
    sums = dict.fromkeys(_SUMS, 0)
    for tally in tallies:
        for name in sums:
            sums[name] += getattr(tally, name)
    in_flight = crashed = 0
    if queues:
        waiting, dead = sums["waiting"] - sums["outbox_waiting"], sums["dead"] - sums["outbox_dead"]
        most = max(each.retry + each.main for each in queues)
        found = min(max(waiting, min(each.retry for each in queues)), most)
        found_dead = min(max(dead, min(each.dead for each in queues)), max(each.dead for each in queues))
        consumed = any(each.consumers for each in queues)
        held = any(each.dead_held for each in queues)
        in_flight = min(max(waiting - found, 0), sums["moving_waiting"] if consumed else 0)
        in_flight += min(max(dead - found_dead, 0), dead if held else sums["moving_dead"] if consumed else 0)
        crashed = max(found_dead - dead, 0)
        sums |= {"waiting": sums["outbox_waiting"] + found, "dead": sums["outbox_dead"] + found_dead}
    received = sums["received"] + crashed
    ends = {name: sums[name] for name in ENDS}
    difference = received - sum(ends.values()) - in_flight
    return Balance(received, **ends, in_flight=in_flight, crashed=crashed, difference=difference)


def moving(now: float, longest: float) -> Span:
    """When what is in flight at `now` was recorded or became due; `longest` seconds may a try and its record take."""
    return now - longest, now + longest


def longest_flight(request_timeout: float) -> float:
    """Seconds: a POST, a look-up, a record and a confirm, each as slow as it may be."""
    return max(120.0, 6 * request_timeout)


def by_day(tallies: Sequence[Tally]) -> list[dict[str, object]]:
    """The account of each shop and day; from the ledger alone, since no queue tells shops apart."""
    return [{"shopId": tally.shop or None, "day": tally.day, **balance([tally], ()).as_dict()} for tally in tallies]


async def ask_queues(connection: AbstractConnection, routes: Routes) -> InQueues:
    """How many messages are where; a queue that does not exist holds none. Raises one of LINK_ERRORS."""
    names = {rung.name for rung in (*routes.ladder.rungs, routes.ladder.hold)}
    retry = [(await _state(connection, routes.queues.retry(name))).messages for name in sorted(names)]
    main, dead = await _state(connection, routes.queues.main), await _state(connection, routes.queues.dead)
    return InQueues(main.messages, sum(retry), dead.messages, main.consumers, dead.consumers > 0)


@dataclass
class BalanceWatch:
    """Computes the balance again and again, and hands it to `show`: NaN for each place while it cannot be known."""

    store: Store
    url: str
    routes: Routes
    show: Callable[[Mapping[str, float]], None]
    longest: float = 120.0

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
        self.show(dict.fromkeys(balance([], ()).as_dict(), math.nan))

    async def _close_account(self) -> None:
        connection = await connect(self.url, "neuroon-consumer balance")
        async with connection:
            before = await ask_queues(connection, self.routes)
            tallies = await self.store.tallies(moving(time.time(), self.longest))
            after = await ask_queues(connection, self.routes)
        self.show(balance(tallies, (before, after)).as_dict())


async def _state(connection: AbstractConnection, name: str) -> QueueState:
    return await queue_state(connection, name) or QueueState(0, 0)


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
