"""No ledger at all."""

from collections.abc import Sequence

from consumer.adapters.ledger import Condition, Key, Known, Note, Record, Standing


class NoLedger:
    """A `Ledger` that remembers nothing: LEDGER_URL=none."""

    @property
    def condition(self) -> Condition:
        """See `Ledger`."""
        return Condition(True, "switched off")

    async def open(self) -> None:
        """See `Ledger`."""

    async def delivered_before(self, shop: str, order: str) -> Known | None:
        """See `Ledger`."""
        return None

    def let_go(self, shop: str, order: str) -> None:
        """See `Ledger`."""

    async def record(self, record: Record) -> None:
        """See `Ledger`."""

    async def note(self, note: Note) -> None:
        """See `Ledger`."""

    async def sightings(self, orders: Sequence[Key]) -> Sequence[Standing | None]:
        """See `Ledger`."""
        return [None] * len(orders)

    async def close(self) -> None:
        """See `Ledger`."""
