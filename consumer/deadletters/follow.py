"""What became of replayed orders: delivered, dead again, or still waiting.

Who knows best is whoever remembers the orders (`Whereabouts`). Without such a memory only the queues can be asked: an
order that died again lies among the dead letters, and one that is in no queue any more has been delivered or needed
no delivery.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from consumer.adapters.topology import QueueState
from consumer.core.settlement import Subject
from consumer.core.shop import Shop
from consumer.deadletters.browse import Desk, looking
from consumer.deadletters.filters import Filter
from consumer.deadletters.letter import Letter
from consumer.deadletters.summary import Summary
from consumer.deadletters.sweep import Control

POLL_SECONDS = 1.0
# Polls in a row that see no consumer before that is reported: one may fall between two sessions of a consumer.
UNCONSUMED_POLLS = 3
# Orders asked after at a time.
BATCH = 500


@dataclass(frozen=True, slots=True)
class Sighting:
    """The last thing known of an order: an outcome's word, or "waiting"; `at` in Unix seconds."""

    state: str
    at: float


class Whereabouts(Protocol):
    """Remembers what became of orders."""

    async def sightings(self, orders: Sequence[Subject]) -> Sequence[Sighting | None]:
        """The last sighting of each order, None where nothing is known. Never raises."""


# An order that has come to one of these ends is there for good.
ARRIVED = frozenset({"delivered", "duplicate", "unattributed"})


@dataclass
class Followed:
    """How replayed letters fared. `arrived` counts by outcome; `left` are in no queue any more, and not remembered.

    `waiting` are still on their way. `dead` are the letters that died again.
    """

    total: int
    arrived: Counter[str] = field(default_factory=Counter)
    dead: Summary = field(default_factory=Summary)
    left: int = 0
    consumers: int = 0  # of the main queue, when it was last looked at

    @property
    def waiting(self) -> int:
        """Orders of which no end is known yet."""
        return self.total - self.arrived.total() - self.dead.count - self.left

    def as_dict(self) -> dict[str, object]:
        """For --json, beside the counts of the replay."""
        counts = {"left": self.left, "waiting": self.waiting, "consumers": self.consumers}
        return {**self.arrived, **counts, "dead": self.dead.as_dict()}


Trace = tuple[str | None, float]


@dataclass(frozen=True, slots=True)
class _Sent:
    """An order on its way, and how often it had been replayed before."""

    subject: Subject
    replays: int


class Following:
    """Replayed letters on their way. Give it each letter (`sent`), then `watch`."""

    def __init__(self, desk: Desk, rungs: Sequence[str], whereabouts: Whereabouts | None, quiet: float) -> None:
        """`rungs`: the retry queues. `quiet`: seconds for which no queue may hold anything until all are through.

        It must be longer than one try takes, since an order that is being tried shows in no count.
        """
        self._desk, self._rungs, self._whereabouts, self._quiet = desk, rungs, whereabouts, quiet
        self._on_way: dict[Trace, list[_Sent]] = {}
        self._dead_count = -1
        self._still_since: float | None = None
        self._unconsumed = 0  # polls in a row that saw no consumer
        self.on_unconsumed: Callable[[], None] = lambda: None
        self.result = Followed(0)

    def sent(self, letter: Letter) -> None:
        """`letter` is on its way."""
        shop = self._desk.shops.find(letter.shop)  # an alias is not what an order is remembered by
        subject = Subject(shop.id if isinstance(shop, Shop) else letter.shop, letter.order)
        self._on_way.setdefault(_trace(letter), []).append(_Sent(subject, letter.replays))
        self.result.total += 1

    async def watch(self, control: Control, tell: Callable[[Followed], None]) -> Followed:
        """Look until each order has come to an end, or `control.stop`. Raises NoQueueError or one of LINK_ERRORS."""
        while self._on_way and not control.stop.is_set():
            await self._find_consumers()
            await self._find_arrived()
            await self._find_dead()
            if self._on_way and await self._all_is_still():
                self.result.left += sum(map(len, self._on_way.values()))
                self._on_way.clear()
            tell(self.result)
            if self._on_way:
                await control.sleep(POLL_SECONDS)
        return self.result

    async def _find_consumers(self) -> None:
        """Call `on_unconsumed` when no consumer takes orders from the main queue, once until there is one again."""
        self.result.consumers = (await self._state(self._desk.queue.queues.main)).consumers
        self._unconsumed = 0 if self.result.consumers else self._unconsumed + 1
        if self._unconsumed == UNCONSUMED_POLLS:
            self.on_unconsumed()

    async def _find_arrived(self) -> None:
        if self._whereabouts is None:
            return
        asked = [(trace, sent[0].subject) for trace, sent in self._on_way.items() if sent[0].subject.order]
        for start in range(0, len(asked), BATCH):
            batch = asked[start : start + BATCH]
            sightings = await self._whereabouts.sightings([subject for _, subject in batch])
            for (trace, _), sighting in zip(batch, sightings, strict=True):
                if sighting is not None and sighting.state in ARRIVED:
                    self.result.arrived[sighting.state] += len(self._on_way.pop(trace))

    async def _find_dead(self) -> None:
        """Look among the dead letters, if their number has changed since we last did."""
        count = (await self._state(self._desk.queue.queues.dead)).messages
        if count == self._dead_count:
            return
        self._dead_count = count
        async with looking(self._desk, Filter()) as look:
            async for _, letter in look:
                waiting = self._on_way.get(_trace(letter))
                # Not by the time of its death, which another machine's clock has told.
                if waiting and letter.replays > waiting[-1].replays:
                    self.result.dead.add(letter)
                    waiting.pop()
                    if not waiting:
                        del self._on_way[_trace(letter)]

    async def _all_is_still(self) -> bool:
        """Whether main and retry queues have been empty for so long that no order can be on its way."""
        names = [self._desk.queue.queues.main, *self._rungs]
        if any([(await self._state(name)).messages for name in names]):
            self._still_since = None
            return False
        now = time.monotonic()
        if self._still_since is None:
            self._still_since = now
        return now - self._still_since >= self._quiet

    async def _state(self, name: str) -> QueueState:
        return await self._desk.queue.state(name)


def _trace(letter: Letter) -> Trace:
    """What stays with an order from one death to the next; its shop may have been found meanwhile."""
    return letter.order, letter.first_seen or 0.0
