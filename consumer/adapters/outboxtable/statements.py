"""The SQL of the recipe, and what every dialect makes of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from consumer.adapters.ledger.key import plain
from consumer.adapters.outboxtable import BATCH, ERROR_LENGTH, MAX_ATTEMPTS, Mark, OutboxRow


@dataclass(frozen=True, slots=True)
class Statements:
    """For one table. `holders`: how the dialect writes its first, second and third parameter; `now`: its clock."""

    table: str
    has_shop: bool
    holders: tuple[str, str, str]
    now: str

    @property
    def due(self) -> str:
        """Our own table also holds orders that came by queue, without a payload: they are no business of a flush."""
        return f"synced_at IS NULL AND attempts < {MAX_ATTEMPTS} AND payload IS NOT NULL"

    @property
    def columns(self) -> str:
        """Those that `row` reads."""
        return f"order_id, payload, attempts, created_at, {'shop_id' if self.has_shop else 'NULL'}"

    def selection(self, *, after: bool, columns: str | None = None) -> str:
        """The oldest that are due, `after` a row's created_at and order_id."""
        behind = f" AND (created_at, order_id) > ({self.holders[0]}, {self.holders[1]})" if after else ""
        return f"""SELECT {columns or self.columns} FROM {self.table}
WHERE {self.due}{behind} ORDER BY created_at, order_id LIMIT {BATCH}"""

    def mark(self, mark: Mark) -> tuple[str, tuple[Any, ...]]:
        """The statement that writes what became of a row, and its parameters."""
        change, given = f"synced_at = {self.now}", list[Any]()
        if mark.error is not None:
            change = f"attempts = attempts + 1, last_error = {self.holders[0]}"
            given.append(plain(mark.error, ERROR_LENGTH))
        which = f"order_id = {self.holders[len(given)]}"
        given.append(mark.row.order)
        if self.has_shop:
            which += f" AND COALESCE(shop_id, '') = {self.holders[len(given)]}"
            given.append(mark.row.shop or "")
        return f"UPDATE {self.table} SET {change} WHERE {which}", tuple(given)

    @property
    def adoption(self) -> str:
        """Gives rows without a shop to the one that is the first parameter."""
        shop = self.holders[0]
        return f"""UPDATE {self.table} SET shop_id = {shop}
WHERE shop_id = '' AND payload IS NOT NULL AND synced_at IS NULL
AND order_id NOT IN (SELECT order_id FROM {self.table} WHERE shop_id = {shop})"""


def row(values: Sequence[Any]) -> OutboxRow:
    """A row of `Statements.columns`."""
    order, payload, attempts, created_at, shop = values
    raw = payload if isinstance(payload, bytes) else str(payload).encode("utf-8", "surrogatepass")
    return OutboxRow(str(order), raw, attempts, created_at, shop or None)


def after_row(row: OutboxRow | None) -> tuple[Any, ...]:
    """The parameters of a selection behind `row`."""
    return () if row is None else (row.created_at, row.order)
