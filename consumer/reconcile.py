"""The shop's own list of paid orders, held against the ledger: what was delivered, what waits, and what never came."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import TypeVar

from consumer.adapters.ledger import Key, Standing, Store
from consumer.paidorders import PaidOrder

# Orders looked up at a time: few enough to hold in memory, enough for a look-up to cost little for each.
CHUNK = 2_000
SHOWN = 100

# The group that each state belongs to; a duplicate is an order that Neuroon already had.
GROUPS = {
    "delivered": "delivered",
    "duplicate": "delivered",
    "unattributed": "unattributed",
    "waiting": "waiting",
    "held": "waiting",
    "dead": "dead",
    "discarded": "dead",
}
NEVER_SEEN = "neverSeen"
ALL_GROUPS = ("delivered", "unattributed", "waiting", "dead", NEVER_SEEN)

T = TypeVar("T")


@dataclass
class Reconciliation:
    """Rows by group, their amounts by currency ("" where the list tells none), and the first orders never seen."""

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    sums: dict[str, dict[str, Decimal]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the ledger has seen every order of the list."""
        return not self.counts[NEVER_SEEN]

    def add(self, order: PaidOrder, standing: Standing | None) -> None:
        """Count one row."""
        group = NEVER_SEEN if standing is None else GROUPS[standing.state]
        self.rows += 1
        self.counts[group] += 1
        if order.amount is not None:
            sums = self.sums.setdefault(group, {})
            sums[order.currency] = sums.get(order.currency, Decimal(0)) + order.amount
        if group == NEVER_SEEN and len(self.missing) < SHOWN:
            self.missing.append(order.order)

    def as_dict(self) -> dict[str, object]:
        """The shape of `ledger reconcile --json`."""
        sums = {
            group: {code: str(amount) for code, amount in sorted(each.items())} for group, each in self.sums.items()
        }
        counts = {group: self.counts[group] for group in ALL_GROUPS}
        return {"rows": self.rows, **counts, "missing": self.missing, "sums": sums}


async def reconcile(
    store: Store, orders: Iterable[PaidOrder], shop_of: Callable[[str | None], str], tell: Callable[[int], None]
) -> Reconciliation:
    """Hold `orders` against the ledger, chunk by chunk: a million rows need no more memory than a thousand.

    `shop_of` gives the shop's id for what the list calls it; `tell` is told how many rows are done. Raises
    LedgerDownError, and what `orders` raises.
    """
    result = Reconciliation()
    for chunk in _chunks(orders, CHUNK):
        keys: list[Key] = [(shop_of(each.shop), each.order) for each in chunk]
        # Where an order died before its shop was known by that name.
        foreign: list[Key] = [(each.shop or "", each.order) for each in chunk]
        standings = await store.standings(list({*keys, *foreign}))
        for key, other, order in zip(keys, foreign, chunk, strict=True):
            result.add(order, standings.get(key) or standings.get(other))
        tell(result.rows)
    return result


def _chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
