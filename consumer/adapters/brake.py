"""A brake on a broker that sends huge messages: the prefetch limits their number, nothing limits their bytes.

A body beyond `BODY_LIMIT` is dead on arrival, but must travel to the dead letters whole. Sixty-four of 16 MiB, the most
that RabbitMQ 4 takes, cost 500 MiB when they come at once. While such bodies are in hand, no more is read.
"""

import asyncio
from collections.abc import Iterable

from consumer.core.body import BODY_LIMIT

# Bytes of huge bodies in hand, beyond which nothing is read. Each byte costs about four until it is published. Those of
# little more than 1 MiB go side by side, those of 16 MiB one by one.
ROOM = 8 * 1024 * 1024


class Brake:
    """Stops reading from one connection while too much is in hand.

    Orders of a usual size are not counted, however many: they may wait long for an answer, and a connection that is
    not read for three heartbeats is given up.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._held: dict[int, int] = {}
        self._reader_full = False

    def take(self, tag: int, size: int) -> None:
        """Note that a body of `size` bytes is in hand until `tag` is released."""
        if size > BODY_LIMIT:
            self._held[tag] = size
        if self._held and self.transport is not None and self._is_full():
            self.transport.pause_reading()

    def release(self, tags: Iterable[int]) -> None:
        """These are settled."""
        if not self._held:
            return
        for tag in tags:
            self._held.pop(tag, None)
        self._go_on()

    # What follows the stream reader takes for its transport. It stops and goes on by itself, as its own buffer fills
    # and empties; that must not undo the brake.

    def pause_reading(self) -> None:
        """The reader's buffer is full."""
        self._reader_full = True
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The reader's buffer has room."""
        self._reader_full = False
        self._go_on()

    def _go_on(self) -> None:
        transport = self.transport
        if transport is not None and not (transport.is_closing() or self._reader_full or self._is_full()):
            transport.resume_reading()

    def _is_full(self) -> bool:
        return sum(self._held.values()) > ROOM
