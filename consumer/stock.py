"""What lies in the queues, for the metrics: how many wait, how many are dead, and how much money that is.

Counting asks the broker a question for each queue and touches no message. The money is in the messages, so that the
dead letters have to be read, which hides them from others meanwhile. So they are read only when their number has
changed and stood still since, at most every five minutes, and never while another process reads them.
"""

import asyncio
import math
import random
import time
from collections.abc import Mapping
from decimal import Decimal

import structlog

from consumer.adapters.deadletterqueue import DeadLetterQueue, NoQueueError
from consumer.adapters.link import LINK_ERRORS, connect, describe
from consumer.adapters.stream import StreamedConnection
from consumer.adapters.topology import QueueState, Topology, queue_state
from consumer.core.delivery import Delivery
from consumer.core.order import Malformed
from consumer.core.settlement import Queues
from consumer.deadletters.browse import Desk, looking
from consumer.deadletters.filters import Filter
from consumer.deadletters.letter import Read, read_letter
from consumer.deadletters.summary import Summary
from consumer.telemetry import Telemetry
from consumer.workload import Workload

COUNT_SECONDS = 15.0
LOOK_SECONDS = 300.0

log = structlog.get_logger(__name__)


class Stock:
    """Counts for as long as the program runs, on a link of its own. `read` None: the money is not looked for.

    `workload` is the consumer's, since letters cost as much to read as they did when they were orders.
    """

    def __init__(
        self,
        url: str,
        wanted: Topology,
        queues: Queues,
        telemetry: Telemetry,
        read: Read | None = None,
        workload: Workload | None = None,
    ) -> None:
        self._url, self._wanted, self._queues, self._telemetry, self._read = url, wanted, queues, telemetry, read
        self._workload = workload or Workload()
        self._told = self._dead = -1  # how many letters the money told belongs to; how many there were a moment ago
        self._looked = self._unheld = -math.inf
        self._failing = False
        self._shown: Mapping[str, Decimal] = {}

    async def run(self) -> None:
        """Count until cancelled; a broker that is away makes the numbers unknown (NaN), not zero."""
        while True:
            try:
                connection = await connect(self._url, "neuroon-consumer metrics")
                async with connection:
                    while True:
                        await self.count(connection)
                        await asyncio.sleep(COUNT_SECONDS)
            except LINK_ERRORS as error:
                if not self._failing:
                    log.warning("queues cannot be counted", why=describe(error))
                self._failing = True
            self._telemetry.waiting(math.nan, math.nan, math.nan)
            await asyncio.sleep(COUNT_SECONDS)

    def forget(self) -> None:
        """Report every number as unknown (NaN): the old ones would look like the present ones."""
        self._telemetry.waiting(math.nan, math.nan, math.nan)
        self._show(dict.fromkeys(self._shown, Decimal("NaN")))
        self._told = -1

    async def count(self, connection: StreamedConnection) -> None:
        """Tell the telemetry what lies where now. Raises one of LINK_ERRORS."""
        states = {queue.name: await queue_state(connection, queue.name) for queue in self._wanted.queues}
        ends = {self._queues.main, self._queues.dead}
        retry = sum(state.messages for name, state in states.items() if state and name not in ends)
        main, dead = states[self._queues.main], states[self._queues.dead]
        number = None if dead is None else self._number(dead)
        self._telemetry.waiting(_messages(main), retry, math.nan if number is None else number)
        self._failing = False
        if number == 0:
            self._tell(Summary())  # known without a look, which would put off the next one
        elif self._read is not None and dead is not None and self._is_time(dead):
            await self._look(connection, self._read)
        self._dead = -1 if number is None else number

    def _number(self, dead: QueueState) -> int:
        """How many there are: what somebody holds at a look, which is short, is not counted by the broker, nor gone."""
        now = time.monotonic()
        if not dead.consumers:
            self._unheld = now
        looked_at = dead.consumers > 0 and now - self._unheld < LOOK_SECONDS
        return max(dead.messages, self._dead) if looked_at else dead.messages

    def _is_time(self, dead: QueueState) -> bool:
        settled = dead.messages == self._dead != self._told and not dead.consumers
        return settled and time.monotonic() - self._looked >= LOOK_SECONDS

    async def _look(self, connection: StreamedConnection, read: Read) -> None:
        self._looked = time.monotonic()
        summary = Summary()
        desk = Desk(DeadLetterQueue(connection, self._queues), _unread)
        try:
            async with looking(desk, Filter()) as look:
                async for held, _ in look:
                    summary.add(await self._workload.run(lambda each: read_letter(each, read), held.delivery))
                if look.shared:
                    # Two that looked at one moment, as after a start of the broker, must not meet again each time.
                    self._looked -= LOOK_SECONDS * random.random()  # noqa: S311 - nothing secret
                    return
        except NoQueueError:
            return
        self._tell(summary)

    def _tell(self, summary: Summary) -> None:
        self._told = summary.count
        self._show(summary.value)

    def _show(self, value: Mapping[str, Decimal]) -> None:
        self._shown = value
        self._telemetry.stuck(value)


def _unread(_: Delivery) -> Malformed:
    """For a walk over the letters in which each is read later, when its turn has come."""
    return Malformed("not read yet")


def _messages(state: QueueState | None) -> float:
    return math.nan if state is None else state.messages
