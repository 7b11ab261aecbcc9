"""Conversions: the payload byte for byte."""

import json
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from consumer.core.conversion import Conversion, attribute
from consumer.core.money import MINOR_UNITS
from consumer.core.order import Line, OrderPaid, parse
from consumer.core.outcome import Unattributed

QUICK = settings(max_examples=150, deadline=None)


def order(
    *lines: Line,
    clicks: Mapping[str, str] | None = None,
    value: str = "199.95",
    currency: str = "EUR",
    order_id: str = "ORD-1",
) -> OrderPaid:
    return OrderPaid(order_id, Decimal(value), currency, lines, dict(clicks or {}))


def line(product_id: str, total: str = "1", quantity: int = 1, search_log_id: str | None = None) -> Line:
    return Line(product_id, quantity, Decimal(total), search_log_id)


def payload(paid: OrderPaid) -> bytes:
    conversion = attribute(paid)
    assert isinstance(conversion, Conversion)
    return conversion.payload


def sent(paid: OrderPaid) -> Any:
    return json.loads(payload(paid), parse_float=Decimal)


def test_the_payload_byte_for_byte() -> None:
    """Exactly these keys in this order, no spaces, amounts as numbers with the currency's decimals."""
    body = (
        b'{"shopId": "shop_a", "orderId": "ORD-1", "orderValue": 199.95, "currency": "eur", "lines": ['
        b'{"productId": "SKU-001", "quantity": 2, "unitPrice": 39.99, "name": "Blue"},'
        b'{"productId": "SKU-042", "quantity": "1.000", "lineTotal": "119.97"},'
        b'{"productId": "SKU-099", "quantity": 1, "unitPrice": 5}],'
        b'"neuroonClicks": {"SKU-001": "log_aaa", "SKU-042": "log_bbb"}}'
    )
    paid = parse(body)
    assert isinstance(paid, OrderPaid)
    assert payload(paid) == (
        b'{"orderId":"ORD-1","orderValue":199.95,"currency":"EUR","conversions":['
        b'{"productId":"SKU-001","searchLogId":"log_aaa","quantity":2,"lineTotal":79.98},'
        b'{"productId":"SKU-042","searchLogId":"log_bbb","quantity":1,"lineTotal":119.97}]}'
    )


@pytest.mark.parametrize(
    ("currency", "value", "total", "sent_value", "sent_total"),
    [
        ("EUR", "5", "0.1", "5.00", "0.10"),
        ("EUR", "1.005", "2.675", "1.01", "2.68"),
        ("EUR", "1.0049999999999999999", "1e3", "1.00", "1000.00"),
        ("JPY", "1999.5", "1e3", "2000", "1000"),
        ("KWD", "1.2345", "5e-18", "1.235", "0.000"),
        ("CLF", "1", "0", "1.0000", "0.0000"),
    ],
)
def test_amounts_have_the_decimals_of_their_currency(
    currency: str, value: str, total: str, sent_value: str, sent_total: str
) -> None:
    """Half up, and never with an exponent."""
    assert (
        payload(order(line("A", total), clicks={"A": "l"}, value=value, currency=currency))
        == (
            f'{{"orderId":"ORD-1","orderValue":{sent_value},"currency":"{currency}","conversions":'
            f'[{{"productId":"A","searchLogId":"l","quantity":1,"lineTotal":{sent_total}}}]}}'
        ).encode()
    )


def test_a_lines_own_search_wins() -> None:
    """Over the clicks, which serve the lines that name none."""
    paid = order(line("A", search_log_id="own"), line("B"), clicks={"A": "clicked", "B": "clicked"})
    assert [item["searchLogId"] for item in sent(paid)["conversions"]] == ["own", "clicked"]


def test_lines_that_came_another_way_are_left_out() -> None:
    """The order value is still that of the whole order."""
    paid = order(line("A"), line("B"), line("C"), clicks={"B": "log", "X": "log"})
    assert [item["productId"] for item in sent(paid)["conversions"]] == ["B"]
    assert sent(paid)["orderValue"] == Decimal("199.95")


@pytest.mark.parametrize("clicks", [{}, {"B": "log"}, {"a": "log"}, {"A ": "log"}])
def test_an_order_without_a_search_is_unattributed(clicks: dict[str, str]) -> None:
    """No clicks, clicks on other products, ids that differ in case or space: nothing to send."""
    assert attribute(order(line("A"), clicks=clicks)) == Unattributed()
    assert attribute(order(clicks=clicks)) == Unattributed()


def test_a_product_on_two_lines_stays_on_two() -> None:
    """In the order of the lines; they are not added up."""
    paid = order(line("A", "1", 1), line("B"), line("A", "2", 2), clicks={"A": "log"})
    assert [(item["quantity"], item["lineTotal"]) for item in sent(paid)["conversions"]] == [(1, 1), (2, 2)]


def test_text_is_utf8_and_not_escaped() -> None:
    """But for quotes, backslashes and control characters, as JSON demands."""
    paid = order(line('ñ"\\\n\0😀/', search_log_id="\u2028"), order_id="Ö")
    assert (
        payload(paid)
        == (
            '{"orderId":"Ö","orderValue":199.95,"currency":"EUR","conversions":'
            '[{"productId":"ñ\\"\\\\\\n\\u0000😀/","searchLogId":"\u2028","quantity":1,"lineTotal":1.00}]}'
        ).encode()
    )


def test_a_lone_surrogate_is_escaped() -> None:
    """No UTF-8 has it, but JSON can say it: the id arrives as it is."""
    found = sent(order(line("A\ud800", search_log_id="log"), order_id="\udfff"))
    assert found["orderId"] == "\udfff"
    assert found["conversions"][0]["productId"] == "A\ud800"


def test_a_conversion_reports_value_and_currency_and_shows_neither() -> None:
    """As they are in the payload; its repr names the order only."""
    conversion = attribute(order(line("A"), clicks={"A": "log"}, value="1.005"))
    assert isinstance(conversion, Conversion)
    assert (conversion.order_id, str(conversion.order_value), conversion.currency) == ("ORD-1", "1.01", "EUR")
    assert repr(conversion) == "Conversion(order_id='ORD-1')"


IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
    lambda text: not text.isspace()
)
# Of few enough digits that the plain arithmetic below, which keeps 28 of them, is exact too.
AMOUNTS = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places), st.integers(0, 10**15 - 1), st.integers(0, 9)
)
QUANTITIES = st.integers(1, 10**6) | st.integers(1, 10**6).map(lambda thousandths: Decimal(thousandths).scaleb(-3))
NUMBERS = AMOUNTS | AMOUNTS.map(str)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """A valid event, its numbers spelled in one of the ways that are allowed."""
    products = draw(st.lists(IDS, min_size=1, max_size=4))
    lines = []
    for product in products:
        fields: dict[str, Any] = {"productId": product, "quantity": draw(QUANTITIES | QUANTITIES.map(str))}
        priced = draw(st.sampled_from([["unitPrice"], ["lineTotal"], ["unitPrice", "lineTotal"]]))
        fields |= {name: draw(NUMBERS) for name in priced}
        lines.append(fields | draw(st.fixed_dictionaries({}, optional={"searchLogId": IDS})))
    return {
        "orderId": draw(IDS),
        "orderValue": draw(NUMBERS),
        "currency": draw(st.sampled_from(["EUR", "JPY", "KWD", "CLF"])),
        "lines": lines,
        "neuroonClicks": draw(st.dictionaries(st.sampled_from(products), IDS)),
    }


def spelled(value: Any) -> str:
    """JSON text, with a Decimal written out as the number that it is."""
    match value:
        case dict():
            return "{" + ",".join(f"{json.dumps(name)}:{spelled(each)}" for name, each in value.items()) + "}"
        case list():
            return "[" + ",".join(map(spelled, value)) + "]"
        case Decimal():
            return str(value)
        case _:
            return json.dumps(value)


def expected(event: dict[str, Any]) -> dict[str, Any]:
    """The payload by the rules, worked out once more in the plainest way."""
    unit = Decimal(1).scaleb(-MINOR_UNITS[event["currency"]])
    items = []
    for each in event["lines"]:
        search = each.get("searchLogId") or event["neuroonClicks"].get(each["productId"])
        quantity = Decimal(each["quantity"])
        total = Decimal(each["lineTotal"]) if "lineTotal" in each else Decimal(each["unitPrice"]) * quantity
        if search:
            items.append(
                {
                    "productId": each["productId"],
                    "searchLogId": search,
                    "quantity": int(quantity.to_integral_value(ROUND_CEILING)),
                    "lineTotal": total.quantize(unit, ROUND_HALF_UP),
                }
            )
    value = Decimal(event["orderValue"]).quantize(unit, ROUND_HALF_UP)
    return {"orderId": event["orderId"], "orderValue": value, "currency": event["currency"], "conversions": items}


@QUICK
@given(events())
def test_any_valid_event_is_sent_as_the_rules_say(event: dict[str, Any]) -> None:
    """From bytes to bytes: what Neuroon reads is what decimal arithmetic gives, and two runs give the same bytes."""
    body = spelled(event).encode()
    paid = parse(body)
    assert isinstance(paid, OrderPaid), paid
    conversion = attribute(paid)
    wanted = expected(event)
    if not wanted["conversions"]:
        assert conversion == Unattributed()
        return
    assert isinstance(conversion, Conversion)
    read = json.loads(conversion.payload, parse_float=Decimal)
    assert read == wanted
    assert list(read) == ["orderId", "orderValue", "currency", "conversions"]
    assert all(list(item) == ["productId", "searchLogId", "quantity", "lineTotal"] for item in read["conversions"])
    assert attribute(parse_again(body)) == conversion


def parse_again(body: bytes) -> OrderPaid:
    paid = parse(body)
    assert isinstance(paid, OrderPaid)
    return paid


@QUICK
@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_no_text_breaks_out_of_the_payload(order_id: str, product_id: str, search_log_id: str) -> None:
    """Whatever characters an id is made of, the payload is JSON that says exactly this id."""
    assume(search_log_id)
    found = sent(order(line(product_id, search_log_id=search_log_id), order_id=order_id))
    assert found["orderId"] == order_id
    assert found["conversions"][0]["productId"] == product_id
    assert found["conversions"][0]["searchLogId"] == search_log_id
