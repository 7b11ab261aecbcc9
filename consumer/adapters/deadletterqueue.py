"""The dead-letter queue: its letters held while somebody looks, and given back in the order in which they lay.

A held letter is delivered and not acknowledged. Should this process die, the broker puts it back by itself, so that a
look can be killed at any time. Letters are read through consumers with a bounded prefetch ("windows"), three times as
fast as by one basic.get after the other. What was found on 3.10.8 shapes the giving back:

- Returned letters lie before those that were never delivered, but behind others that were returned. So a look always
  reads to the end: when all have been out, they come back in their old order, and a look at the first ten would put
  those ten last.
- The letters of one return come back in the order of an Erlang map, which is theirs up to 32 and a hash's above (3,000
  returned at once were thoroughly mixed; 4.x keeps the order). So they are returned 32 at a time, and not faster than
  the queue takes them: else the broker gathers the returns that wait in its channel and makes one of them.
- Each return counts as a delivery up to 4.2, and beyond its delivery limit the broker throws a message away: RabbitMQ 4
  sets 20 where no argument does. So a message that has been returned `RENEW_AT` times is published anew, which starts
  its count at 0, and then acknowledged.
- When a channel dies, its letters come back consumer by consumer, in the order of a map as well. So a look has fewer
  than 32 windows.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from aiormq.abc import AbstractChannel, DeliveredMessage

from consumer.adapters.link import LINK_ERRORS, RPC_TIMEOUT, open_channel
from consumer.adapters.publisher import Publisher, PublishFailedError
from consumer.adapters.stream import DeliveryStream, StreamedConnection
from consumer.adapters.topology import QueueState, queue_state
from consumer.core.delivery import Delivery, Properties, believed, times_returned
from consumer.core.headers import Headers
from consumer.core.settlement import Queues

RETURN_SIZE = 32
# Half of the lowest limit that a broker sets by itself. Publishing anew costs some 0.3 ms, each tenth time.
RENEW_AT = 10
# Of more than 32 commands under way the broker gathers acknowledgements, and forgets those with a channel that closes.
RENEWED_TOGETHER = 24
# The broker begins to gather returns when 32 of them wait in a channel.
RETURNS_UNDER_WAY = 4
# How long the queue's count may stand still while letters are returned.
RETURN_SECONDS = 1.0
WINDOWS = 24
SMALLEST_WINDOW, LARGEST_WINDOW = 250, 65_535
# What may have arrived and not been looked at yet; the size of a window is chosen so that bodies stay below this.
WINDOW_BYTES = 32 * 1024 * 1024

# A letter that the broker has ready arrives within milliseconds; after this silence we ask whether there is one.
SILENCE_SECONDS = 0.25
# How often silence is answered with "there are some" before we call the queue stuck (a leader election takes seconds).
SILENCES = 80
# Somebody else's look is over within seconds; a replay may take hours, and is not waited for longer than this.
PATIENCE_SECONDS = 3.0
PATIENCE_STEP = 0.1


Lasting = Callable[[Delivery], Headers]


class NoQueueError(Exception):
    """The queue does not exist; the message names it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A letter that is ours until it is taken away for good or the hold ends."""

    tag: int
    delivery: Delivery


class Hold:
    """Letters read one after the other; what is not taken away goes back at the end, in order."""

    def __init__(
        self, channel: AbstractChannel, stream: DeliveryStream, queue: str, state: QueueState, lasting: Lasting
    ) -> None:
        self._channel, self._stream, self._queue, self._lasting = channel, stream, queue, lasting
        self._publisher = Publisher(channel)
        self._arrived: asyncio.Queue[Held] = asyncio.Queue()
        stream.take(channel.number, self._receive)
        self._ahead = state.messages  # letters that lay there when the hold began and have not been read
        self._shared_by = state.consumers
        self._windows: list[str] = []
        self._free = 0  # letters that the present window can still deliver
        self._in_hand: Held | None = None
        # Read, and to be published anew instead of returned: at the end, or the copies would come to this look as well.
        self._worn: list[Held] = []
        self._worn_bytes = 0
        self._last_kept = 0
        self._unmarked = 0
        self._marks: list[tuple[int, int]] = []  # tags up to which to return at once, and how many letters that is
        self._read = self._bytes = 0

    @property
    def shared(self) -> bool:
        """Whether somebody else held letters when this hold began: those are not seen."""
        return self._shared_by > 0

    async def take(self) -> Held | None:
        """The next letter, None after the last one that lay there at the beginning.

        The letter before it, if it was not acknowledged, is kept. Raises one of LINK_ERRORS.
        """
        self._keep()
        if self._worn_bytes > WINDOW_BYTES:
            await self._renew()
        if self._ahead <= 0:
            return None
        if self._free == 0:
            await self._open_window()
        held = await self._next()
        if held is None:
            return None
        self._ahead -= 1
        self._in_hand = held
        self._read += 1
        self._bytes += len(held.delivery.body)
        return held

    async def publish(self, body: bytes, headers: Mapping[str, object], properties: Properties, queue: str) -> None:
        """Publish to `queue` and wait for the confirm; PublishFailedError.

        It goes through the channel that acknowledges: the broker reads an acknowledgement before the publish that
        follows it, so that a crash can leave one letter both here and there, and never two.
        """
        await self._publisher.publish(body, headers, properties, routing_key=queue)

    async def ack(self, held: Held) -> None:
        """Take the letter away for good."""
        await self._channel.basic_ack(held.tag)
        if self._in_hand is not None and held.tag == self._in_hand.tag:
            self._in_hand = None

    def hurry(self) -> None:
        """Give back without reading to the end; the letters that were read come to lie last."""
        self._ahead = 0

    async def give_back(self) -> None:
        """Return everything that is held, and close. On a lost link the broker has done so already."""
        with contextlib.suppress(*LINK_ERRORS):
            while await self.take() is not None:
                pass
            for window in self._windows:
                await self._channel.basic_cancel(window, timeout=RPC_TIMEOUT)
            while not self._arrived.empty():
                self._in_hand = self._arrived.get_nowait()
                self._keep()
            await self._renew()
            self._mark()
            await self._return()
            await self._channel.close()
        self._stream.leave(self._channel.number)

    async def _return(self) -> None:
        """Return up to each mark in turn, and wait until the queue has it: whoever looks next is to see all."""
        expected = await self._ask()
        counting = True
        for tag, count in self._marks:
            await self._channel.basic_nack(tag, multiple=True, wait=False)
            expected += count
            counting = counting and await self._come_to(expected - RETURN_SIZE * RETURNS_UNDER_WAY)
            if not counting:
                await self._ask()
        await self._channel.basic_nack(0, multiple=True)  # what came in between; nothing, ordinarily
        if counting:
            await self._come_to(expected)

    async def _come_to(self, ready: int) -> bool:
        """Wait until so many letters are ready; False if they do not come, since somebody else takes them at once."""
        seen, deadline = -1, 0.0
        while (present := await self._ask()) < ready:
            if present != seen:
                seen, deadline = present, time.monotonic() + RETURN_SECONDS
            elif time.monotonic() > deadline:
                return False
        return True

    def _keep(self) -> None:
        """The letter in hand stays: it takes up room in its window, and is returned in its turn."""
        held, self._in_hand = self._in_hand, None
        if held is None:
            return
        self._free -= 1
        if times_returned(held.delivery) >= RENEW_AT:
            self._worn.append(held)
            self._worn_bytes += len(held.delivery.body)
            return
        self._unmarked += 1
        self._last_kept = held.tag
        if self._unmarked == RETURN_SIZE:
            self._mark()

    async def _renew(self) -> None:
        """Publish anew what has been returned often. What is not confirmed is returned with the rest."""
        self._worn_bytes = 0
        while self._worn:
            worn, self._worn = self._worn[:RENEWED_TOGETHER], self._worn[RENEWED_TOGETHER:]
            await self._renew_together(worn)

    async def _renew_together(self, worn: list[Held]) -> None:
        ends = await asyncio.gather(*map(self._publish_anew, worn), return_exceptions=True)
        for held, end in zip(worn, ends, strict=True):
            if end is None:
                await self._channel.basic_ack(held.tag, wait=False)
            elif not isinstance(end, PublishFailedError):
                raise end

    async def _publish_anew(self, held: Held) -> None:
        each = held.delivery
        await self._publisher.publish(each.body, self._lasting(each), each.properties, routing_key=self._queue)

    def _mark(self) -> None:
        if self._unmarked:
            self._marks.append((self._last_kept, self._unmarked))
        self._unmarked = 0

    async def _open_window(self) -> None:
        """Another consumer, now that the one before is full and will get no more: so order is kept between them."""
        self._mark()
        size = self._window_size()
        await self._channel.basic_qos(prefetch_count=size, timeout=RPC_TIMEOUT)
        name = f"hold-{len(self._windows):06d}"
        await self._channel.basic_consume(self._queue, self._missed, consumer_tag=name, timeout=RPC_TIMEOUT)
        self._windows.append(name)
        self._free = size

    def _window_size(self) -> int:
        if not self._read:
            return min(self._ahead, SMALLEST_WINDOW)  # to learn how large the letters are
        fitting = max(1, WINDOW_BYTES * self._read // max(1, self._bytes))
        wanted = max(SMALLEST_WINDOW, (self._ahead + self._read) // WINDOWS)
        return max(1, min(self._ahead, wanted, fitting, LARGEST_WINDOW))

    def _receive(self, tag: int, delivery: Delivery) -> None:
        self._arrived.put_nowait(Held(tag, believed(delivery)))

    async def _missed(self, _: DeliveredMessage) -> None:
        """Never called, as long as the stream takes every delivery out of the library's way."""
        raise RuntimeError("a dead letter was missed")

    async def _next(self) -> Held | None:
        """The next arrival; None when the broker has no more, because somebody else holds the rest."""
        for _ in range(SILENCES):
            if not self._arrived.empty():
                return self._arrived.get_nowait()
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    return await self._arrived.get()
            except TimeoutError:
                state = await self._ask()
            if not state and self._arrived.empty():
                return None
        raise TimeoutError(f"{self._queue} has letters, and the broker does not deliver them")

    async def _ask(self) -> int:
        """How many letters are ready; also a way to wait until the queue has seen what was sent before."""
        answer = await self._channel.queue_declare(self._queue, passive=True, timeout=RPC_TIMEOUT)
        return answer.message_count or 0


class DeadLetterQueue:
    """The dead letters of one consumer, and the queues around them."""

    def __init__(self, connection: StreamedConnection, queues: Queues) -> None:
        self._connection = connection
        self.queues = queues

    @contextlib.asynccontextmanager
    async def hold(self, lasting: Lasting) -> AsyncIterator[Hold]:
        """Letters to look at, given back at the end. Waits a moment if somebody else is looking.

        `lasting` gives the headers with which a letter is published anew that has been returned often.

        Raises NoQueueError or one of LINK_ERRORS.
        """
        state = await self._quiet_state()
        channel = await open_channel(self._connection, confirms=True)
        hold = Hold(channel, self._connection.stream, self.queues.dead, state, lasting)
        try:
            yield hold
        except (asyncio.CancelledError, KeyboardInterrupt):
            hold.hurry()  # somebody wants to leave
            raise
        finally:
            await hold.give_back()

    async def state(self, queue: str) -> QueueState:
        """Ready messages and consumers of one of our queues; NoQueueError or one of LINK_ERRORS."""
        found = await queue_state(self._connection, queue)
        if found is None:
            raise NoQueueError(
                f"queue {queue!r} does not exist: no consumer with this CONSUMER_QUEUE has ever run here"
            )
        return found

    async def dead_count(self) -> int:
        """Dead letters that no process holds at this moment; NoQueueError or one of LINK_ERRORS."""
        return (await self._quiet_state()).messages

    async def publisher(self) -> Publisher:
        """To publish without holding anything."""
        return await Publisher.open(self._connection)

    async def _quiet_state(self) -> QueueState:
        """The state once nobody else looks, or after PATIENCE_SECONDS."""
        state = await self.state(self.queues.dead)
        waited = 0.0
        while state.consumers and waited < PATIENCE_SECONDS:
            await asyncio.sleep(PATIENCE_STEP)
            waited += PATIENCE_STEP
            state = await self.state(self.queues.dead)
        return state
