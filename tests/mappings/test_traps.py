"""Foreign habits that must not fool us, one by one."""

import json
from decimal import Decimal
from typing import Any

import pytest

from consumer.core.delivery import Delivery, Properties
from consumer.core.order import OrderPaid, Refund
from consumer.core.shop import Shops
from consumer.intake import Intake
from consumer.mappings import load_reader
from tests.support.mapped import event_bytes, event_of, malformed, order, own, payload, read

PLAIN = """
[order]
id = "id"
value = "total"
currency = "currency"
lines = "items"
clicks = "clicks"
[line]
product = "product"
quantity = "quantity"
total = "total"
unit_price = "price"
"""
LINE: dict[str, Any] = {"product": "P", "quantity": 1, "total": 10}
EVENT: dict[str, Any] = {"id": "1", "total": 10, "currency": "EUR", "items": [LINE], "clicks": {"P": "log"}}


def with_line(**changes: object) -> dict[str, Any]:
    return EVENT | {"items": [LINE | changes]}


def test_numbers_as_strings_stay_exact() -> None:
    """Decimal texts are read as written; 0.1 x 3 is 0.3."""
    found = order(own(PLAIN), EVENT | {"total": "0.30", "items": [{"product": "P", "quantity": "3", "price": "0.1"}]})
    assert found.order_value == Decimal("0.30")
    assert found.lines[0].line_total == Decimal("0.3")


@pytest.mark.parametrize(
    ("given", "taken"),
    [(820982911946154508, "820982911946154508"), ("000000001", "000000001"), ("UHJvZHVjdDo3", "UHJvZHVjdDo3")],
    ids=["18 digits", "padded with zeros", "base64"],
)
def test_ids_are_taken_as_they_are(given: object, taken: str) -> None:
    """Integers digit by digit, zeros kept, base64 not decoded."""
    found = order(own(PLAIN), EVENT | {"id": given, "items": [LINE | {"product": given}]})
    assert (found.order_id, found.lines[0].product_id) == (taken, taken)


def test_a_shopify_id_that_javascript_rounded_is_mended_from_the_global_id() -> None:
    """Whatever parsed the event as doubles lost the last digits of `id`; the global id is text, and whole."""
    rounded = event_of("shopify") | {"id": 450789469123456800}
    assert order(load_reader("shopify"), rounded).order_id == "450789469123456789"


def test_the_last_segment_of_an_iri_is_the_product() -> None:
    """/api/v2/shop/product-variants/CUP_RED is CUP_RED, and so is a global id's number."""
    mapping = own(PLAIN.replace('"product"', '"last_segment(product)"'))
    found = order(mapping, with_line(product="/api/v2/shop/product-variants/CUP_RED"))
    assert found.lines[0].product_id == "CUP_RED"
    assert order(mapping, with_line(product="gid://shopify/Product/42")).lines[0].product_id == "42"


@pytest.mark.parametrize("name", ["shopify", "adobe-commerce", "bigcommerce"])
def test_value_and_lines_are_of_one_currency(name: str) -> None:
    """These events tell every amount in two currencies; what is taken belongs together."""
    found = order(load_reader(name), event_of(name))
    total = sum(line.line_total for line in found.lines)
    assert Decimal("0.8") < total / found.order_value <= Decimal("1.05")


def test_totals_need_not_add_up() -> None:
    """Shipping, discounts and tax are no business of ours."""
    assert order(own(PLAIN), EVENT | {"total": 7}).order_value == 7


def test_a_quantity_may_have_decimals_that_are_zero() -> None:
    """PHP writes "3.000000"."""
    assert order(own(PLAIN), with_line(quantity="3.000000")).lines[0].quantity == 3


def test_a_line_of_which_nothing_was_bought_is_left_out() -> None:
    """Lines that were removed, or not invoiced, stay in the list with quantity 0: neither sent nor an error."""
    event = EVENT | {"items": [LINE | {"quantity": "0.0000"}, LINE]}
    assert len(order(own(PLAIN), event).lines) == 1


def test_children_of_a_bundle_at_nothing_are_left_out_and_priced_ones_are_not() -> None:
    """Otherwise a bundle would count twice, or lose what its parts cost."""
    event = event_of("woocommerce")
    child = event["line_items"][2]
    assert child["total"] == "0.00"
    assert len(order(load_reader("woocommerce"), event).lines) == 2
    event["line_items"][2] = child | {"total": "4.00"}
    assert len(order(load_reader("woocommerce"), event).lines) == 3


def test_promotions_and_shipping_as_lines_are_no_products() -> None:
    """A negative promotion is no refund, and a product id that is null is no mistake, where the mapping says so."""
    found = order(load_reader("shopware"), event_of("shopware"))
    assert [line.product_id for line in found.lines] == ["00aa11bb22cc33dd44ee55ff66007788"]


def test_a_line_without_a_product_id_is_an_error_where_the_mapping_does_not_say_otherwise() -> None:
    """Else a mistyped path would turn every order into one without a search, silently."""
    assert malformed(own(PLAIN), with_line(product=None)).startswith("lines[0].productId: required; mapping own")


def test_the_same_product_on_two_lines_stays_on_two() -> None:
    """Neuroon is sent both."""
    assert payload(load_reader("spryker"), event_of("spryker")).count('"productId"') == 2


@pytest.mark.parametrize("field", ["total", "price"])
def test_a_negative_amount_is_a_refund_by_any_mapping(field: str) -> None:
    """Whatever the event's type says."""
    line = {"product": "P", "quantity": 1, field: "-9.00"}
    assert isinstance(read(own(PLAIN), EVENT | {"items": [line]}), Refund)


@pytest.mark.parametrize(
    ("amounts", "currency", "given", "taken"),
    [
        ('"minor"', "EUR", 1999, "19.99"),
        ('"minor"', "JPY", 1999, "1999"),
        ('"minor"', "KWD", 1999, "1.999"),
        ('"minor"', "EUR", "1999", "19.99"),
        ("2", "JPY", 199900, "1999.00"),
        ("{ exponent = 4 }", "EUR", 199900, "19.99"),
        ('{ exponent = "digits" }', "EUR", 19990, "19.990"),
        ('"major"', "EUR", "19.99", "19.99"),
    ],
)
def test_amounts_are_moved_to_major_units_exactly(amounts: str, currency: str, given: object, taken: str) -> None:
    """By the currency's decimals, by a number, or by what the event tells."""
    event = EVENT | {"total": given, "currency": currency, "digits": 3, "items": [LINE | {"total": given}]}
    found = order(own(f"amounts = {amounts}\n{PLAIN}"), event)
    assert found.order_value == found.lines[0].line_total == Decimal(taken)


def test_an_exponent_that_is_none_makes_the_event_malformed() -> None:
    """An amount in an unknown unit is not guessed at."""
    detail = malformed(own(f'amounts = {{ exponent = "digits" }}\n{PLAIN}'), EVENT | {"digits": "two"})
    assert detail == 'amounts: expected a whole number from 0 to 12; mapping own looked at "digits"'


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "identity", None])
def test_a_charset_in_content_encoding_and_no_content_type_are_harmless(encoding: str | None) -> None:
    """PHP libraries write the charset there; NestJS and .NET leave the content type out."""
    intake = Intake(load_reader("shopify"), lambda: Shops(()))
    properties = Properties(content_type=None, content_encoding=encoding)
    assert isinstance(intake(Delivery(event_bytes("shopify"), properties=properties)), OrderPaid)


def test_empty_php_maps_are_lists_and_count_as_no_clicks() -> None:
    """An empty array and an empty object are the same to PHP."""
    found = order(own(PLAIN), EVENT | {"clicks": []})
    assert found.clicks == {}


def test_blank_text_counts_as_nothing_so_that_the_next_path_is_tried() -> None:
    """WooCommerce writes "" for a SKU that a product has not."""
    mapping = own(PLAIN.replace('product = "product"', 'product = ["sku", "product"]'))
    assert order(mapping, with_line(sku="  ")).lines[0].product_id == "P"


def test_of_several_ids_the_one_that_was_clicked_names_the_product() -> None:
    """Whether the shop synchronised SKUs or numbers with Neuroon shows in the cookie's keys."""
    mapping = own(PLAIN.replace('product = "product"', 'product = ["number", "sku"]'))
    line = {"number": 7, "sku": "SKU-7", "quantity": 1, "total": 1}
    assert order(mapping, EVENT | {"items": [line], "clicks": {"SKU-7": "log"}}).lines[0].product_id == "SKU-7"
    assert order(mapping, EVENT | {"items": [line], "clicks": {"7": "log"}}).lines[0].product_id == "7"
    assert order(mapping, EVENT | {"items": [line], "clicks": {}}).lines[0].product_id == "7"


def test_clicks_on_a_line_win_over_none_and_a_lines_own_search_wins_over_both() -> None:
    """Cart attributes, order attributes, line attributes: shops use what they have."""
    mapping = own(PLAIN + 'clicks = "clicks"\nsearch_log_id = "search"\n')
    line = LINE | {"clicks": json.dumps({"P": "log_line"})}
    assert order(mapping, EVENT | {"clicks": None, "items": [line]}).lines[0].search_log_id == "log_line"
    assert order(mapping, EVENT | {"items": [line | {"search": "log_own"}]}).lines[0].search_log_id == "log_own"
