"""The canonical order.paid event: which fields it has, what each may hold, and the JSON Schema that says so.

This model is the only description of the event: it checks what a shop sent, and its JSON Schema is generated from it.
`order.py` makes an order of what passes. Pydantic costs about 2 us an order more than the same checks in plain Python;
for that it gives the schema, and the path of every error as the event spelled it.
"""

from decimal import Decimal
from typing import Annotated

from pydantic import AliasChoices, BaseModel, ConfigDict, FailFast, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from consumer.core.clicks import parse_clicks
from consumer.core.identifier import IDENTIFIER_LENGTH, NotAnIdentifier, to_identifier
from consumer.core.money import AMOUNT_LIMIT, DECIMAL_PATTERN, NotAnAmount, to_amount, to_currency

QUANTITY_LIMIT = 10**9

A_QUANTITY = f"a whole number of at least 1 and at most {QUANTITY_LIMIT:,}"
A_CURRENCY = "an ISO 4217 currency code such as EUR"

# Types of the errors that are raised here; all others are pydantic's own.
UNFIT = "unfit"  # its context says what was `expected`
NEGATIVE = "negative"

# Canonical name first: it wins where an event has both. The others are those of Neuroon's own recipe.
ORDER_ID = AliasChoices("orderId", "id")
SHOP_ID = AliasChoices("shopId")


def _unfit(expected: str, found: str = "") -> PydanticCustomError:
    context = {"expected": expected, "found": found} if found else {"expected": expected}
    return PydanticCustomError(UNFIT, "expected {expected}", context)


def _negative() -> PydanticCustomError:
    return PydanticCustomError(NEGATIVE, "negative")


def _identifier(value: object) -> str:
    identifier = to_identifier(value)
    if isinstance(identifier, NotAnIdentifier):
        raise _unfit(identifier.expected, identifier.found)
    return identifier


def _identifier_or_none(value: object) -> str | None:
    return None if value is None else _identifier(value)


def _search_log_id(value: object) -> str | None:
    """A blank one says what a missing one says: no search led to this line."""
    return None if value is None or (isinstance(value, str) and not value.strip()) else _identifier(value)


def _label(value: object) -> str | None:
    """An identifier that nothing depends on: one that cannot be used is passed over."""
    identifier = to_identifier(value)
    return identifier if isinstance(identifier, str) else None


def _amount(value: object) -> Decimal:
    amount = to_amount(value)
    if isinstance(amount, NotAnAmount):
        raise _unfit(amount.expected)
    if amount < 0:
        raise _negative()
    return amount


def _amount_or_none(value: object) -> Decimal | None:
    return None if value is None else _amount(value)


def _quantity(value: object) -> Decimal:
    """The quantity as it was given, fraction and all: the line total is worked out from it."""
    if type(value) is int and 0 < value <= QUANTITY_LIMIT:
        return Decimal(value)  # nearly all are
    quantity = to_amount(value)
    if isinstance(quantity, NotAnAmount) or not quantity or quantity > QUANTITY_LIMIT:
        raise _unfit(A_QUANTITY)
    if quantity < 0:
        raise _negative()
    return quantity


def _currency(value: object) -> str:
    code = to_currency(value)
    if code is None:
        raise _unfit(A_CURRENCY)
    return code


_TEXT = {"type": "string", "maxLength": IDENTIFIER_LENGTH, "pattern": r"^[^\u0000]*$"}
_INTEGER = {"type": "integer"}
_NULL = {"type": "null"}
_NOT_BLANK = {**_TEXT, "pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$"}
_DECIMAL_TEXT = {"type": "string", "pattern": rf"^\s*{DECIMAL_PATTERN}\s*$"}
_AMOUNT = {"anyOf": [{"type": "number", "minimum": 0, "exclusiveMaximum": AMOUNT_LIMIT}, _DECIMAL_TEXT]}
_QUANTITY = {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": QUANTITY_LIMIT}, _DECIMAL_TEXT]}
_OPTIONAL_AMOUNT = {"anyOf": [*_AMOUNT["anyOf"], _NULL]}
_CURRENCY = {"type": "string", "pattern": r"^\s*[A-Za-z]{3}\s*$"}
_CLICKS = {"type": ["object", "string", "array", "null"], "additionalProperties": {"type": ["string", "integer"]}}

Identifier = Annotated[str, PlainValidator(_identifier), WithJsonSchema({"anyOf": [_NOT_BLANK, _INTEGER]})]
OptionalIdentifier = Annotated[
    str | None, PlainValidator(_identifier_or_none), WithJsonSchema({"anyOf": [_NOT_BLANK, _INTEGER, _NULL]})
]
SearchLogId = Annotated[str | None, PlainValidator(_search_log_id), WithJsonSchema({"anyOf": [_TEXT, _INTEGER, _NULL]})]
Label = Annotated[str | None, PlainValidator(_label), WithJsonSchema({})]
Amount = Annotated[Decimal, PlainValidator(_amount), WithJsonSchema(_AMOUNT)]
OptionalAmount = Annotated[Decimal | None, PlainValidator(_amount_or_none), WithJsonSchema(_OPTIONAL_AMOUNT)]
Quantity = Annotated[Decimal, PlainValidator(_quantity), WithJsonSchema(_QUANTITY)]
Currency = Annotated[str, PlainValidator(_currency), WithJsonSchema(_CURRENCY)]
Clicks = Annotated[dict[str, str], PlainValidator(parse_clicks), WithJsonSchema(_CLICKS)]


class _Model(BaseModel):
    model_config = ConfigDict(
        hide_input_in_errors=True,  # what an event holds belongs in no log
        field_title_generator=lambda name, _: name.replace("_", " "),
    )


class OrderPaidLine(_Model):
    """One product of the order. It needs a line total, or a unit price to work it out from."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["lineTotal"]}, {"required": ["unitPrice"]}]},
    )

    product_id: Identifier = Field(
        validation_alias=AliasChoices("productId", "sku"),
        description="The shop's own id of the product, the same as in its product feed. Also read from `sku`.",
        examples=["SKU-001"],
    )
    quantity: Quantity = Field(
        description="At least 1. A fraction is sent rounded up; the line total is worked out from it exactly.",
        examples=[2, "3.000000"],
    )
    unit_price: OptionalAmount = Field(
        default=None,
        validation_alias="unitPrice",
        description="Price of one, in major units of the currency.",
        examples=[39.99, "39.99"],
    )
    line_total: OptionalAmount = Field(
        default=None,
        validation_alias="lineTotal",
        description="Price of the line. Wins over unitPrice x quantity.",
        examples=[79.98],
    )
    search_log_id: SearchLogId = Field(
        default=None,
        validation_alias="searchLogId",
        description="The search that led the buyer here. Wins over `neuroonClicks`; blank counts as absent.",
        examples=["log_aaa"],
    )


class OrderPaidEvent(_Model):
    """An order has been paid. Amounts are in major units; fields that are not named here are ignored."""

    event_id: Label = Field(
        default=None,
        validation_alias="eventId",
        description="The event's own id.",
        examples=["evt_8f41"],
    )
    occurred_at: Label = Field(
        default=None,
        validation_alias="occurredAt",
        description="When the order was paid.",
        examples=["2026-01-01T10:00:00Z"],
    )
    shop_id: OptionalIdentifier = Field(
        default=None,
        validation_alias=SHOP_ID,
        description="Id or alias of a configured shop. Required when more than one is configured.",
        examples=["shop_a"],
    )
    order_id: Identifier = Field(
        validation_alias=ORDER_ID,
        description="The order's id, the same every time it is published. Also read from `id`.",
        examples=["ORD-1", 10045],
    )
    order_value: Amount = Field(
        validation_alias=AliasChoices("orderValue", "total"),
        description="What was paid, with tax, shipping and discounts as the shop counts them. Also read from `total`.",
        examples=[199.95, "199.95"],
    )
    currency: Currency = Field(description="ISO 4217 code.", examples=["EUR"])
    lines: Annotated[tuple[OrderPaidLine, ...], FailFast()] = Field(description="What was bought; may be empty.")
    clicks: Clicks = Field(
        default_factory=dict,
        validation_alias=AliasChoices("neuroonClicks", "neuroon_clicks"),
        description=(
            "The cookie `neuroon_clicks`: a map of product id to search log id, as an object, as JSON text, "
            "percent-encoded once or twice, or in a whole Cookie header. What cannot be read counts as no clicks. "
            "Also read from `neuroon_clicks`."
        ),
        examples=[{"SKU-001": "log_aaa"}],
    )
