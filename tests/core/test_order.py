"""Events: every rule of the canonical event, and a value for whatever else comes."""

import gzip
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.event import OrderPaidEvent
from consumer.core.order import Line, Malformed, OrderPaid, Refund, parse, read

QUICK = settings(max_examples=150, deadline=None)

LINE: dict[str, Any] = {"productId": "SKU-001", "quantity": 2, "unitPrice": Decimal("39.99")}
EVENT: dict[str, Any] = {
    "eventId": "evt-1",
    "occurredAt": "2026-01-01T10:00:00Z",
    "shopId": "shop_a",
    "orderId": "ORD-1",
    "orderValue": Decimal("199.95"),
    "currency": "EUR",
    "lines": [LINE],
    "neuroonClicks": {"SKU-001": "log_aaa"},
}
ABSENT = object()


def changed(document: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**document, **fields}.items() if value is not ABSENT}


def event(**fields: Any) -> dict[str, Any]:
    return changed(EVENT, fields)


def event_of(**fields: Any) -> dict[str, Any]:
    """An event of one line, with these fields of the line."""
    return event(lines=[changed(LINE, fields)])


def order(document: object) -> OrderPaid:
    found = read(document)
    assert isinstance(found, OrderPaid), found
    return found


def only_line(document: object) -> Line:
    (line,) = order(document).lines
    return line


def malformed(document: object) -> str:
    found = read(document)
    assert isinstance(found, Malformed), found
    return found.detail


def test_an_event_becomes_an_order() -> None:
    """From the bytes of a message, plain or gzip, to the whole order."""
    body = (
        b'{"eventId": "evt-1", "occurredAt": "2026-01-01T10:00:00Z", "shopId": "shop_a", "orderId": "ORD-1",'
        b' "orderValue": 199.95, "currency": "EUR",'
        b' "lines": [{"productId": "SKU-001", "quantity": 2, "unitPrice": 39.99}],'
        b' "neuroonClicks": {"SKU-001": "log_aaa"}}'
    )
    expected = OrderPaid(
        order_id="ORD-1",
        order_value=Decimal("199.95"),
        currency="EUR",
        lines=(Line("SKU-001", 2, Decimal("79.98")),),
        clicks={"SKU-001": "log_aaa"},
        shop_id="shop_a",
        event_id="evt-1",
        occurred_at="2026-01-01T10:00:00Z",
    )
    assert parse(body) == expected
    assert parse(gzip.compress(body), "gzip") == expected
    assert read(EVENT) == expected


def test_what_may_be_absent_may_be_absent() -> None:
    """Nothing but orderId, orderValue, currency and lines is required; null is as good as absent."""
    least = {"orderId": "1", "orderValue": 0, "currency": "EUR", "lines": []}
    expected = OrderPaid("1", Decimal(0), "EUR", ())
    assert read(least) == expected
    optional = ("eventId", "occurredAt", "shopId", "neuroonClicks")
    assert read(least | dict.fromkeys(optional)) == expected


def test_the_names_of_the_recipe_work_too() -> None:
    """`id`, `total` and `sku`, as in Neuroon's own sample, and the cookie's own name."""
    document = {
        "id": 10045,
        "total": "12.50",
        "currency": "EUR",
        "lines": [{"sku": "A", "quantity": 1, "unitPrice": 1}],
        "neuroon_clicks": '{"A":"log"}',
    }
    found = order(document)
    assert (found.order_id, found.order_value, found.lines[0].product_id) == ("10045", Decimal("12.50"), "A")
    assert found.clicks == {"A": "log"}


def test_the_canonical_name_wins() -> None:
    """Where an event has both, whatever their order."""
    found = order(
        {"id": "other", "total": 1, "neuroon_clicks": {"A": "other"}} | event(lines=[{"sku": "other"} | LINE])
    )
    assert (found.order_id, found.order_value) == ("ORD-1", Decimal("199.95"))
    assert found.lines[0].product_id == "SKU-001"
    assert found.clicks == {"SKU-001": "log_aaa"}


def test_fields_without_a_name_here_are_ignored() -> None:
    """Whatever they hold."""
    extra = {"customer": {"name": "Jane"}, "unitPrice": True, "": None, "lineTotal": "x"}
    assert read(event(**extra, lines=[LINE | {"name": 1, "discounts": [{}], "total": -1}])) == read(EVENT)


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


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (event(orderValue=-1), "orderValue"),
        (event(orderValue="-0.01"), "orderValue"),
        (event(orderValue=ABSENT, total=-1), "total"),
        (event(lines=[LINE, LINE | {"quantity": -1}]), "lines[1].quantity"),
        (event_of(quantity="-0.5"), "lines[0].quantity"),
        (event_of(unitPrice=-5), "lines[0].unitPrice"),
        (event_of(lineTotal=-5), "lines[0].lineTotal"),
        (event_of(lineTotal=5, unitPrice=-5), "lines[0].unitPrice"),
    ],
)
def test_a_negative_amount_makes_a_refund(document: object, field: str) -> None:
    """And the field is named."""
    assert read(document) == Refund(f"{field}: negative", "ORD-1", "shop_a")


def test_a_refund_stays_one_whatever_else_is_wrong() -> None:
    """Nobody needs to mend an event whose money went back."""
    assert read(event(orderValue=-1, orderId=True, lines="none")) == Refund("orderValue: negative", None, "shop_a")


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        ([], "body: expected an object, found a list"),
        ("{}", "body: expected an object, found text"),
        (None, "body: expected an object, found null"),
        (Decimal(1), "body: expected an object, found a number"),
        (event(lines=None), "lines: expected a list, found null"),
        (event(lines={"0": LINE}), "lines: expected a list, found an object"),
        (event(lines="SKU-001"), "lines: expected a list, found text"),
        (event(lines=[LINE, None]), "lines[1]: expected an object, found null"),
        (event(lines=[[LINE]]), "lines[0]: expected an object, found a list"),
    ],
)
def test_what_has_another_shape_is_named(document: object, detail: str) -> None:
    """By its path, what was expected there, and what JSON calls that which was found."""
    assert malformed(document) == detail


@pytest.mark.parametrize("value", [None, [], "garbage", 12, True, "%7B%22", {"A": None}])
def test_clicks_never_make_an_event_malformed(value: object) -> None:
    """They come out of a browser: what cannot be read is no clicks."""
    assert order(event(neuroonClicks=value)).clicks == {}


def test_order_and_shop_are_told_even_when_malformed() -> None:
    """So that a dead letter can be found by them: from a document at fault, and from a body that breaks off."""
    assert read(event(lines=0)) == Malformed("lines: expected a list, found a number", "ORD-1", "shop_a")
    assert read({"id": 7, "shopId": True}) == Malformed("shopId: expected text or an integer, found true or false", "7")
    broken = parse(b'{"shopId": "shop_a", "orderId": 17, "lines": [{"sku": "A", "quan')
    assert isinstance(broken, Malformed)
    assert (broken.order_id, broken.shop_id) == ("17", "shop_a")
    unfinished = parse(b'{"shopId": "shop_a", "orderId": 17')
    assert isinstance(unfinished, Malformed)
    assert (unfinished.order_id, unfinished.shop_id) == (None, "shop_a")


@pytest.mark.parametrize(
    ("body", "content_encoding", "detail"),
    [
        (b"", None, "body: empty"),
        (b"{}", "br", "body: content-encoding br is not undone, only gzip is"),
        (b'{"a": 1}, ', None, "body: not JSON: trailing characters at line 1 column 9"),
        (b"\x80", None, "body: not UTF-8 at byte 1"),
        (b" " * 2_000_000, None, "body: 2,000,000 bytes; at most 1,048,576 are taken"),
        (b"[" * 10_000, None, "body: not JSON: recursion limit exceeded at line 1 column 202"),
    ],
    ids=["empty", "br", "trailing", "not UTF-8", "too large", "too deep"],
)
def test_a_body_that_cannot_be_read_is_malformed(body: bytes, content_encoding: str | None, detail: str) -> None:
    """With the reason of the body."""
    assert parse(body, content_encoding) == Malformed(detail)


SECRET = "Jane Doe 4711"


@pytest.mark.parametrize("place", [*EVENT, *(f"lines.{name}" for name in [*LINE, "lineTotal", "searchLogId"])])
@pytest.mark.parametrize("value", [SECRET, [SECRET], {SECRET: SECRET}, SECRET * 100])
def test_no_value_is_repeated(place: str, value: object) -> None:
    """Neither in a detail, which goes into logs and headers, nor in the repr of what was read."""
    line, _, name = place.rpartition(".")
    found = read(event_of(**{name: value}) if line else event(**{name: value}))
    shown = found.detail if isinstance(found, Malformed | Refund) else repr(found)
    if not (isinstance(found, OrderPaid) and name in {"orderId", "shopId", "eventId", "occurredAt"}):
        assert "4711" not in shown


def test_the_repr_of_an_order_tells_nothing_of_what_was_bought() -> None:
    """It names the order, and that is all; a line names nothing."""
    found = order(event(lines=[LINE | {"searchLogId": "log_own"}]))
    assert repr(found).startswith("OrderPaid(order_id='ORD-1'")
    assert not re.search(r"199|SKU|log_|EUR", repr(found))
    assert repr(found.lines[0]) == "Line()"


DECIMALS = st.sampled_from(["0", "-0.0", "1.5", "-2", "1e15", "1e-400000", "1e999999999", "NaN", "-Infinity"]).map(
    Decimal
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | DECIMALS | st.text(max_size=5) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
NAMES = [*EVENT, "id", "total", "neuroon_clicks"]
LINES = st.dictionaries(st.sampled_from([*LINE, "sku", "lineTotal", "searchLogId"]), VALUES, max_size=6)


@QUICK
@given(
    VALUES
    | st.dictionaries(st.sampled_from(NAMES), VALUES | st.lists(LINES, max_size=3))
    | st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=2).map(lambda fields: EVENT | fields)
    | LINES.map(lambda fields: event(lines=[LINE | fields]))
)
def test_any_document_gives_a_value(document: object) -> None:
    """An order, a refund or a reason with a place in it; never an exception, and the same one every time."""
    found = read(document)
    assert isinstance(found, OrderPaid) or re.match(r"[a-zA-Z_]+(\[\d+\])?(\.[a-zA-Z]+)?: .", found.detail)
    assert read(document) == found


@QUICK
@given(st.binary(max_size=80), st.sampled_from([None, "gzip", "utf-8", "br", "gzip, br"]))
def test_any_bytes_give_a_value(body: bytes, content_encoding: str | None) -> None:
    """No body raises."""
    assert isinstance(parse(body, content_encoding), OrderPaid | Malformed | Refund)


WHOLE = json.dumps(EVENT, default=str).encode()


@QUICK
@given(st.integers(0, len(WHOLE)), st.integers(0, 5), st.binary(max_size=5), st.booleans())
def test_a_damaged_event_gives_a_value(place: int, gone: int, new: bytes, zipped: bool) -> None:
    """Bytes lost and bytes written over, anywhere in an event or in its compression."""
    body = gzip.compress(WHOLE, 1) if zipped else WHOLE
    damaged = body[:place] + new + body[place + gone :]
    assert isinstance(parse(damaged, "gzip" if zipped else None), OrderPaid | Malformed | Refund)


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
