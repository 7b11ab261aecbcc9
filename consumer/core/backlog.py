"""How long orders have waited in the main queue, as far as that can be known without taking one out."""

import math


class Backlog:
    """An upper bound of the age of what waits; all times in Unix seconds, by a clock that may be set back.

    A queue hands out what came first. So an order that no consumer was given yet was published after every one that a
    consumer was given, and after the last moment at which the queue was seen empty. Other replicas take orders too,
    which makes the true age smaller: of several replicas' bounds the lowest is the best.
    """

    def __init__(self) -> None:
        self._ready = math.nan
        self._since = -math.inf
        self._blind = False

    def taken(self, published: float | None, now: float) -> None:
        """Note an order handed to us: when the publisher says that it sent it; None: it does not say."""
        self._blind = published is None
        self._heed(now)
        if published is not None:
            self._since = max(self._since, min(published, now))  # a publisher's clock may be ahead of ours

    def counted(self, ready: float, now: float) -> None:
        """Note how many orders wait; NaN: unknown."""
        self._ready = ready
        if ready == 0:
            self._since, self._blind = now, False

    def age(self, now: float) -> float:
        """Seconds that no waiting order has waited longer than; 0 when none waits; NaN when it cannot be told."""
        if self._ready == 0:
            return 0.0
        self._heed(now)
        known = not (math.isnan(self._ready) or self._blind or math.isinf(self._since))
        return max(0.0, now - self._since) if known else math.nan

    def _heed(self, now: float) -> None:
        """When the clock was set back, what it said before is in the future, and would hide the age until then."""
        self._since = min(self._since, now)
