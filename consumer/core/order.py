"""A paid order as a value, and how the body of a message becomes one."""

import math
from collections.abc import Sized
from dataclasses import dataclass, field
from decimal import Decimal

from pydantic import AliasChoices, ValidationError
from pydantic_core import ErrorDetails

from consumer.core.body import Unreadable, decode
from consumer.core.event import NEGATIVE, ORDER_ID, SHOP_ID, UNFIT, OrderPaidEvent, OrderPaidLine
from consumer.core.identifier import to_identifier
from consumer.core.money import product
from consumer.core.value import value

# Lines of one order, and entries of one map of clicks, unless the setting CONSUMER_MAX_LINES says otherwise. Reading a
# line takes 10 to 60 us, so that an order of the most lines takes some tenths of a second.
MAX_LINES = 5_000


@value
class Line:
    """One line: `quantity` rounded up, `line_total` exact and not rounded yet, `search_log_id` if it has its own."""

    product_id: str = field(repr=False)
    quantity: int = field(repr=False)
    line_total: Decimal = field(repr=False)
    search_log_id: str | None = field(default=None, repr=False)


@value
class OrderPaid:
    """A paid order, checked whole. Amounts are exact, in major units of `currency` (an ISO 4217 code in upper case).

    Its repr tells which order it is and nothing of what was bought.
    """

    order_id: str
    order_value: Decimal = field(repr=False)
    currency: str = field(repr=False)
    lines: tuple[Line, ...] = field(repr=False)
    clicks: dict[str, str] = field(default_factory=dict, repr=False)  # product id -> search log id
    shop_id: str | None = None
    event_id: str | None = None
    occurred_at: str | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """The event cannot be read as an order. `detail` names the field and what was expected, and quotes nothing."""

    detail: str
    order_id: str | None = None
    shop_id: str | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """The event has a negative amount: money went back. Neuroon's conversions are never negative."""

    detail: str
    order_id: str | None = None
    shop_id: str | None = None


class TooManyError(ValueError):
    """More lines or clicks than are taken. The message is the detail of a `Malformed`."""


def parse(
    body: bytes, content_encoding: str | None = None, max_lines: int = MAX_LINES
) -> OrderPaid | Malformed | Refund:
    """The order in the body of a message; never an exception, whatever the bytes."""
    document = decode(body, content_encoding)
    if isinstance(document, Unreadable):
        return malformed(document)
    return read(document, max_lines)


def malformed(document: Unreadable) -> Malformed:
    """The same of a body that is no JSON, with the order's id as far as it can be read."""
    return Malformed(document.detail, *_names(document.remains))


def read(document: object, max_lines: int = MAX_LINES) -> OrderPaid | Malformed | Refund:
    """The order in a decoded canonical event: numbers are int or Decimal, as `body.decode` leaves them.

    More than `max_lines` lines or clicks are malformed. A negative amount makes it a refund whatever else is wrong
    with it: nobody needs to mend it.
    """
    try:
        lines = document.get("lines") if isinstance(document, dict) else None
        if isinstance(lines, list):  # else there is more wrong with it
            check_number("lines", lines, max_lines)
        event = _validated(document)
        check_number("neuroonClicks", event.clicks, max_lines)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
    except TooManyError as error:
        return Malformed(str(error), *_names(document))
    else:
        return _order(event)
    negative = next((error for error in errors if error["type"] == NEGATIVE), None)
    if negative is not None:
        return Refund(_detail(negative), *_names(document))
    return Malformed(_detail(errors[0]), *_names(document))


def check_number(place: str, found: Sized, most: int) -> None:
    """Raise TooManyError unless `found` has at most `most` entries; `place` is its path in the event."""
    if len(found) > most:
        raise TooManyError(f"{place}: {len(found):,}; at most {most:,} are taken, see CONSUMER_MAX_LINES")


# What OrderPaidEvent.model_validate calls; without its handling of keywords, a twentieth of the whole.
_validated = OrderPaidEvent.__pydantic_validator__.validate_python


def _order(event: OrderPaidEvent) -> OrderPaid | Malformed:
    lines = []
    for index, each in enumerate(event.lines):
        total = _line_total(each)
        if total is None:
            return Malformed(f"lines[{index}]: lineTotal or unitPrice required", event.order_id, event.shop_id)
        lines.append(Line(each.product_id, math.ceil(each.quantity), total, each.search_log_id))
    return OrderPaid(
        event.order_id,
        event.order_value,
        event.currency,
        tuple(lines),
        event.clicks,
        event.shop_id,
        event.event_id,
        event.occurred_at,
    )


def _line_total(line: OrderPaidLine) -> Decimal | None:
    if line.line_total is not None:
        return line.line_total
    return None if line.unit_price is None else product(line.unit_price, line.quantity)


def _names(document: object) -> tuple[str | None, str | None]:
    """Order id and shop id, as far as they can be read from an event that is no order."""
    return _name(document, ORDER_ID), _name(document, SHOP_ID)


def _name(document: object, spellings: AliasChoices) -> str | None:
    if not isinstance(document, dict):
        return None
    present = next((spelling for spelling in spellings.choices if spelling in document), None)
    identifier = to_identifier(document.get(present))
    return identifier if isinstance(identifier, str) else None


# What is said of an error, by pydantic's type of it.
_PROBLEMS = {
    "missing": "required",
    "model_type": "expected an object, found {found}",
    "tuple_type": "expected a list, found {found}",
    UNFIT: "expected {expected}, found {found}",
    NEGATIVE: "negative",
}
_OTHER_PROBLEM = "cannot be read, found {found}"


def _detail(error: ErrorDetails) -> str:
    """Such as "lines[0].quantity: expected a whole number of at least 1, found text"."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error["loc"]).lstrip(".")
    problem = _PROBLEMS.get(error["type"], _OTHER_PROBLEM)
    return f"{path or 'body'}: {problem.format_map({'found': _kind(error['input'])} | error.get('ctx', {}))}"


def _kind(value: object) -> str:
    """What JSON calls a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float() | Decimal():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case _:
            return "an object"
