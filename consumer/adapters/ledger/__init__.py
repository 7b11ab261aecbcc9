"""What was sent, remembered: the key that makes a second event for one order a duplicate."""

from dataclasses import dataclass
from typing import Protocol

from consumer.core.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Record:
    """The end of one try. `at` is in Unix seconds, `milliseconds` is what the try took."""

    shop: str
    order: str
    attempt: int
    outcome: Outcome
    at: float
    milliseconds: float


class Ledger(Protocol):
    """Remembers orders by (shop id, order id). It never decides whether an order lives: no method raises."""

    async def delivered_before(self, shop: str, order: str) -> bool:
        """Whether this order is known to have reached Neuroon; False when that cannot be found out."""

    async def record(self, record: Record) -> None:
        """Remember the end of a try; what is Delivered is on record before the message is acknowledged."""

    async def close(self) -> None:
        """Write what is left and close."""
