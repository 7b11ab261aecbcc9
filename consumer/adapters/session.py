"""One life of the link to the broker: two connections, a consumer, and everything that can end them.

There are two connections because a broker in a memory or disk alarm stops reading from one that publishes, and with it
the acknowledgements on it. A session is never repaired: whatever breaks, it is lost as a whole and a new one is opened.
"""

import asyncio
from collections.abc import Callable

import structlog
from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel, ChannelFrame, DeliveredMessage
from pamqp.commands import Basic

from consumer.adapters.brake import Brake
from consumer.adapters.link import LINK_ERRORS, RPC_TIMEOUT, connect, describe, open_channel, own_cancellation
from consumer.adapters.publisher import Publisher
from consumer.adapters.stream import StreamedConnection
from consumer.adapters.topology import Topology, compare, declare, queue_state
from consumer.core.delivery import Delivery

# How often it is looked whether the broker still knows our consumer. A link can be up and deliver nothing: a
# lost cancel, a queue whose leader moved. 30 s is well below the minutes after which somebody would be paged.
WATCH_SECONDS = 30.0
# To a consumer with room the broker delivers within milliseconds: messages that wait longer are kept from it.
DOUBT_SECONDS = 5.0
# To take leave of the broker in good order. One that has not answered by then will notice by itself, and a shutdown
# must not wait longer: a pod has 30 s by default, and the grace is spent out of the same.
LEAVE_SECONDS = 4.0

OnDelivery = Callable[["Session", int, Delivery], None]

log = structlog.get_logger(__name__)


class Acks:
    """Acknowledgements: what is settled in one round of the event loop goes in one piece, as few frames."""

    def __init__(
        self, channel: AbstractChannel, brake: Brake | None = None, lose: Callable[[str], None] = lambda _: None
    ) -> None:
        """`lose` is called with the reason when acknowledgements cannot be sent any more."""
        self._channel, self._lose = channel, lose
        self._brake = brake or Brake()
        self._outstanding: dict[int, None] = {}  # in the order of delivery
        self._settled: set[int] = set()
        self._flushing: asyncio.Task[None] | None = None
        self.newest = 0  # the tag of the last delivery; the broker counts them up

    def delivered(self, tag: int, size: int = 0) -> None:
        """Note that `tag`, whose body has `size` bytes, is to be settled."""
        self.newest = tag
        self._outstanding[tag] = None
        self._brake.take(tag, size)

    @property
    def outstanding(self) -> int:
        """Deliveries that are not settled yet."""
        return len(self._outstanding)

    def ack(self, tag: int) -> None:
        """Acknowledge `tag` soon; nothing happens when the channel is gone, since the broker delivers it again."""
        self._settled.add(tag)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self.flush())

    async def give_back(self, tag: int) -> None:
        """Return `tag` to its queue."""
        # It stays outstanding until the frame is on its way. The library's write queue is short, and a frame that waits
        # for room may be overtaken: an acknowledgement "up to here" would then cover this message, and lose it.
        try:
            if not self._channel.is_closed:
                await self._channel.basic_nack(tag, requeue=True, wait=False)
        finally:
            self._outstanding.pop(tag, None)
            self._brake.release((tag,))

    async def dead_letter(self, tag: int) -> None:
        """Have the broker move `tag` to the dead letters as it came: for what we cannot publish ourselves.

        Counted as delivered and settled like any other; nothing happens when the channel is gone.
        """
        try:
            if not self._channel.is_closed:
                await self._channel.basic_nack(tag, requeue=False, wait=False)
        finally:
            self._outstanding.pop(tag, None)
            self._brake.release((tag,))

    async def flush(self) -> None:
        """Send what has gathered."""
        self._flushing = None
        settled, self._settled = self._settled, set()
        frames = self._frames(settled)
        try:
            if frames and not self._channel.is_closed:
                # In one piece: a call of the library for each frame costs a task switch and a system call each.
                await self._channel.connection.write_queue.put(ChannelFrame.marshall(self._channel.number, frames))
        except LINK_ERRORS:
            return  # the session is lost, and these messages come again
        except Exception as error:
            log.exception("unexpected error")  # without a new session, the broker would wait for these for ever
            self._lose(f"acknowledgements cannot be sent: {describe(error)}")
        finally:
            for tag in settled:
                self._outstanding.pop(tag, None)
            self._brake.release(settled)

    def _frames(self, settled: set[int]) -> list[Basic.Ack]:
        """One for the run of oldest deliveries, one for each of the others."""
        last = 0
        for tag in self._outstanding:
            if tag not in settled:
                break
            last = tag
        frames = [Basic.Ack(last, multiple=True)] if last else []
        return frames + [Basic.Ack(tag) for tag in sorted(settled) if tag > last]


class Session:
    """Connections, channels and the consumer. `lost` gets the reason when any of them is gone."""

    def __init__(self, consuming: StreamedConnection, publishing: StreamedConnection, queue: str) -> None:
        self._consuming, self._publishing, self._queue = consuming, publishing, queue
        self._channel: AbstractChannel
        self._tag: str | None = None
        self._on_delivery: OnDelivery
        self._changing = asyncio.Lock()  # one change of the consumer at a time
        self._replacing = asyncio.Lock()  # one new publisher at a time
        self._retired: Publisher | None = None
        self._ending = False
        self.prefetch = 0
        self.blocked = False
        self._unknown = False  # whether the broker knew no consumer at the last look
        self.messages = 0  # ready in the queue, when it was last looked at
        self._watch: asyncio.Task[None] | None = None
        self.acks: Acks
        self.publisher: Publisher
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(
        cls,
        url: str,
        wanted: Topology,
        *,
        prefetch: int,
        create: bool,
        on_delivery: OnDelivery,
        uncompared: Callable[[list[str]], None] = lambda _: None,
    ) -> "Session":
        """Connect, declare (or with `create` off: compare) the queues, and consume.

        `uncompared` is called before the first delivery, with the queues that the broker does not let us compare.
        Raises one of LINK_ERRORS, or TopologyError.
        """
        consuming = await connect(url, f"neuroon-consumer {wanted.main.name}")
        try:
            publishing = await connect(url, f"neuroon-consumer {wanted.main.name} publish")
        except BaseException:
            await _leave(consuming)
            raise
        session = cls(consuming, publishing, wanted.main.name)
        try:
            if create:
                await declare(consuming, wanted)
            else:
                uncompared(await compare(consuming, wanted))
            await session._start(prefetch, on_delivery)
        except BaseException:
            await session.close()
            raise
        return session

    async def _start(self, prefetch: int, on_delivery: OnDelivery) -> None:
        self._on_delivery = on_delivery
        self.publisher = await self._open_publisher()
        self._channel = await open_channel(self._consuming)
        self.acks = Acks(self._channel, self._consuming.stream.brake, self.lose)
        self._consuming.stream.take(self._channel.number, self._receive)
        self._consuming.close_callbacks.add(lambda _, error: self.lose(_why("connection closed", error)))
        self._publishing.close_callbacks.add(lambda _, error: self.lose(_why("publishing connection closed", error)))
        self._channel.closing.add_done_callback(lambda done: self.lose(_why("channel closed", _error(done))))
        self._channel.on_consumer_cancel_callbacks.add(lambda _: self.lose("consumer cancelled by the broker"))
        await self.consume(prefetch)
        self._watch = asyncio.create_task(self._watch_over_consumer())
        self._watch.add_done_callback(self._unwatched)

    async def _open_publisher(self) -> Publisher:
        publisher = await Publisher.open(self._publishing)

        def closed(done: "asyncio.Future[object]") -> None:
            if self.publisher is publisher:
                self.lose(_why("publishing channel closed", _error(done)))

        publisher.closing.add_done_callback(closed)
        return publisher

    async def replace_publisher(self, old: Publisher) -> None:
        """Publish through a new channel from now on, unless that is done already. A failure loses the session."""
        async with self._replacing:
            if self.publisher is not old or self.lost.done():
                return
            try:
                self.publisher = await self._open_publisher()
                if self._retired is not None:
                    await self._retired.close()
                self._retired = (
                    old  # closed by the next one: it still awaits answers, without which copies would be made
                )
            except LINK_ERRORS as error:
                self.lose(f"no new channel to publish through: {describe(error)}")

    async def consume(self, prefetch: int) -> None:
        """Consume with this prefetch instead of the present one; 0 takes nothing. Raises one of LINK_ERRORS.

        Always by a new consumer: quorum queues know a prefetch of a consumer only, and it cannot be changed. After
        `stop_consuming` there is none any more, whatever is asked for.
        """
        async with self._changing:
            with own_cancellation():
                await self._change(prefetch)

    async def _change(self, prefetch: int) -> None:
        if self._tag is not None:
            tag, self._tag, self.prefetch = self._tag, None, 0
            if self._consuming.stream.brake.engaged:  # an answer would not be read before large orders are settled
                await self._channel.basic_cancel(tag, nowait=True, timeout=RPC_TIMEOUT)
            else:
                await self._channel.basic_cancel(tag, timeout=RPC_TIMEOUT)
        if prefetch and not self._ending:
            await self._channel.basic_qos(prefetch_count=prefetch, timeout=RPC_TIMEOUT)
            confirmed = await self._channel.basic_consume(self._queue, self._missed, timeout=RPC_TIMEOUT)
            self._tag, self.prefetch = confirmed.consumer_tag, prefetch

    def _receive(self, tag: int, delivery: Delivery) -> None:
        if self.lost.done():
            return  # nobody could settle it; the broker delivers it again once it has noticed
        self.acks.delivered(tag, len(delivery.body))
        self._on_delivery(self, tag, delivery)

    async def _missed(self, _: DeliveredMessage) -> None:
        """Never called, as long as the stream takes every delivery out of the library's way."""
        self.lose("a delivery was missed")

    async def look_for_alarm(self) -> bool:
        """Whether the broker reads no publishes, as it has told us (connection.blocked)."""
        transport = self._publishing.transport
        if transport is None:
            return self.blocked
        ready = asyncio.ensure_future(transport.connection.ready())
        await asyncio.wait({ready}, timeout=0.01)
        self.blocked = not ready.done()
        ready.cancel()
        return self.blocked

    def lose(self, why: str) -> None:
        """Declare the session lost, once."""
        if not self.lost.done():
            self.lost.set_result(why)

    async def stop_consuming(self) -> None:
        """Ask the broker for no further deliveries, for good; what was delivered can still be settled."""
        self._ending = True
        if self._watch is not None:
            self._watch.cancel()
        if not self.lost.done():
            try:
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self.consume(0)
            except Exception as error:  # noqa: BLE001 - whatever a library raises: the shutdown goes on
                self.lose(describe(error))

    async def close(self) -> None:
        """Close everything, whatever state it is in."""
        self.lose("closed by us")
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.gather(_leave(self._consuming), _leave(self._publishing))

    async def _watch_over_consumer(self) -> None:
        """Lose the session when the broker does not know our consumer.

        Of consumers AMQP tells only how many a queue has, and another pod's would count for ours. The proof is in the
        deliveries: while messages wait and there is room, some must come.
        """
        while not self.lost.done():
            newest = self.acks.newest
            await asyncio.sleep(WATCH_SECONDS)
            if await self._is_passed_over(newest):
                await asyncio.sleep(DOUBT_SECONDS)  # the look may have met a message on its way to us
                if await self._is_passed_over(newest):
                    self.lose("messages wait, and the broker delivers none to us")

    async def _is_passed_over(self, newest: int) -> bool:
        """Whether messages wait and we have room, though nothing came since the delivery `newest`."""
        try:
            async with asyncio.timeout(RPC_TIMEOUT):
                state = await queue_state(self._consuming, self._queue)
        except LINK_ERRORS as error:
            self.lose(f"no answer about our consumer: {describe(error)}")
            return False
        if state is None:
            self.lose("the queue is gone")
            return False
        self.messages = state.messages
        idle = self.acks.newest == newest
        # Once is no proof: while a queue's leader does not answer, the broker says 0 and 0, and the next leader takes
        # the consumer over. A session given up then was away for 75 s: beside a frozen node no other is opened.
        before, self._unknown = self._unknown, bool(self.prefetch) and idle and not state.consumers
        if self._unknown and before:
            self.lose("the broker does not know our consumer")
        return state.messages > 0 and idle and self.acks.outstanding < self.prefetch

    def _unwatched(self, watch: asyncio.Task[None]) -> None:
        """Without a watch a session is worth nothing: what ended it, if it was not we, ends the session."""
        if self.lost.done() or self._ending:
            return
        error = asyncio.CancelledError() if watch.cancelled() else watch.exception()
        if error is not None:
            log.error("bug", exc_info=error)
            self.lose(f"a bug of ours, {describe(error)}")


async def _leave(connection: AbstractConnection) -> None:
    try:
        with own_cancellation():
            async with asyncio.timeout(LEAVE_SECONDS):
                await connection.close()
    except LINK_ERRORS:
        _drop(connection)
    except Exception:
        log.exception("bug")
        _drop(connection)


def _drop(connection: AbstractConnection) -> None:
    """End a connection that could not be closed: while it lives, the broker keeps delivering to it.

    The library has no public way; without its reader it closes the socket by itself.
    """
    reader: asyncio.Task[None] | None = getattr(getattr(connection.transport, "connection", None), "_reader_task", None)
    if reader is not None:
        reader.cancel()


def _why(what: str, error: BaseException | None) -> str:
    return what if error is None else f"{what}: {describe(error)}"


def _error(done: asyncio.Future[object]) -> BaseException | None:
    return None if done.cancelled() else done.exception()
