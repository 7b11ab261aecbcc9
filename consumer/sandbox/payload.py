"""What a conversion must look like to be recorded."""

import re
from collections.abc import Iterator
from typing import Any, TypeGuard

import jiter

_FIELDS = frozenset({"orderId", "orderValue", "currency", "conversions"})
_LINE_FIELDS = frozenset({"productId", "searchLogId", "quantity", "lineTotal"})


def read_payload(body: bytes) -> Any:
    """The body as JSON. Raises ValueError; NaN and Infinity are no JSON."""
    return jiter.from_json(body, allow_inf_nan=False)


def order_id(payload: Any) -> str:
    """The order's id, "" where there is none to be had."""
    found = payload.get("orderId") if isinstance(payload, dict) else None
    return found if isinstance(found, str) else ""


def flaws(payload: Any) -> list[str]:
    """What is wrong, a sentence for each field; empty for a good conversion.

    Strict about types (no number in quotes, no 2.0 for a quantity), since a consumer that passes here should pass
    anywhere. Of the currency only the form is looked at.
    """
    if not isinstance(payload, dict):
        return ["JSON object expected"]
    found = list(_order_flaws(payload))
    lines = payload.get("conversions")
    if not isinstance(lines, list) or not lines:
        return [*found, "conversions must be a list and not be empty"]
    for index, line in enumerate(lines):
        found += (f"conversions[{index}]{flaw}" for flaw in _line_flaws(line))
    return found


def unexpected(payload: dict[str, Any]) -> tuple[str, ...]:
    """Fields that the contract does not know. They are let in, as servers of this make do, but remembered."""
    extra = payload.keys() - _FIELDS
    for line in payload["conversions"]:
        extra |= {f"conversions.{each}" for each in line.keys() - _LINE_FIELDS}
    return tuple(sorted(extra))


def _order_flaws(payload: dict[str, Any]) -> Iterator[str]:
    value, currency = payload.get("orderValue"), payload.get("currency")
    if not _filled(payload.get("orderId")):
        yield "orderId must not be blank"
    if not _number(value):
        yield "orderValue must be a number"
    elif value < 0:
        yield "orderValue must be >= 0"
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        yield "currency must be an ISO 4217 code"


def _line_flaws(line: Any) -> Iterator[str]:
    if not isinstance(line, dict):
        yield " must be an object"
        return
    for name in ("productId", "searchLogId"):
        if not _filled(line.get(name)):
            yield f".{name} must not be blank"
    quantity = line.get("quantity")
    if not isinstance(quantity, int) or isinstance(quantity, bool):
        yield ".quantity must be an integer"
    if not _number(line.get("lineTotal")):
        yield ".lineTotal must be a number"


def _filled(value: Any) -> bool:
    return isinstance(value, str) and not value.isspace() and value != ""


def _number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
