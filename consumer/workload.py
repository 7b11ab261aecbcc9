"""What messages may cost the process: time on the event loop, and memory for what they unpack to.

A light message is read on the event loop, as long as those of the same turn are not too many bytes together. A heavy
one takes up to half a second and 60 MiB to be read: heavy ones are read in a thread, one at a time, and what remains of
them in memory until they are settled is counted. Those that wait for their turn hold nothing but their raw body.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from consumer.core.body import Unreadable, decompress
from consumer.core.delivery import Delivery

# Bytes of messages, once compression is undone, that are read in one turn of the event loop; a message with more is
# heavy. RabbitMQ sends a whole prefetch at once, and all of its tasks begin in the same turn: 500 of the worst messages
# of this size would stop the loop for ten seconds; one takes 20 ms. Fifty usual orders fit.
LIGHT = 32 * 1024

# What undoing the compression of a light message counts as. It takes 0.1 ms, even if it gives up in the end.
UNPACKING = 1024

# Bytes that remain of heavy messages, beyond which no further one is read. Each costs about three while it is posted.
ROOM = 16 * 1024 * 1024

T = TypeVar("T")


class Workload:
    """Who is read where, and when. `heavy` is held by the one heavy message that is being read."""

    def __init__(self) -> None:
        self.heavy = asyncio.Lock()
        self._spent = 0  # bytes of this turn of the event loop
        self._kept = 0
        self._room = asyncio.Event()

    def admits(self, delivery: Delivery) -> bool:
        """Whether the message may be read now. If not, `turn` tells when: most messages never get so far."""
        size = len(delivery.body)
        if self._spent + size > LIGHT or delivery.properties.content_encoding is not None:
            return False
        self._spend(size)
        return True

    async def turn(self, delivery: Delivery) -> bool:
        """Wait for a turn of the event loop with room for the message; False, perhaps at once, if it is heavy."""
        body, encoding = delivery.body, delivery.properties.content_encoding
        if len(body) > LIGHT:
            return False
        if encoding is None:
            await self._room_for(len(body))
            return True
        await self._room_for(UNPACKING)
        plain = decompress(body, encoding, limit=LIGHT)
        if isinstance(plain, Unreadable):
            return False
        await self._room_for(len(plain))
        return True

    async def run(self, work: Callable[[Delivery], T], delivery: Delivery) -> T:
        """Call `work` where and when the message may be read."""
        if self.admits(delivery) or await self.turn(delivery):
            return work(delivery)
        async with self.heavy:
            return await asyncio.to_thread(work, delivery)

    async def keep(self, size: int) -> None:
        """Count `size` bytes until the current task ends, however it ends; wait while others keep too much.

        For the holder of `heavy` alone, whom the others do not wait for. What is larger than `ROOM` is kept by itself.
        """
        while self._kept and self._kept + size > ROOM:
            self._room.clear()
            await self._room.wait()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task; this is for the type checker
        self._kept += size
        task.add_done_callback(lambda _: self._let_go(size))

    @property
    def kept(self) -> int:
        """Bytes that are counted now."""
        return self._kept

    def _let_go(self, size: int) -> None:
        self._kept -= size
        self._room.set()

    async def _room_for(self, size: int) -> None:
        while self._spent + size > LIGHT:  # noqa: ASYNC110 - every turn ends by itself, and `_next_turn` comes first
            await asyncio.sleep(0)
        self._spend(size)

    def _spend(self, size: int) -> None:
        if not self._spent:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._spent += size

    def _next_turn(self) -> None:
        self._spent = 0
