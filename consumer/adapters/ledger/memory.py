"""A ledger that forgets at the end of the process."""

from consumer.adapters.ledger import Record
from consumer.core.outcome import Delivered

# About 20 MB of ids; the oldest are forgotten first.
MAX_ORDERS = 100_000


class MemoryLedger:
    """The orders delivered last, `limit` of them at most."""

    def __init__(self, limit: int = MAX_ORDERS) -> None:
        self._limit = limit
        self._delivered: dict[tuple[str, str], None] = {}

    async def delivered_before(self, shop: str, order: str) -> bool:
        """See `Ledger`."""
        return (shop, order) in self._delivered

    async def record(self, record: Record) -> None:
        """See `Ledger`."""
        if not isinstance(record.outcome, Delivered):
            return
        self._delivered[record.shop, record.order] = None
        if len(self._delivered) > self._limit:
            del self._delivered[next(iter(self._delivered))]

    async def close(self) -> None:
        """See `Ledger`."""
