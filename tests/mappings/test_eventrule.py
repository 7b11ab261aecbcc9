"""Which events count, which are ignored on purpose, and which are refunds."""

import pytest

from consumer.core.order import OrderPaid, Refund
from consumer.core.reading import Ignored
from consumer.mappings.mapping import Result
from tests.support.mapped import own, read

ORDER = """
[order]
id = "id"
value = "total"
currency = "currency"
lines = "lines"
shop_hint = "store"
[line]
product = "sku"
quantity = "qty"
total = "sum"
"""
EVENT = {"id": 7, "kind": "order.paid", "total": 5, "currency": "EUR", "lines": [], "store": "main", "state": "open"}


def judged(rule: str, **changes: object) -> Result:
    return read(own(f'[event]\ntype = "kind"\n{rule}\n{ORDER}'), EVENT | changes)


@pytest.mark.parametrize(
    ("rule", "kind", "expected"),
    [
        ('take = "order.paid"', "order.paid", OrderPaid),
        ('take = "order.paid"', "ORDER.PAID", OrderPaid),
        ('take = "order.*"', "order.created", OrderPaid),
        ('take = "order.paid"', "order.created", Ignored),
        ('take = "order.paid"', "xorder.paid", Ignored),
        ('take = "order.paid"', None, OrderPaid),
        ('ignore = ["cart.*", "*.draft"]', "order.draft", Ignored),
        ('ignore = "cart.*"', "order.paid", OrderPaid),
        ('refund = "*refund*"', "order.refunded", Refund),
        ('take = "order.*"\nrefund = "*refund*"', "order.refunded", Refund),
        ("ignore_when = \"state == 'draft'\"", "order.paid", OrderPaid),
        ("ignore_when = [\"state == 'draft'\", \"state == 'open'\"]", "order.paid", Ignored),
        ("refund_when = \"has(@, 'state')\"", "order.paid", Refund),
        ("ignore_when = \"$event.state == 'open'\"", "order.paid", Ignored),
        ("""ignore_when = '$message | headers."x-test" && event.state == `"open"`'""", "order.paid", OrderPaid),
        ("""ignore_when = '$message | !(headers."x-test") && routing_key == `"order.paid"`'""", "order.paid", Ignored),
    ],
)
def test_the_type_and_what_the_event_holds_decide(rule: str, kind: object, expected: type) -> None:
    """An event without a type is judged by what it holds."""
    assert isinstance(judged(rule, kind=kind), expected)


def test_it_is_told_which_order_was_passed_over_and_why() -> None:
    """For the log line of the message."""
    assert judged('take = "x"') == Ignored('event type "order.paid" is not one that mapping own takes', "7", "main")
    assert judged("ignore_when = \"state == 'open'\"") == Ignored(
        "ignored by mapping own, since \"state == 'open'\"", "7", "main"
    )
    assert judged('refund = "*paid"') == Refund('event type "order.paid" is a refund; mapping own', "7", "main")


def test_a_type_of_any_length_and_form_is_harmless() -> None:
    """Only a text is a type, and a long one is cut."""
    assert isinstance(judged('take = "order.paid"', kind={"a": 1}), OrderPaid)
    found = judged('take = "order.paid"', kind="x" * 5000)
    assert isinstance(found, Ignored)
    assert len(found.why) < 200
