"""The SQL of the recipe, and what every dialect makes of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from consumer.adapters.ledger import Key
from consumer.adapters.ledger.key import plain
from consumer.adapters.outboxtable import BATCH, MAX_ATTEMPTS, Mark, OutboxError, OutboxRow, RowKey
from consumer.adapters.outboxtable.columns import Shape

# What both marks are tried with before the rows of a claim are sent; rolled back.
_TRIAL = "trial"


@dataclass(frozen=True, slots=True)
class Statements:
    """For one table. `holders`: how the dialect writes its first, second and third parameter; `now`: its clock.

    `same` compares two values of which both may be NULL. `ascii_errors`: the database has letters for nothing else.
    """

    table: str
    shape: Shape
    holders: tuple[str, str, str]
    now: str
    same: str
    ascii_errors: bool = False

    @property
    def due(self) -> str:
        """Our own table also holds orders that came by queue, without a payload: they are no business of a flush."""
        return f"synced_at IS NULL AND attempts < {MAX_ATTEMPTS} AND payload IS NOT NULL"

    @property
    def keys(self) -> str:
        """What a selection of keys returns: created_at, and the columns of a `RowKey`."""
        return "created_at, order_id, shop_id" if self.shape.has_shop else "created_at, order_id"

    @property
    def columns(self) -> str:
        """Those that `row` reads."""
        return f"payload, attempts, {self.keys}"

    def selection(self, *, after: bool, columns: str) -> str:
        """The oldest that are due, `after` a row's created_at and order_id."""
        behind = f" AND (created_at, order_id) > ({self.holders[0]}, {self.holders[1]})" if after else ""
        return f"""SELECT {columns} FROM {self.table}
WHERE {self.due}{behind} ORDER BY created_at, order_id LIMIT {BATCH}"""

    def mark(self, mark: Mark) -> tuple[str, tuple[Any, ...]]:
        """The statement that writes what became of a row, and its parameters; the second time it changes nothing."""
        change, given = f"synced_at = {self.now}", list[Any]()
        if mark.error is not None:
            counted = f"CASE WHEN attempts > {mark.row.attempts} THEN attempts ELSE attempts + 1 END"
            change = f"last_error = {self.holders[0]}, attempts = {counted}"
            given.append(self._error(mark.error))
        which = f"order_id = {self.holders[len(given)]}"
        given.append(mark.row.key[0])
        if self.shape.has_shop:
            which += f" AND shop_id {self.same} {self.holders[len(given)]}"
            given.append(mark.row.key[1])
        return f"UPDATE {self.table} SET {change} WHERE {which}", tuple(given)

    def trials(self, row: OutboxRow) -> list[tuple[str, tuple[Any, ...]]]:
        """Both marks of a row, to be rolled back."""
        return [self.mark(Mark(row, _TRIAL)), self.mark(Mark(row, None))]

    @property
    def adoption(self) -> str:
        """Gives rows without a shop to the one that is the first parameter."""
        shop = self.holders[0]
        return f"""UPDATE {self.table} SET shop_id = {shop}
WHERE shop_id = '' AND payload IS NOT NULL AND synced_at IS NULL
AND order_id NOT IN (SELECT order_id FROM {self.table} WHERE shop_id = {shop})"""

    def _error(self, text: str) -> str:
        cut = plain(text, self.shape.error_length)
        return cut.encode("ascii", "replace").decode() if self.ascii_errors else cut


def row(values: Sequence[Any]) -> OutboxRow:
    """A row of `Statements.columns`."""
    payload, attempts, created_at, *key = values
    raw = payload if isinstance(payload, bytes) else str(payload).encode("utf-8", "surrogatepass")
    shop = _text(key[1]) if len(key) > 1 else ""
    return OutboxRow(tuple(key), _text(key[0]), raw, int(attempts), created_at, shop or None)


def after_row(row: OutboxRow | None) -> tuple[Any, ...]:
    """The parameters of a selection behind `row`."""
    return () if row is None else (row.created_at, row.key[0])


def marked_once(changed: int) -> None:
    """Raises OutboxError where a trial mark has not changed the very row that it was for."""
    if changed != 1:
        raise OutboxError(f"a mark would change {changed} rows instead of one: order_id must name one row")


def lock_key(place: str, key: RowKey) -> Key:
    """What `lock_number` makes the number of a row's lock of; `place` is the table, and its database if need be."""
    return f"outbox {place}", "\0".join(map(str, key))


def _text(value: Any) -> str:
    """An identifier as the shop writes it; "" for NULL and for bytes that are no text."""
    if isinstance(value, bytes):
        text = value.decode("utf-8", "replace").rstrip("\0")
        return text if text.isprintable() and "\ufffd" not in text else ""
    if isinstance(value, Decimal):
        return format(value, "f")
    return "" if value is None else str(value).rstrip(" ")
