"""Queues that refuse what is published to them: a length limit by policy, a lost quorum, a disk that is full."""

import time
from collections.abc import Callable

# After so many refusals in a row a queue is left alone, and the publishing channel is replaced: a quorum queue of
# RabbitMQ 3.10 goes on refusing the channel that it has refused once, though the cause is gone.
IN_A_ROW = 3
# How often one message tries whether a queue takes messages again. One that gets no answer costs a confirm's time-out.
PROBE_SECONDS = 5.0


class Refusals:
    """Which queues refuse, since when, and whether a message is to try one of them now.

    `refused` is called with the queue's name for each refusal. Times are of the monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_a_row: dict[str, int] = {}
        self._since: dict[str, float] = {}
        self._next_probe: dict[str, float] = {}
        self.refused: Callable[[str], None] = lambda _: None

    def note_refused(self, queue: str) -> bool:
        """Count a refusal; whether it was one of a row that is worth a new channel."""
        count = self._in_a_row[queue] = self._in_a_row.get(queue, 0) + 1
        self._since.setdefault(queue, self._clock())
        self._next_probe[queue] = self._clock() + PROBE_SECONDS
        self.refused(queue)
        return count % IN_A_ROW == 0

    def note_accepted(self, queue: str) -> bool:
        """The queue has taken a message; whether it had refused some before."""
        self._next_probe.pop(queue, None)
        self._since.pop(queue, None)
        return self._in_a_row.pop(queue, 0) >= IN_A_ROW

    def avoids(self, queue: str) -> bool:
        """Whether a message should rather go elsewhere. From time to time one is let through, to find out."""
        if self._in_a_row.get(queue, 0) < IN_A_ROW:
            return False
        now = self._clock()
        if now < self._next_probe[queue]:
            return True
        self._next_probe[queue] = now + PROBE_SECONDS
        return False

    @property
    def refusing(self) -> dict[str, float]:
        """The queues that have refused so many in a row, and for how many seconds they have."""
        now = self._clock()
        return {queue: now - self._since[queue] for queue, count in self._in_a_row.items() if count >= IN_A_ROW}
