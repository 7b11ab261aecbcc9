"""The built-in mappings, each on events of its platform's shape."""

from pathlib import Path

import pytest

from consumer.core.delivery import Delivery
from consumer.core.order import Malformed, Refund
from consumer.core.reading import Ignored
from consumer.mappings import builtin_names, load_reader
from consumer.mappings.guess import guess
from tests.support.mapped import event_of, malformed, order, payload, read

PLATFORMS = Path(__file__).parents[2] / "docs" / "platforms"

SENT = {
    "canonical": (
        '{"orderId":"ORD-9","orderValue":19.90,"currency":"EUR","conversions":['
        '{"productId":"P1","searchLogId":"log_p","quantity":2,"lineTotal":19.90}]}'
    ),
    "shopify": (
        '{"orderId":"450789469123456789","orderValue":118.90,"currency":"EUR","conversions":['
        '{"productId":"7001002003004005006","searchLogId":"log_lamp","quantity":1,"lineTotal":49.95},'
        '{"productId":"7001002003004005006","searchLogId":"log_lamp","quantity":1,"lineTotal":49.95},'
        '{"productId":"7001002003004005999","searchLogId":"log_rug","quantity":2,"lineTotal":14.00}]}'
    ),
    "woocommerce": (
        '{"orderId":"5021","orderValue":64.80,"currency":"GBP","conversions":['
        '{"productId":"310","searchLogId":"log_mug","quantity":3,"lineTotal":27.00},'
        '{"productId":"415","searchLogId":"log_tee","quantity":1,"lineTotal":22.00}]}'
    ),
    "adobe-commerce": (
        '{"orderId":"000000071","orderValue":149.90,"currency":"EUR","conversions":['
        '{"productId":"301","searchLogId":"log_chair","quantity":2,"lineTotal":47.60},'
        '{"productId":"DESK-OAK","searchLogId":"log_desk","quantity":1,"lineTotal":102.30}]}'
    ),
    "saleor": (
        '{"orderId":"T3JkZXI6NDI=","orderValue":215.50,"currency":"PLN","conversions":['
        '{"productId":"UHJvZHVjdDo3","searchLogId":"log_7","quantity":5,"lineTotal":61.50}]}'
    ),
    "commercetools": (
        '{"orderId":"0c5f-order","orderValue":12800,"currency":"JPY","conversions":['
        '{"productId":"SKU-9","searchLogId":"log_9","quantity":2,"lineTotal":11800}]}'
    ),
    "shopware": (
        '{"orderId":"1a2b3c4d5e6f708192a3b4c5d6e7f809","orderValue":83.30,"currency":"EUR","conversions":['
        '{"productId":"00aa11bb22cc33dd44ee55ff66007788","searchLogId":"log_pan","quantity":2,"lineTotal":93.30}]}'
    ),
    "sylius": (
        '{"orderId":"000000031","orderValue":54.99,"currency":"PLN","conversions":['
        '{"productId":"CUP_RED","searchLogId":"log_cup","quantity":3,"lineTotal":45.00}]}'
    ),
    "medusa": (
        '{"orderId":"order_01J","orderValue":59.90,"currency":"EUR","conversions":['
        '{"productId":"prod_01A","searchLogId":"log_a","quantity":2,"lineTotal":40.00}]}'
    ),
    "bigcommerce": (
        '{"orderId":"118","orderValue":86.40,"currency":"USD","conversions":['
        '{"productId":"77","searchLogId":"log_77","quantity":2,"lineTotal":86.40}]}'
    ),
    "spryker": (
        '{"orderId":"DE--21","orderValue":73.90,"currency":"CHF","conversions":['
        '{"productId":"066_23294028","searchLogId":"log_cam","quantity":1,"lineTotal":33.00},'
        '{"productId":"066_23294028","searchLogId":"log_cam","quantity":1,"lineTotal":33.00}]}'
    ),
    "vendure": (
        '{"orderId":"T3D2K9","orderValue":60.00,"currency":"USD","conversions":['
        '{"productId":"7","searchLogId":"log_7","quantity":2,"lineTotal":48.00}]}'
    ),
    "prestashop": (
        '{"orderId":"15","orderValue":61.80,"currency":"EUR","conversions":['
        '{"productId":"demo_2","searchLogId":"log_d","quantity":3,"lineTotal":54.00}]}'
    ),
}


@pytest.mark.parametrize("name", SENT)
def test_an_order_of_the_platform_becomes_this_conversion(name: str) -> None:
    """What is sent for each platform's fixture, to the byte."""
    assert payload(load_reader(name), event_of(name)) == SENT[name]


def test_each_built_in_mapping_has_a_fixture_and_a_page() -> None:
    """A mapping that is added without them is noticed here; the page says where the shop puts the cookie."""
    assert set(builtin_names()) == set(SENT)
    for name in builtin_names():
        assert "neuroon_clicks" in (PLATFORMS / f"{name}.md").read_text(), name


@pytest.mark.parametrize("name", SENT)
def test_a_guess_finds_the_platform_and_no_other(name: str) -> None:
    """The mapping of the event's own platform is the only one that makes an order of it."""
    fits = guess(event_of(name), Delivery(b""))
    assert [fit.mapping for fit in fits if fit.fits] == [name]
    assert fits[0].mapping == name


@pytest.mark.parametrize("name", SENT)
def test_another_product_id_is_three_lines_of_data(name: str, tmp_path: Path) -> None:
    """A built-in mapping can be extended: what the own file says wins, the rest stays."""
    (tmp_path / "own.toml").write_text(f'extends = "{name}"\n[line]\nproduct = "\'always the same\'"\n')
    found = order(load_reader(str(tmp_path / "own.toml")), event_of(name))
    assert {line.product_id for line in found.lines} == {"always the same"}


@pytest.mark.parametrize("name", SENT)
def test_an_event_of_another_platform_is_malformed_and_says_where_was_looked(name: str) -> None:
    """The detail names the mapping, and the paths that found nothing."""
    detail = malformed(load_reader(name), {"totallyDifferent": 1, "reallyDifferent": 2})
    assert detail.startswith("orderId: required; ")
    assert f"mapping {name} looked at " in detail


@pytest.mark.parametrize(
    ("name", "event"),
    [("shopify", "shopify-refund"), ("woocommerce", "woocommerce-refunds")],
)
def test_a_refund_with_positive_numbers_is_a_refund(name: str, event: str) -> None:
    """It is known by its shape, headers or none, and never taken for an order."""
    documents = event_of(event)
    for document in documents if isinstance(documents, list) else [documents]:
        assert isinstance(read(load_reader(name), document), Refund)


def test_an_id_only_event_is_malformed_and_names_its_order() -> None:
    """A payment event of commercetools has no money: dead, with the id of the order that it is about."""
    found = read(load_reader("commercetools"), event_of("commercetools-payment"))
    assert isinstance(found, Malformed)
    assert found.order_id == "0c5f-order"
    assert found.detail == 'orderValue: required; mapping commercetools looked at "totalPrice.centAmount"'


def test_an_invoice_counts_under_its_orders_id() -> None:
    """Adobe Commerce: increment_id of an invoice is the invoice's own; lines that were not invoiced are left out."""
    found = order(load_reader("adobe-commerce"), event_of("adobe-commerce-invoice"))
    assert found.order_id == "71"
    assert [line.product_id for line in found.lines] == ["301"]


def test_saleors_order_webhook_is_an_array_of_one_with_other_names() -> None:
    """ORDER_* webhooks call the line's total total_price_gross_amount, and name products by variant and SKU only."""
    found = order(load_reader("saleor"), event_of("saleor-order-webhook"))
    assert [(line.product_id, str(line.line_total)) for line in found.lines] == [("0093855", "30.000")]


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("shopify", {"X-Shopify-Topic": "orders/create"}),
        ("shopify", {"x-shopify-topic": "carts/update"}),
        ("woocommerce", {"X-WC-Webhook-Topic": "product.updated"}),
        ("saleor", {"Saleor-Event": "product_updated"}),
    ],
)
def test_an_event_of_another_type_is_ignored(name: str, headers: dict[str, object]) -> None:
    """The topic in the headers decides, however the header is spelled; an event in a file has none and counts."""
    event = event_of(name)
    if name == "saleor":
        event = event["payload"]
    assert isinstance(read(load_reader(name), event, headers), Ignored)


def test_an_unpaid_woocommerce_order_is_ignored_until_it_is_paid() -> None:
    """The webhook order.updated comes with every change; only the money counts."""
    event = event_of("woocommerce")
    waiting = event | {"status": "on-hold", "date_paid": None}
    assert isinstance(read(load_reader("woocommerce"), waiting), Ignored)
