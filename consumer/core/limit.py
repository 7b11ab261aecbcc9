"""How many orders may be under way at a time: additive increase, multiplicative decrease, as in TCP (RFC 5681, 3.1)."""

from dataclasses import dataclass, replace

DECREASE = 0.7


@dataclass(frozen=True, slots=True)
class Limit:
    """`value` moves between 1 and `ceiling`. Below `threshold` it doubles with every round, above it grows by one.

    Trouble that began before the last decrease, at `reduced_at`, is not counted again.
    """

    ceiling: int
    value: float
    threshold: float
    reduced_at: float = 0.0

    @classmethod
    def full(cls, ceiling: int) -> "Limit":
        """No limit but the ceiling: what a healthy API gets."""
        return cls(ceiling, ceiling, ceiling)

    def grown(self) -> "Limit":
        """After an order that went well."""
        if self.value >= self.ceiling:
            return self
        step = 1.0 if self.value < self.threshold else 1.0 / self.value
        return replace(self, value=min(self.value + step, self.ceiling))

    def shrunk(self, begun: float, now: float) -> "Limit":
        """After an order that began at `begun` and told of an overloaded API."""
        if begun < self.reduced_at:
            return self
        value = max(1.0, self.value * DECREASE)
        return replace(self, value=value, threshold=value, reduced_at=now)

    def restarted(self) -> "Limit":
        """From one again, with the whole way up quick: after an outage the API is well or it is not."""
        return Limit(self.ceiling, 1.0, self.ceiling)
