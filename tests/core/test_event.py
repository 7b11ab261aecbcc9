"""The canonical event, field by field: what each may hold, and how each fault is named."""

import json
from decimal import Decimal

import pytest

from consumer.core.event import OrderPaidEvent
from consumer.core.order import Line, Malformed, OrderPaid, parse, read
from tests.support.orders import ABSENT, EVENT, LINE, changed, event, event_of, malformed, only_line, order


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ORD-1", "ORD-1"),
        (" 1 ", " 1 "),
        (12345678901234567890123, "12345678901234567890123"),
        (0, "0"),
        ("x" * 512,) * 2,
    ],
)
def test_ids_are_taken_exactly(value: object, expected: str) -> None:
    """Texts as they are, integers by their digits, however many."""
    found = order(event(orderId=value, shopId=value, lines=[LINE | {"productId": value, "searchLogId": value}]))
    line = found.lines[0]
    assert {found.order_id, found.shop_id, line.product_id, line.search_log_id} == {expected}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (True, "expected text or an integer, found true or false"),
        (Decimal("1.0"), "expected text or an integer, found a number"),
        ([], "expected text or an integer, found a list"),
        ({}, "expected text or an integer, found an object"),
        ("x" * 513, "expected an identifier of at most 512 characters, found text"),
    ],
)
def test_what_is_no_id_is_named(value: object, problem: str) -> None:
    """By field and type, and the value is not repeated."""
    assert malformed(event(orderId=value)) == f"orderId: {problem}"
    assert malformed(event(shopId=value)) == f"shopId: {problem}"
    assert malformed(event_of(productId=value)) == f"lines[0].productId: {problem}"
    assert malformed(event_of(searchLogId=value)) == f"lines[0].searchLogId: {problem}"
    assert malformed(event(orderId=ABSENT, id=value)) == f"id: {problem}"
    assert malformed(event_of(productId=ABSENT, sku=value)) == f"lines[0].sku: {problem}"


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_ids_are_not_blank(blank: str) -> None:
    """But for a line's own search log id, where blank means that there is none."""
    problem = "expected text that is not blank, found text"
    assert malformed(event(orderId=blank)) == f"orderId: {problem}"
    assert malformed(event(shopId=blank)) == f"shopId: {problem}"
    assert malformed(event_of(productId=blank)) == f"lines[0].productId: {problem}"
    assert only_line(event_of(searchLogId=blank)).search_log_id is None


@pytest.mark.parametrize("value", [True, [], {}, "", " ", Decimal(1), "x" * 513])
def test_labels_that_cannot_be_used_are_passed_over(value: object) -> None:
    """Nothing depends on eventId and occurredAt."""
    found = order(event(eventId=value, occurredAt=value))
    assert (found.event_id, found.occurred_at) == (None, None)


@pytest.mark.parametrize("field", ["orderId", "orderValue", "currency", "lines"])
def test_required_fields_of_an_order(field: str) -> None:
    """Are named by their canonical name when absent."""
    assert malformed(event(**{field: ABSENT})) == f"{field}: required"
    assert malformed(event(**{field: None})).startswith(f"{field}: expected ")


@pytest.mark.parametrize("field", ["productId", "quantity"])
def test_required_fields_of_a_line(field: str) -> None:
    """Every line is checked, and the one at fault is named by its place."""
    assert malformed(event(lines=[LINE, changed(LINE, {field: ABSENT})])) == f"lines[1].{field}: required"
    assert malformed(event_of(**{field: None})).startswith(f"lines[0].{field}: expected ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(199.95, None), (0, "0"), (Decimal("0.1"), "0.1"), ("0.10", "0.10"), ("5E-18", "5E-18"), (Decimal("-0.0"), "0")],
)
def test_amounts_are_exact(value: object, expected: str | None) -> None:
    """Numbers and decimal texts as they were spelled; a binary float is no amount any more."""
    if expected is None:
        assert malformed(event(orderValue=value)).startswith("orderValue: expected a number or a decimal text")
    else:
        assert order(event(orderValue=value)).order_value == Decimal(expected)
        assert only_line(event_of(quantity=1, unitPrice=value)).line_total == Decimal(expected)
        assert only_line(event_of(lineTotal=value)).line_total == Decimal(expected)


@pytest.mark.parametrize("field", ["orderValue", "lines[0].unitPrice", "lines[0].lineTotal"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("12,50", 'expected a number or a decimal text such as "12.50", found text'),
        ("NaN", 'expected a number or a decimal text such as "12.50", found text'),
        (True, 'expected a number or a decimal text such as "12.50", found true or false'),
        ({}, 'expected a number or a decimal text such as "12.50", found an object'),
        (10**15, "expected an amount below 1,000,000,000,000,000, found a number"),
        (Decimal("1e999999999"), "expected an amount below 1,000,000,000,000,000, found a number"),
        (Decimal("0." + "1" * 101), "expected an amount of at most 100 digits, found a number"),
    ],
)
def test_what_is_no_amount_is_named(field: str, value: object, problem: str) -> None:
    """By field and type, at once whatever its exponent."""
    line, _, name = field.rpartition(".")
    assert malformed(event_of(**{name: value}) if line else event(**{name: value})) == f"{field}: {problem}"


@pytest.mark.parametrize(
    ("quantity", "price", "expected"),
    [
        (3, "0.1", Line("SKU-001", 3, Decimal("0.3"))),
        ("2", "39.99", Line("SKU-001", 2, Decimal("79.98"))),
        ("3.000000", "1.10", Line("SKU-001", 3, Decimal("3.30"))),
        (Decimal("3.0"), 5, Line("SKU-001", 3, Decimal(15))),
        (Decimal("1e2"), 5, Line("SKU-001", 100, Decimal(500))),
        (Decimal("1.5"), "10.01", Line("SKU-001", 2, Decimal("15.015"))),
        ("0.25", 10, Line("SKU-001", 1, Decimal("2.5"))),
        (Decimal("1e-999"), 10, Line("SKU-001", 1, Decimal("1e-998"))),
        (10**9, 1, Line("SKU-001", 10**9, Decimal(10**9))),
    ],
)
def test_a_fraction_is_rounded_up_and_the_total_stays_exact(quantity: object, price: object, expected: Line) -> None:
    """The quantity that is sent is whole; the total is worked out from the one that was bought."""
    assert only_line(event_of(quantity=quantity, unitPrice=price)) == expected


@pytest.mark.parametrize(
    ("quantity", "found"),
    [
        *(
            (0, "a number"),
            ("0", "text"),
            (Decimal("0.0"), "a number"),
            (10**9 + 1, "a number"),
            ("1e9999999999", "text"),
        ),
        *(("two", "text"), ("", "text"), (True, "true or false"), ([], "a list"), (None, "null")),
    ],
)
def test_what_is_no_quantity_is_named(quantity: object, found: str) -> None:
    """Zero, more than a thousand million, or no number at all."""
    expected = "expected a whole number of at least 1 and at most 1,000,000,000"
    assert malformed(event_of(quantity=quantity)) == f"lines[0].quantity: {expected}, found {found}"


def test_the_line_total_wins() -> None:
    """Over what unit price and quantity would give; totals need not add up."""
    assert only_line(event_of(lineTotal="70")).line_total == Decimal(70)
    assert only_line(event_of(lineTotal=0)).line_total == Decimal(0)
    assert only_line(event_of(lineTotal="70", unitPrice=ABSENT)).line_total == Decimal(70)
    assert only_line(event_of(lineTotal="70", unitPrice=None)).line_total == Decimal(70)
    assert only_line(event_of(lineTotal=None)).line_total == Decimal("79.98")


def test_a_line_needs_a_price() -> None:
    """One of the two, and not as null."""
    for fields in ({"unitPrice": ABSENT}, {"unitPrice": None}, {"unitPrice": None, "lineTotal": None}):
        found = read(event(lines=[LINE, changed(LINE, fields)]))
        assert found == Malformed("lines[1]: lineTotal or unitPrice required", "ORD-1", "shop_a")


@pytest.mark.parametrize(("value", "expected"), [("EUR", "EUR"), ("eur", "EUR"), (" Jpy ", "JPY")])
def test_a_currency_in_any_case(value: str, expected: str) -> None:
    """It goes on in upper case."""
    assert order(event(currency=value)).currency == expected


@pytest.mark.parametrize(
    ("value", "found"), [("XAU", "text"), ("EURO", "text"), ("", "text"), (978, "a number"), (["EUR"], "a list")]
)
def test_what_is_no_currency_is_named(value: object, found: str) -> None:
    """Metals among them: nothing is sold in gold."""
    assert (
        malformed(event(currency=value)) == f"currency: expected an ISO 4217 currency code such as EUR, found {found}"
    )


def test_the_schema_describes_what_is_read() -> None:
    """One model for both: the schema has the names, the required ones, and examples that are read as they stand."""
    schema = OrderPaidEvent.model_json_schema()
    line = schema["$defs"]["OrderPaidLine"]
    assert set(schema["required"]) == {"orderId", "orderValue", "currency", "lines"}
    assert schema["properties"].keys() == EVENT.keys()
    assert set(line["required"]) == {"productId", "quantity"}
    assert line["anyOf"] == [{"required": ["lineTotal"]}, {"required": ["unitPrice"]}]
    assert all(field["description"] for field in (schema["properties"] | line["properties"]).values())
    examples = {name: field["examples"][0] for name, field in schema["properties"].items() if name != "lines"}
    examples["lines"] = [{name: field["examples"][0] for name, field in line["properties"].items()}]
    assert isinstance(parse(json.dumps(examples).encode()), OrderPaid)
