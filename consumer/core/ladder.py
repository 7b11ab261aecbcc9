"""Retry rungs: how long an order waits, and through which delay queues.

A rung is a queue with one fixed time to live, because RabbitMQ expires messages only at a queue's head: with a time per
message, a long wait would block the short ones behind it. A wait that no single rung matches is walked in several hops.
"""

from dataclasses import dataclass

# The share of failed tries that wait a second, shorter rung as well, so that what failed together does not come back
# together.
JITTER_SHARE = 0.25

# The longest wait, in seconds, for which an answer's Retry-After is taken at its word. A longer one may be a slip, or a
# ban that is lifted before its time, and good orders would wait for all of it: they go to the hold rung instead, and
# come back often enough to be delivered soon after one of them was let through.
LONGEST_FLOOR = 300.0

# A rung may overshoot a wait by this factor: 10m for a remainder of 9m59.98s is better than nine shorter hops.
OVERSHOOT = 1.25


@dataclass(frozen=True, slots=True)
class Rung:
    """One delay queue: `name` as written in the setting ("30s"), `seconds` its time to live."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Ladder:
    """`rungs` in the order they are climbed, at least one; `hold` for orders of a held shop; `max_hold` in seconds."""

    rungs: tuple[Rung, ...]
    hold: Rung
    max_hold: float

    @property
    def tries(self) -> int:
        """How often an order is posted at most: once, and once after each rung."""
        return len(self.rungs) + 1

    @property
    def longest_wait(self) -> float:
        """The longest wait in seconds that the settings allow before the next try."""
        return max(self.max_hold, self.hold.seconds, 2 * max(rung.seconds for rung in self.rungs))

    def rung(self, attempt: int) -> Rung:
        """The rung that follows try number `attempt` (1 is the first); past the top, the last one."""
        return self.rungs[min(attempt, len(self.rungs)) - 1]

    def jittered(self, attempt: int, draw: float) -> float:
        """Seconds to wait after try `attempt`; `draw` in [0, 1) lengthens `JITTER_SHARE` of them, shortens none."""
        rung = self.rung(attempt)
        if draw >= JITTER_SHARE:
            return rung.seconds
        shorter = [each for each in self.rungs if each.seconds < rung.seconds] or [rung]
        return rung.seconds + shorter[int(draw / JITTER_SHARE * len(shorter))].seconds

    def hop(self, wait: float) -> Rung:
        """The queue to wait in next: the longest that overshoots `wait` seconds by little, else the shortest there is.

        Where it falls short of `wait`, the order is looked at when it comes back and sent on for the rest.
        """
        queues = (*self.rungs, self.hold)
        fitting = [each for each in queues if each.seconds <= wait * OVERSHOOT]
        if fitting:
            return max(fitting, key=lambda each: each.seconds)
        return min(queues, key=lambda each: each.seconds)
