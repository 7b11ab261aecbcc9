"""A mapping at work: a foreign event is brought into the canonical form, and that is read as any other.

All rules about what an order may hold live in `core.order`. Here it is only found out where things are.
"""

import re
import sys
from collections.abc import Mapping as Dictionary
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from consumer.core.clicks import parse_clicks
from consumer.core.delivery import Delivery
from consumer.core.order import Malformed, OrderPaid, Refund, TooManyError, check_number, read
from consumer.core.reading import Ignored
from consumer.mappings.amounts import Amounts, ExponentError, scaled
from consumer.mappings.envelope import Peel
from consumer.mappings.eventrule import EventRule
from consumer.mappings.linerule import LINE_FIELDS, LineRule, identifier
from consumer.mappings.message import Carrier, Message
from consumer.mappings.path import NOWHERE, Paths

Result = OrderPaid | Malformed | Refund | Ignored

# What [order] calls a field -> what the canonical event calls it.
ORDER_FIELDS = {
    "event_id": "eventId",
    "occurred_at": "occurredAt",
    "shop": "shopId",
    "id": "orderId",
    "value": "orderValue",
    "currency": "currency",
    "lines": "lines",
    "clicks": "neuroonClicks",
}

# The numbers of lines that are the foreign event's already.
FOREIGN_NUMBERS = range(sys.maxsize)

_PLACE = re.compile(r"(?:lines\[(?P<line>[0-9]+)\])?\.?(?P<field>\w+)?")


@dataclass(frozen=True)
class Mapping:
    """Where an event of one kind keeps what. `order` has paths for the names above.

    `max_lines`: lines of an order, and entries of one map of clicks, beyond which it is malformed.
    """

    name: str
    about: str
    peel: Peel
    at: Paths
    rule: EventRule
    amounts: Amounts
    order: Dictionary[str, Paths]
    line: LineRule
    shop_hint: Paths
    max_lines: int

    @property
    def hints_at_shop(self) -> bool:
        """Whether the shop's id is only what the platform calls the shop, which need not be known to anybody."""
        return bool(self.shop_hint) and "shop" not in self.order

    def read(self, document: object, delivery: Delivery) -> Result:
        """The order in a decoded event; never an exception, whatever it holds."""
        message = self.open(document, delivery)
        verdict = self.rule.judge(message, self.name)
        if verdict is not None:
            return replace(verdict, order_id=self._name("id", message), shop_id=self._name("shop", message))
        return self.read_order(message)

    def open(self, document: object, delivery: Delivery) -> Message:
        """The message with its envelopes taken off and the order found in it."""
        message = Message(Carrier(delivery), document, document)
        self.peel.take_off(message)
        message.order = self.at.find(message)
        return message

    def read_order(self, message: Message) -> OrderPaid | Malformed | Refund:
        """The order in an opened message, whatever its type."""
        try:
            event, numbers = self.translate(message)
        except ExponentError as error:
            order_id, shop_id = self._name("id", message), self._name("shop", message)
            return Malformed(f"amounts: {error}; {self._looked(self.amounts.at_order)}", order_id, shop_id)
        except TooManyError as error:
            order_id, shop_id = self._name("id", message), self._name("shop", message)
            return Malformed(self.explained(str(error), message, FOREIGN_NUMBERS), order_id, shop_id)
        order = read(event, self.max_lines)
        if isinstance(order, OrderPaid):
            return order
        return replace(order, detail=self.explained(order.detail, message, numbers))

    def translate(self, message: Message) -> tuple[dict[str, Any], list[int]]:
        """The canonical event, and for each of its lines the number it has in the foreign one.

        Raises ExponentError, and TooManyError before any line is looked at. What is not found is left out.
        """
        event: dict[str, Any] = {}
        for name, paths in self.order.items():
            value = paths.find(message)
            if value is not None:
                event[ORDER_FIELDS[name]] = value
        if "shopId" not in event and (hint := self.shop_hint.find(message)) is not None:
            event["shopId"] = hint
        exponent = 0
        if "orderValue" in event:
            exponent = self.amounts.of_order(message, event.get("currency"))
            event["orderValue"] = scaled(event["orderValue"], exponent)
        rows = event.get("lines")
        if isinstance(rows, list):
            check_number("lines", rows, self.max_lines)
        event["neuroonClicks"] = clicks = self._clicks(message)
        check_number("neuroonClicks", clicks, self.max_lines)
        numbers: list[int] = []
        if isinstance(rows, list):
            event["lines"] = lines = []
            for number, message.line in enumerate(rows):
                line = self.line.translate(message, number, clicks, exponent)
                if line is not None:
                    lines.append(line)
                    numbers.append(number)
        return event, numbers

    def _clicks(self, message: Message) -> dict[str, str]:
        """Of the places that may hold the cookie, the first that has an entry. Several paths may lead to one place."""
        tried: object = None
        for value in self.order["clicks"].find_all(message) if "clicks" in self.order else ():
            if value is not tried and (clicks := parse_clicks(value)):
                return clicks
            tried = value
        return {}

    def _name(self, field: str, message: Message) -> str | None:
        return identifier(self._paths(field).find(message))

    def _paths(self, field: str | None) -> Paths:
        """Where [order] keeps a field; the shop may be told by its hint alone."""
        paths = NOWHERE if field is None else self.order.get(field, NOWHERE)
        return self.shop_hint if field == "shop" and not paths else paths

    def explained(self, detail: str, message: Message, numbers: Sequence[int]) -> str:
        """What is wrong, with the line's number in the foreign event, and where this mapping looked for it."""
        place, colon, problem = detail.partition(":")
        found = _PLACE.fullmatch(place)
        if found is None:
            return f"{detail}; mapping {self.name}"
        if message.order is None:
            return f"{detail}; {self._looked(self.at)}, and found no order there"
        if found["line"] is not None:
            place = f"lines[{numbers[int(found['line'])]}]{place[found.end('line') + 1 :]}"
        return f"{place}{colon}{problem}; {self._looked(self._paths_of(found))}"

    def _paths_of(self, found: re.Match[str]) -> Paths:
        if found["line"] is None:
            field = next((key for key, name in ORDER_FIELDS.items() if name == found["field"]), None)
            return self._paths(field)
        if found["field"] == ORDER_FIELDS["clicks"]:
            return self.line.clicks
        names = {found["field"]} if found["field"] else {"lineTotal", "unitPrice"}
        texts = [text for key, paths in self.line.fields.items() if LINE_FIELDS[key] in names for text in paths.texts]
        return Paths(tuple(texts))

    def _looked(self, paths: Paths) -> str:
        places = " and ".join(f'"{text}"' for text in paths.texts)
        return f"mapping {self.name} looked at {places}"
