"""How fast letters are sent back: not faster than asked for, and never in the way of live orders."""

import time
from dataclasses import dataclass, field

from consumer.adapters.deadletterqueue import DeadLetterQueue
from consumer.deadletters.sweep import PASS_SECONDS, Control, Tally

# Live orders wait behind what is ready in the main queue. So few are worked off within a second by one consumer that
# settles a hundred a second, and are enough to keep a fast one busy.
LIVE_ORDERS = 100
# How often the main queue is looked at while letters flow, and while they wait.
CHECK_SECONDS = 0.1
WAIT_SECONDS = 0.5


@dataclass
class Pace:
    """Lets one letter go at a time. `per_second` None: as fast as the broker confirms and live orders allow."""

    queue: DeadLetterQueue
    per_second: float | None = None
    _next: float = field(default=0.0, init=False)
    _checked: float = field(default=0.0, init=False)

    async def turn(self, control: Control, tally: Tally) -> bool:
        """Wait until the next letter may go; False when it may not, since all is to stop or live orders keep coming."""
        await self._keep_rate(control)
        return await self._live_orders_are_through(control, tally) and not control.stop.is_set()

    async def _keep_rate(self, control: Control) -> None:
        if self.per_second is None:
            return
        now = time.monotonic()
        if now < self._next:
            await control.sleep(self._next - now)
        # A pause is not made up for by a burst.
        self._next = max(self._next, now) + 1 / self.per_second

    async def _live_orders_are_through(self, control: Control, tally: Tally) -> bool:
        """Wait while the main queue is longer than its consumers keep it; with no consumer, nobody is kept waiting.

        False after `PASS_SECONDS`: letters must not be held any longer.
        """
        begun = time.monotonic()
        if begun - self._checked < CHECK_SECONDS:
            return True
        while not control.stop.is_set():
            main = await self.queue.state(self.queue.queues.main)
            self._checked = time.monotonic()
            if main.messages <= LIVE_ORDERS or not main.consumers:
                tally.note = None
                return True
            if self._checked - begun > PASS_SECONDS:
                return False
            tally.note = f"live orders go first: {main.messages:,} wait in {self.queue.queues.main}"
            control.tell(tally)
            await control.sleep(WAIT_SECONDS)
        return False
