"""Mappings as a newcomer writes them, for events that no platform has."""

import pytest

from tests.support.mapped import malformed, order, own, payload

MARKETPLACE = """
[order]
id = "increment_id"
value = "grand_total"
currency = "currency"
lines = "items"
clicks = "neuroon_clicks"

[line]
product = "parent_sku"
quantity = "qty_ordered"
total = "row_total_inc_tax"
"""
MARKETPLACE_EVENT = {
    "increment_id": "000000077",
    "grand_total": 104.95,
    "currency": "EUR",
    "items": [
        {"sku": "a-1", "parent_sku": "9001", "qty_ordered": 2, "row_total_inc_tax": 100, "item_price_inc_tax": 50}
    ],
    "shipping_price": 4.95,
    "neuroon_clicks": {"9001": "log_1"},
}

CENTS = """
envelope = "cloudevents"
amounts = "minor"
[order]
id = "orderId"
value = "totalCents"
currency = "currency"
lines = "items"
clicks = "neuroonClicks"
[line]
product = "sku"
quantity = "quantity"
unit_price = "unitPriceCents"
"""
CENTS_DATA = {
    "orderId": "7c1f",
    "totalCents": 4197,
    "currency": "USD",
    "items": [{"sku": "BLUE", "quantity": 2, "unitPriceCents": 1299}],
    "neuroonClicks": {"BLUE": "log_1"},
}
CENTS_EVENT = {"specversion": "1.0", "type": "orders.paid", "source": "/s", "id": "1", "data": CENTS_DATA}

MAP_OF_LINES = """
[order]
id = "Id"
value = "Total"
currency = "'EUR'"
lines = "entries(Products)"
clicks = "Clicks"
[line]
product = "key"
quantity = "value.Units"
unit_price = "value.Price"
"""
MAP_EVENT = {"Id": 7, "Total": 30, "Products": {"p-1": {"Units": 3, "Price": 10}}, "Clicks": {"p-1": "log_1"}}

PASCAL = """
envelope = "masstransit"
[order]
id = "OrderId"
value = "Amount.Value"
currency = "Amount.Currency"
lines = "OrderItems"
clicks = ["NeuroonClicks", "$body.headers.neuroon_clicks"]
[line]
product = "ProductId"
quantity = "Units"
unit_price = "UnitPrice"
"""
PASCAL_EVENT = {
    "messageType": ["urn:message:Shop:OrderPaid"],
    "message": {
        "OrderId": 18,
        "Amount": {"Value": 9.5, "Currency": "EUR"},
        "OrderItems": [{"ProductId": 5, "Units": 1, "UnitPrice": 9.5}],
    },
    "headers": {"neuroon_clicks": '{"5":"log_5"}'},
}


@pytest.mark.parametrize(
    ("text", "event", "sent"),
    [
        (
            MARKETPLACE,
            MARKETPLACE_EVENT,
            (
                '{"orderId":"000000077","orderValue":104.95,"currency":"EUR","conversions":['
                '{"productId":"9001","searchLogId":"log_1","quantity":2,"lineTotal":100.00}]}'
            ),
        ),
        (
            CENTS,
            CENTS_EVENT,
            (
                '{"orderId":"7c1f","orderValue":41.97,"currency":"USD","conversions":['
                '{"productId":"BLUE","searchLogId":"log_1","quantity":2,"lineTotal":25.98}]}'
            ),
        ),
        (
            MAP_OF_LINES,
            MAP_EVENT,
            (
                '{"orderId":"7","orderValue":30.00,"currency":"EUR","conversions":['
                '{"productId":"p-1","searchLogId":"log_1","quantity":3,"lineTotal":30.00}]}'
            ),
        ),
        (
            PASCAL,
            PASCAL_EVENT,
            (
                '{"orderId":"18","orderValue":9.50,"currency":"EUR","conversions":['
                '{"productId":"5","searchLogId":"log_5","quantity":1,"lineTotal":9.50}]}'
            ),
        ),
    ],
    ids=["marketplace", "cents in CloudEvents", "lines as a map", "MassTransit"],
)
def test_fifteen_lines_connect_a_platform(text: str, event: object, sent: str) -> None:
    """No more than 15 lines that say something, and the conversion is right to the byte."""
    assert len([line for line in text.splitlines() if line.strip()]) <= 15
    assert payload(own(text), event) == sent


def test_what_is_missing_is_told_with_the_path_that_was_tried() -> None:
    """The detail of the dead letter is enough to mend the mapping."""
    event = MARKETPLACE_EVENT | {"items": [{"parent_sku": "9001", "qty": 2}]}
    assert malformed(own(MARKETPLACE), event) == 'lines[0].quantity: required; mapping own looked at "qty_ordered"'
    without_money = {key: value for key, value in MARKETPLACE_EVENT.items() if key != "grand_total"}
    assert malformed(own(MARKETPLACE), without_money) == 'orderValue: required; mapping own looked at "grand_total"'


def test_a_line_without_money_names_both_paths_it_could_have_had() -> None:
    """Total and unit price: either would do."""
    text = MARKETPLACE + 'unit_price = "item_price_inc_tax"\n'
    event = MARKETPLACE_EVENT | {"items": [{"parent_sku": "9001", "qty_ordered": 2}]}
    assert malformed(own(text), event) == (
        'lines[0]: lineTotal or unitPrice required; mapping own looked at "item_price_inc_tax" and "row_total_inc_tax"'
    )


def test_a_wrong_place_for_the_order_is_named() -> None:
    """`at` finds nothing: that is told, rather than every field that is missing then."""
    detail = malformed(own('at = "payload.order"\n' + MARKETPLACE), MARKETPLACE_EVENT)
    assert detail == 'orderId: required; mapping own looked at "payload.order", and found no order there'


def test_a_line_keeps_its_number_when_lines_before_it_are_left_out() -> None:
    """The number in the detail is that of the shop's own event."""
    text = MARKETPLACE + "skip = \"kind == 'shipping'\"\n"
    lines = [{"kind": "shipping"}, {"kind": "goods", "parent_sku": "9001", "qty_ordered": "two"}]
    assert malformed(own(text), MARKETPLACE_EVENT | {"items": lines}).startswith("lines[1].quantity: expected a whole")


def test_the_shop_can_come_from_a_header() -> None:
    """Header names are compared without case, and may have been sent as bytes."""
    mapping = own(MARKETPLACE.replace("[order]", '[order]\nshop = "$header.X-Shop-Domain"'))
    assert order(mapping, MARKETPLACE_EVENT, {"x-shop-domain": b"a.example"}).shop_id == "a.example"
    assert not mapping.hints_at_shop


def test_a_hint_at_the_shop_that_is_no_name_is_told_with_its_place() -> None:
    """Only `shop_hint` tells the shop here, so that the detail cannot name the paths of `shop`."""
    mapping = own(MARKETPLACE.replace("[order]", '[order]\nshop_hint = "store"'))
    assert malformed(mapping, MARKETPLACE_EVENT | {"store": {"id": 7}}) == (
        'shopId: expected text or an integer, found an object; mapping own looked at "store"'
    )
