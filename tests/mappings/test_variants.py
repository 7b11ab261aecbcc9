"""The other shapes in which the same platforms' orders arrive: other APIs, other envelopes, other serialisers."""

import json
from typing import Any

import pytest

from consumer.core.order import Malformed, OrderPaid, Refund
from consumer.core.reading import Ignored
from consumer.mappings import load_reader
from tests.support.mapped import event_of, order, read

GROSS = {"gross": {"amount": 24.6, "currency": "EUR"}}

SALEOR_ORDER = {
    "id": "T3JkZXI6MQ==",
    "channel": {"slug": "de"},
    "total": GROSS,
    "metadata": [{"key": "neuroon_clicks", "value": '{"UHJvZHVjdDox":"log"}'}],
    "lines": [
        {
            "quantity": 2,
            "productSku": "S-1",
            "productVariantId": "UHJvZHVjdFZhcmlhbnQ6MQ==",
            "totalPrice": GROSS,
            "variant": {"product": {"id": "UHJvZHVjdDox"}},
        }
    ],
}
SPRYKER_ITEM = {"sku": "066_1", "quantity": 1, "sum_price_to_pay_aggregation": 1000}
SPRYKER_SNAKE = {
    "order_reference": "DE--1",
    "currency_iso_code": "EUR",
    "totals": {"grand_total": 1490},
    "items": [SPRYKER_ITEM],
}
SPRYKER_GLUE = {
    "data": {
        "type": "orders",
        "id": "DE--1",
        "attributes": {
            "currencyIsoCode": "EUR",
            "totals": {"grandTotal": 1490},
            "items": [{"sku": "066_1", "quantity": 1, "sumPrice": 1000}],
        },
    }
}
BIGCOMMERCE_STOREFRONT = {
    "orderId": 7,
    "orderAmount": 14.9,
    "currency": {"code": "EUR"},
    "lineItems": {
        "physicalItems": [{"productId": 9, "sku": "S", "quantity": 2, "salePrice": 5, "extendedSalePrice": 10}],
        "digitalItems": [],
        "giftCertificates": [{"id": "g", "amount": 50}],
    },
}
PRESTASHOP_HOOK = {
    "order": {"id": 7, "total_paid": 14.9},
    "currency": {"iso_code": "EUR"},
}
PRESTASHOP_PRODUCTS = {
    "id_order": 7,
    "total_paid": 14.9,
    "currency_iso_code": "EUR",
    "products": [{"product_id": 9, "product_quantity": 2, "total_price_tax_incl": 10, "unit_price_tax_incl": 5}],
}
PRESTASHOP_XML = {
    "orders": [
        {
            "id": "7",
            "total_paid": "14.900000",
            "currency": "EUR",
            "associations": {
                "order_rows": {
                    "order_row": [{"product_id": "9", "product_quantity": "2", "unit_price_tax_incl": "5.0"}]
                }
            },
        }
    ]
}
MAGENTO_REST = {
    "entity_id": 7,
    "increment_id": "000000007",
    "state": "processing",
    "order_currency_code": "EUR",
    "base_currency_code": "USD",
    "grand_total": 14.9,
    "items": [{"product_id": 9, "sku": "S", "qty_ordered": 2, "price_incl_tax": 5, "row_total_incl_tax": 10}],
}
SYLIUS_ENTITIES = {
    "number": "000000007",
    "total": 1490,
    "currencyCode": "EUR",
    "items": [{"variant": {"code": "V", "product": {"code": "P"}}, "quantity": 2, "unitPrice": 500, "total": 1000}],
}
SHOPWARE_STATE = {
    "data": {
        "payload": {
            "order": {
                "id": "0a",
                "amountTotal": 14.9,
                "currency": {"isoCode": "EUR"},
                "lineItems": [{"type": "product", "productId": "p", "quantity": 2, "unitPrice": 5, "totalPrice": 10}],
            }
        },
        "event": "state_enter.order_transaction.state.paid",
    },
    "source": {"shopId": "x"},
}
MEDUSA_BIG = {
    "id": "order_1",
    "currency_code": "eur",
    "total": {"value": "14.9", "precision": 20},
    "items": [{"product_id": "prod_1", "quantity": 2, "unit_price": 5}],
}


@pytest.mark.parametrize(
    ("name", "event", "order_id", "product"),
    [
        ("saleor", {"data": {"orderFullyPaid": {"order": SALEOR_ORDER}}}, "T3JkZXI6MQ==", "UHJvZHVjdDox"),
        ("saleor", {"order": SALEOR_ORDER}, "T3JkZXI6MQ==", "UHJvZHVjdDox"),
        ("saleor", {"event": {"order": SALEOR_ORDER}, "version": "3.20"}, "T3JkZXI6MQ==", "UHJvZHVjdDox"),
        ("spryker", SPRYKER_SNAKE, "DE--1", "066_1"),
        ("spryker", SPRYKER_GLUE, "DE--1", "066_1"),
        ("bigcommerce", BIGCOMMERCE_STOREFRONT, "7", "9"),
        ("prestashop", PRESTASHOP_PRODUCTS, "7", "9"),
        ("prestashop", PRESTASHOP_XML, "7", "9"),
        ("adobe-commerce", MAGENTO_REST, "000000007", "9"),
        ("adobe-commerce", {"data": {"key": "k", "value": MAGENTO_REST}, "id": "e"}, "000000007", "9"),
        ("sylius", SYLIUS_ENTITIES, "000000007", "V"),
        ("shopware", SHOPWARE_STATE, "0a", "p"),
        ("medusa", MEDUSA_BIG, "order_1", "prod_1"),
        ("medusa", {"eventName": "order.placed", "data": MEDUSA_BIG}, "order_1", "prod_1"),
    ],
)
def test_a_variant_of_a_platforms_order_is_read(name: str, event: Any, order_id: str, product: str) -> None:
    """The built-in mapping knows both, and takes amounts of 14.90 and 10.00 (Saleor's: 24.60)."""
    found = order(load_reader(name), event)
    (line,) = found.lines
    assert (found.order_id, found.currency, line.product_id) == (order_id, "EUR", product)
    amounts = (float(found.order_value), float(line.line_total))
    assert amounts == ((24.6, 24.6) if name == "saleor" else (14.9, 10.0))


@pytest.mark.parametrize(
    "name", ["shopify", "woocommerce", "commercetools", "shopware", "sylius", "spryker", "vendure"]
)
@pytest.mark.parametrize("envelope", ["nestjs", "masstransit", "cloudevents", "debezium", "payload"])
def test_a_platforms_order_in_a_frameworks_envelope_is_read(name: str, envelope: str) -> None:
    """A shop's own services forward it in what their framework puts around everything."""
    event = event_of(name)
    inner: object = json.loads(json.dumps(event, default=float))
    wrapped: dict[str, object] = {
        "nestjs": {"pattern": "order.paid", "data": inner},
        "masstransit": {"messageType": ["urn:message:Shop:OrderPaid"], "message": inner},
        "cloudevents": {"specversion": "1.0", "type": "shop.order.paid", "source": "/s", "id": "1", "data": inner},
        "debezium": {"schema": {"type": "string"}, "payload": json.dumps(inner)},
        "payload": {"event_type": "order.paid", "payload": inner},
    }
    assert order(load_reader(name), wrapped[envelope]).order_id == order(load_reader(name), event).order_id


@pytest.mark.parametrize(
    ("name", "event", "expected"),
    [
        ("bigcommerce", {"scope": "store/order/statusUpdated", "data": {"type": "order", "id": 250}}, Malformed),
        ("bigcommerce", {"scope": "store/product/updated", "data": {"type": "product", "id": 1}}, Ignored),
        ("medusa", {"name": "order.placed", "data": {"id": "order_1"}}, Malformed),
        ("medusa", {"name": "order.canceled", "data": {"id": "order_1"}}, Ignored),
        ("medusa", {"name": "payment.refunded", "data": {"id": "pay_1"}}, Refund),
        ("saleor", {"notify_event": "order_refund_confirmation", "payload": {"order": SALEOR_ORDER}}, Refund),
        ("saleor", {"notify_event": "account_confirmation", "payload": {"user": {}}}, Ignored),
        ("commercetools", {"type": "OrderShipmentStateChanged", "resource": {"id": "o"}}, Ignored),
        ("commercetools", {"type": "ReturnInfoAdded", "resource": {"id": "o"}}, Refund),
        ("shopware", SHOPWARE_STATE | {"data": {"event": "state_enter.order_transaction.state.refunded"}}, Refund),
        ("shopware", SHOPWARE_STATE | {"data": {"event": "state_enter.order.state.cancelled"}}, Ignored),
        ("sylius", SYLIUS_ENTITIES | {"paymentState": "refunded"}, Refund),
        ("sylius", SYLIUS_ENTITIES | {"state": "cart"}, Ignored),
        ("adobe-commerce", MAGENTO_REST | {"creditmemo_status": None}, Refund),
        ("adobe-commerce", MAGENTO_REST | {"state": "pending_payment"}, Ignored),
        ("prestashop", PRESTASHOP_HOOK, Malformed),
        ("spryker", SPRYKER_SNAKE, OrderPaid),
    ],
)
def test_what_is_no_paid_order_is_told_from_one(name: str, event: Any, expected: type) -> None:
    """Ids only, other topics, refunds, carts: each with the right word."""
    assert isinstance(read(load_reader(name), event), expected)
