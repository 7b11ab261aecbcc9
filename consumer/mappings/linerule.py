"""One line of a foreign order, brought into the canonical form."""

from collections import ChainMap
from collections.abc import Mapping as Dictionary
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from consumer.core.clicks import parse_clicks
from consumer.core.identifier import to_identifier
from consumer.core.order import check_number
from consumer.mappings.amounts import Amounts, scaled
from consumer.mappings.expression import is_true
from consumer.mappings.message import Message
from consumer.mappings.path import Paths

# What [line] calls a field -> what the canonical event calls it.
LINE_FIELDS = {
    "product": "productId",
    "quantity": "quantity",
    "unit_price": "unitPrice",
    "total": "lineTotal",
    "search_log_id": "searchLogId",
}

NOTHING_BOUGHT = "quantity is 0"


@dataclass(frozen=True, slots=True)
class LineRule:
    """Where a line keeps what. `fields` has paths for the names above; `skip` tells which lines are not to count.

    `max_clicks`: entries that a line's own map of clicks may have.
    """

    fields: Dictionary[str, Paths]
    clicks: Paths
    skip: Paths
    amounts: Amounts
    max_clicks: int

    def translate(
        self, message: Message, number: int, order_clicks: dict[str, str], exponent: int
    ) -> dict[str, Any] | None:
        """The canonical form of `message.line`; None if it is left out. What is not found is left out.

        `number` is the line's, from 0; `order_clicks` and `exponent` are the order's. Raises ExponentError if the line
        has a senseless exponent, TooManyError if it has more than `max_clicks` clicks of its own.
        """
        if self.skip and self._condition_met(message) is not None:
            return None
        line: dict[str, Any] = {}
        for name, paths in self.fields.items():
            value = paths.find(message)
            if value is not None:
                line[LINE_FIELDS[name]] = value
        if _is_zero(line.get("quantity")):
            return None
        if self.amounts.exponent != 0:
            self._scale(line, message, exponent)
        clicks = self._clicks(message, number, order_clicks) if self.clicks else order_clicks
        if clicks and len(self.fields["product"].texts) > 1:
            self._choose_product(line, message, clicks)
        if self.clicks and "searchLogId" not in line:
            search = clicks.get(identifier(line.get("productId")) or "")
            if search is not None:
                line["searchLogId"] = search
        return line

    def reason_to_skip(self, message: Message) -> str | None:
        """Why the line is not to count: a condition of the mapping, or nothing was bought. None if it counts."""
        met = self._condition_met(message)
        if met is None and _is_zero(self.fields["quantity"].find(message)):
            return NOTHING_BOUGHT
        return met

    def _condition_met(self, message: Message) -> str | None:
        for text, getter in zip(self.skip.texts, self.skip.getters, strict=True):
            if is_true(getter(message)):
                return text
        return None

    def _scale(self, line: dict[str, Any], message: Message, exponent: int) -> None:
        exponent = self.amounts.of_line(message, exponent)
        for name in ("unitPrice", "lineTotal"):
            if name in line:
                line[name] = scaled(line[name], exponent)

    def _clicks(self, message: Message, number: int, order_clicks: dict[str, str]) -> Dictionary[str, str]:
        """The line's own clicks over the order's, which are not copied for each line."""
        own = parse_clicks(self.clicks.find(message))
        check_number(f"lines[{number}].neuroonClicks", own, self.max_clicks)
        return ChainMap(own, order_clicks) if own else order_clicks

    def _choose_product(self, line: dict[str, Any], message: Message, clicks: Dictionary[str, str]) -> None:
        """Of several ids the one that the clicks know, since that is what Neuroon calls the product; else the first."""
        for getter in self.fields["product"].getters:
            candidate = getter(message)
            if candidate is not None and identifier(candidate) in clicks:
                line["productId"] = candidate
                return


def _is_zero(quantity: object) -> bool:
    if isinstance(quantity, str):
        return bool(quantity) and not quantity.strip("0. ")
    return isinstance(quantity, int | Decimal) and quantity == 0


def identifier(value: object) -> str | None:
    """The value as an identifier, None if it is none."""
    found = to_identifier(value)
    return found if isinstance(found, str) else None
