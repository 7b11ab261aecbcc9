"""The conversion payload, and how an order becomes one."""

from dataclasses import field
from decimal import Decimal
from json import JSONEncoder

from consumer.core.money import rounded
from consumer.core.order import Line, OrderPaid
from consumer.core.outcome import Unattributed
from consumer.core.value import value

# Quotes and escapes one text, and leaves what is not ASCII as it is.
_quoted = JSONEncoder(ensure_ascii=False).encode


@value
class Conversion:
    """What is posted for one order: `payload` is the JSON body, the same bytes at every try of the same event.

    `order_value` (rounded as in the payload) and `currency` are there for reports.
    """

    order_id: str
    payload: bytes = field(repr=False)
    order_value: Decimal = field(repr=False)
    currency: str = field(repr=False)


def attribute(order: OrderPaid) -> Conversion | Unattributed:
    """The conversion of an order: its lines that came from a search, or `Unattributed` where none did.

    A line's own search log id wins over the clicks'. A product on two lines stays on two.
    """
    attributed = [
        (line, search)
        for line in order.lines
        if (search := line.search_log_id or order.clicks.get(line.product_id)) is not None
    ]
    if not attributed:
        return Unattributed()
    order_value = rounded(order.order_value, order.currency)
    items = ",".join([_item(line, search, order.currency) for line, search in attributed])
    text = (
        f'{{"orderId":{_quoted(order.order_id)},"orderValue":{order_value},"currency":"{order.currency}",'
        f'"conversions":[{items}]}}'
    )
    return Conversion(order.order_id, _utf8(text), order_value, order.currency)


def _item(line: Line, search_log_id: str, currency: str) -> str:
    return (
        f'{{"productId":{_quoted(line.product_id)},"searchLogId":{_quoted(search_log_id)},'
        f'"quantity":{line.quantity},"lineTotal":{rounded(line.line_total, currency)}}}'
    )


def _utf8(text: str) -> bytes:
    """UTF-8, which has no lone surrogates: Python's backslash escape for one is JSON's as well."""
    return text.encode(errors="backslashreplace")
