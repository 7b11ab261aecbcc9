"""The consumer's session in the model: the real one, over a channel and publishers that the model answers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import pamqp.frame
from aiormq.abc import ChannelFrame
from pamqp.commands import Basic

from consumer.adapters.publisher import Publisher, PublishFailedError
from consumer.adapters.session import Acks, Session
from consumer.core.headers import Headers

if TYPE_CHECKING:
    from tests.settlement.world import World


class ModelChannel:
    """A channel whose frames reach the model's queues at once, while the session lasts."""

    number = 1

    def __init__(self, world: "World", session: "ModelSession") -> None:
        self._world, self._session = world, session
        self.connection = self.write_queue = self

    @property
    def is_closed(self) -> bool:
        return self._session.lost.done()

    async def put(self, frames: ChannelFrame) -> None:
        """Write acknowledgements, as `Acks` does past the library."""
        data = bytes(frames.payload)
        while data:
            size, _, frame = pamqp.frame.unmarshal(data)
            assert isinstance(frame, Basic.Ack)
            assert frame.delivery_tag is not None
            self._world.broker.ack(frame.delivery_tag, multiple=frame.multiple)
            data = data[size:]

    async def basic_nack(self, tag: int, *, requeue: bool, wait: bool) -> None:
        self._world.broker.nack(tag, requeue=requeue)

    async def basic_cancel(self, _: str, **__: object) -> None:
        """The session itself notes that it consumes no more."""


class ModelPublisher:
    """`cursed`: queues that have refused on this channel, and go on doing so (RabbitMQ 3.10)."""

    def __init__(self, world: "World", session: "ModelSession") -> None:
        self._world, self._session = world, session
        self.cursed: set[str] = set()

    async def publish(self, body: bytes, headers: Mapping[str, object], _: object, *, routing_key: str) -> None:
        """As `Publisher.publish`."""
        if self._session.lost.done():
            raise PublishFailedError("connection lost")
        answer = await self._world.ask_broker(self, body.decode(), Headers.of(headers), routing_key)
        if answer != "confirm":
            raise PublishFailedError(answer, refused=answer in {"nack", "silent", "stored, silent"})

    async def close(self) -> None:
        """What is under way on the channel fails."""
        self._world.doom(self)


class ModelSession(Session):
    """One session; a lost one keeps its tasks, as the real one does."""

    def __init__(self, world: "World", prefetch: int) -> None:
        nothing = cast("Any", None)
        super().__init__(nothing, nothing, "q")
        self._consuming = cast("Any", _Unhurried())
        self._world = world
        self._tag, self.prefetch = "consumer", prefetch
        self._channel = cast("Any", ModelChannel(world, self))
        self.acks = Acks(self._channel, None, self.lose)
        self.publisher = cast("Publisher", ModelPublisher(world, self))

    async def _open_publisher(self) -> Publisher:
        return cast("Publisher", ModelPublisher(self._world, self))


class _Unhurried:
    """Of the connection, what a session asks when it stops consuming: no large orders engage the brake."""

    def __init__(self) -> None:
        self.stream = self.brake = self
        self.engaged = False
