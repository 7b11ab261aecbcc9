"""A brake on a broker that sends large messages: the prefetch limits their number, nothing limits their bytes.

Five hundred orders of 1 MiB, as many as a large prefetch lets in, are 500 MB. A body beyond `BODY_LIMIT` is dead on
arrival, but must travel to the dead letters whole: sixty-four of 16 MiB, the most that RabbitMQ 4 takes, cost 500 MiB
when they come at once. While large bodies of more than `ROOM` are in flight, no more is read.
"""

import asyncio
from collections.abc import Iterable

# Bodies up to this many bytes are not counted, however many: five hundred of them are 32 MiB.
LARGE = 64 * 1024
# Bytes of large bodies in flight, beyond which nothing is read. Each byte costs about four until it is published again.
ROOM = 16 * 1024 * 1024


class Brake:
    """Stops reading from one connection while too much is in flight."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._held: dict[int, int] = {}
        self._bytes = 0
        self._reader_full = False

    @property
    def engaged(self) -> bool:
        """Whether reading is stopped because of what is in flight."""
        return self._bytes > ROOM

    def take(self, tag: int, size: int) -> None:
        """Note that a body of `size` bytes is in flight until `tag` is released."""
        if size <= LARGE:
            return
        self._held[tag] = size
        self._bytes += size
        if self.engaged and self.transport is not None:
            self.transport.pause_reading()

    def release(self, tags: Iterable[int]) -> None:
        """These are settled."""
        if not self._held:
            return
        for tag in tags:
            self._bytes -= self._held.pop(tag, 0)
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
        if transport is not None and not (transport.is_closing() or self._reader_full or self.engaged):
            transport.resume_reading()
