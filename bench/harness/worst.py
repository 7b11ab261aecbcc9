"""The worst messages that each built-in mapping can be given: as many lines, clicks, values and escapes as fit.

Each kind is bytes of JSON of at most the size that is asked for, so that the same attack can be had at 1 MiB and just
below the size up to which messages are read on the event loop.
"""

import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from consumer.core.delivery import Delivery, Properties
from consumer.core.order import MAX_LINES
from consumer.intake import MOST_ORDERS

# An identifier as long as one may be, which JSON writes with six bytes for each character.
LONG_SEARCH = json.dumps("\1" * 512)
# Elements of a list stay below the number of values that a body may have.
MOST_VALUES = 95_000


@dataclass(frozen=True, slots=True)
class Platform:
    """Templates of an order and of a line. `order` has LINES, CLICKS (a JSON value) and MANY (a list) in it.

    `line` has ID in it, and OWN where a line may keep clicks or properties of its own.
    """

    order: str
    line: str
    own: str = ""

    def event(self, lines: str, clicks: str = "{}", many: str = "[]") -> bytes:
        """One order."""
        return self.order.replace("MANY", many).replace("CLICKS", clicks).replace("LINES", lines).encode()

    def one_line(self, number: int, own: str = "") -> str:
        """One line, of a product of its own."""
        return self.line.replace("ID", f"p{number}").replace("OWN", own)


PLATFORMS = {
    "canonical": Platform(
        '{"id":"1","total":9,"currency":"EUR","neuroon_clicks":CLICKS,"x":MANY,"lines":[LINES]}',
        '{"sku":"ID","quantity":1,"unitPrice":"1.23"}',
    ),
    "adobe-commerce": Platform(
        '{"entity_id":"1","grand_total":9,"currency":"EUR","neuroon_clicks":CLICKS,"x":MANY,"items":[LINES]}',
        '{"sku":"ID","qty":"1","price":"1"}',
    ),
    "bigcommerce": Platform(
        '{"orderId":1,"orderAmount":9,"currency":{"code":"EUR"},"neuroon_clicks":CLICKS,"metafields":MANY,'
        '"lineItems":{"physicalItems":[LINES]}}',
        '{"sku":"ID","quantity":1,"salePrice":"1"}',
    ),
    "commercetools": Platform(
        '{"id":"1","totalPrice":{"centAmount":9,"currencyCode":"EUR","fractionDigits":2},'
        '"custom":{"fields":{"neuroonClicks":CLICKS}},"x":MANY,"lineItems":[LINES]}',
        '{"variant":{"key":"ID"},"quantity":1,"price":{"value":{"centAmount":1}}OWN}',
        ',"custom":{"fields":{"neuroonClicks":CLICKS}}',
    ),
    "medusa": Platform(
        '{"display_id":1,"raw_total":{"value":"9"},"currency_code":"eur","metadata":{"neuroonClicks":CLICKS},'
        '"x":MANY,"items":[LINES]}',
        '{"variant":{"sku":"ID"},"quantity":1,"raw_unit_price":{"value":"1"}OWN}',
        ',"metadata":{"neuroon_clicks":CLICKS}',
    ),
    "prestashop": Platform(
        '{"id_order":1,"total_paid_tax_incl":"9","currency":"EUR","note":CLICKS,"x":MANY,"products":[LINES]}',
        '{"reference":"ID","quantity":1,"product_price":"1"}',
    ),
    "saleor": Platform(
        '{"token":"1","total":{"gross":{"amount":9},"currency":"EUR"},"privateMetadata":{"neuroon_clicks":CLICKS},'
        '"metadata":MANY,"lines":[LINES]}',
        '{"variant":{"sku":"ID"},"quantity":1,"unitPrice":{"gross":{"amount":1}}OWN}',
        ',"metadata":MANY',
    ),
    "shopify": Platform(
        '{"id":1,"total_price":"9","currency":"EUR","neuroon_clicks":CLICKS,"note_attributes":MANY,"line_items":[LINES]}',
        '{"sku":"ID","variant_id":1,"quantity":1,"price":"1"OWN}',
        ',"properties":[{"name":"neuroon_clicks","value":CLICKS}]',
    ),
    "shopware": Platform(
        '{"orderNumber":"1","amountTotal":9,"currencyIsoCode":"EUR","customFields":{"neuroonClicks":CLICKS},'
        '"x":MANY,"lineItems":[LINES]}',
        '{"payload":{"productNumber":"ID"OWN},"quantity":1,"price":{"unitPrice":1}}',
        ',"customFields":{"neuroon_clicks":CLICKS}',
    ),
    "spryker": Platform(
        '{"id_sales_order":1,"totals":{"grand_total":9},"currency":"EUR","cart_note":CLICKS,"x":MANY,"items":[LINES]}',
        '{"productAbstract":{"sku":"ID"},"quantity":1,"sum_gross_price":1}',
    ),
    "sylius": Platform(
        '{"tokenValue":"1","total":9,"currencyCode":"EUR","notes":CLICKS,"x":MANY,"items":[LINES]}',
        '{"productCode":"ID","quantity":1,"subtotal":1}',
    ),
    "vendure": Platform(
        '{"id":"1","total":9,"currencyCode":"EUR","neuroonClicks":CLICKS,"channels":MANY,"lines":[LINES]}',
        '{"productVariant":{"sku":"ID"},"quantity":1,"unitPrice":1}',
    ),
    "woocommerce": Platform(
        '{"id":1,"total":"9","currency":"EUR","neuroon_clicks":CLICKS,"meta_data":MANY,"line_items":[LINES]}',
        '{"sku":"ID","quantity":1,"price":"1"OWN}',
        ',"meta_data":[{"key":"neuroon_clicks","value":CLICKS}]',
    ),
}

_QUANTITY = re.compile(r'("quantity"|"qty"):"?1"?')

Kind = Callable[[Platform, int], bytes]


def most_lines(platform: Platform, size: int) -> bytes:
    """As many lines as are taken, and a click for each."""
    number = min(MAX_LINES, (size - 500) // (len(platform.one_line(10_000)) + len('"p10000":"s",')))
    return platform.event(_lines(platform, number), _map(number))


def too_many_lines(platform: Platform, size: int) -> bytes:
    """As many lines as fit."""
    return platform.event(_lines(platform, (size - 500) // (len(platform.one_line(100_000)) + 1)))


def too_many_clicks(platform: Platform, size: int) -> bytes:
    """As many clicks as fit, as an object."""
    return platform.event(platform.one_line(1), _map((size - 500) // len('"p10000":"s",')))


def clicks_as_text(platform: Platform, size: int) -> bytes:
    """The same as JSON text."""
    return platform.event(platform.one_line(1), json.dumps(_map((size - 500) // len('\\"p10000\\":\\"s\\",'))))


def cookies(platform: Platform, size: int) -> bytes:
    """Many cookies of our name, each in several layers of encoding and with nothing in it in the end."""
    inside = "%" * 300
    for _ in range(3):
        inside = quote('"neuroon_clicks=' + inside)
    cookie = f"neuroon_clicks={inside};"
    return platform.event(platform.one_line(1), json.dumps(cookie * ((size - 500) // len(cookie))))


def own_clicks(platform: Platform, size: int) -> bytes:
    """As many lines as are taken, each with clicks of its own in percent-encoded text, over those of the order."""
    number = min(MAX_LINES, size // 230)
    room = max(0, size // number - len(platform.one_line(10_000, platform.own)) - 70)
    own = quote(_map(max(1, room // len(quote('"p10000":"s",')))))
    line = platform.own.replace("CLICKS", json.dumps(own)).replace("MANY", f'{{"neuroon_search_log_id":"{own}"}}')
    return platform.event(_lines(platform, number, line), _map(min(MAX_LINES, size // 60)))


def long_search(platform: Platform, size: int) -> bytes:
    """Few bytes that become many: one long search id, which is sent with each line."""
    number = min(MAX_LINES, (size - len(LONG_SEARCH) - 500) // (len(platform.one_line(1)) + 1))
    clicks = f'{{"p1":{LONG_SEARCH}}}'
    return platform.event(",".join([platform.one_line(1)] * number), clicks)


def many_members(platform: Platform, size: int) -> bytes:
    """A list of as many values as are taken, where the mapping looks for one of a certain name."""
    return platform.event(platform.one_line(1), many=_zeros(size - 500))


def many_own_members(platform: Platform, size: int) -> bytes:
    """The same in every line."""
    number = min(MAX_LINES, size // 300)
    zeros = _zeros(min(size, 2 * MOST_VALUES) // number - 150)
    own = platform.own.replace("MANY", zeros).replace("CLICKS", zeros)
    return platform.event(_lines(platform, number, own))


def decimals(platform: Platform, size: int) -> bytes:
    """As many decimals as are taken."""
    return platform.event(platform.one_line(1), many=_list("1e999999", size - 500))


def long_numbers(platform: Platform, size: int) -> bytes:
    """Integers of as many digits as are taken, where amounts and ids are expected."""
    digits = "7" * 4_000
    line = platform.one_line(1).replace('"1"', digits).replace(":1}", f":{digits}}}").replace('"p1"', digits)
    return platform.event(",".join([line] * ((size - 500) // (len(line) + 1))))


def million_digits(platform: Platform, size: int) -> bytes:
    """A decimal with a fraction as long as fits, as the quantity."""
    fraction = "0" * (size - 500)
    return platform.event(_QUANTITY.sub(rf"\1:1.{fraction}1", platform.one_line(1)))


def objects(platform: Platform, size: int) -> bytes:
    """As many small objects as are taken: the most memory."""
    return platform.event(platform.one_line(1), many=_list('{"":0.1}', min(size - 500, 9 * MOST_VALUES // 2)))


def nesting(platform: Platform, size: int) -> bytes:
    """Lists in lists, nearly as deep as is taken, many times."""
    deep = "[" * 180 + "]" * 180
    return platform.event(platform.one_line(1), many=_list(deep, min(size - 500, 2 * MOST_VALUES)))


def keys(platform: Platform, size: int) -> bytes:
    """One object of as many keys as are taken, half of them twice."""
    members = ",".join(f'"{each % 50_000:x}":0' for each in range(min(size // 11, MOST_VALUES)))
    return platform.event(platform.one_line(1), many=f"{{{members}}}")


def escapes(platform: Platform, size: int) -> bytes:
    """A text of nothing but escapes, as the clicks."""
    return platform.event(platform.one_line(1), '"neuroon_clicks=' + "\\u0025" * ((size - 500) // 6) + '"')


def layers(platform: Platform, size: int) -> bytes:
    """JSON in JSON text, as often as envelopes are taken off."""
    inside = platform.event(_lines(platform, size // 400)).decode()
    while len(again := json.dumps(inside)) < size:
        inside = again
    return inside.encode()


def broken(platform: Platform, size: int) -> bytes:
    """An order of many decimals that breaks off at its end."""
    return platform.event(platform.one_line(1), many=_list('{"":0.1}', min(size - 500, 9 * MOST_VALUES // 2)))[:-3]


def array(platform: Platform, size: int) -> bytes:
    """As many orders as are taken in one message."""
    zeros = _zeros(min(130, max(3, size // MOST_ORDERS - 300)))
    order = platform.event(platform.one_line(1), many=zeros)
    return b"[" + b",".join([order] * min(MOST_ORDERS, size // (len(order) + 1))) + b"]"


KINDS: tuple[Kind, ...] = (
    most_lines,
    too_many_lines,
    too_many_clicks,
    clicks_as_text,
    cookies,
    own_clicks,
    long_search,
    many_members,
    many_own_members,
    decimals,
    long_numbers,
    million_digits,
    objects,
    nesting,
    keys,
    escapes,
    layers,
    broken,
    array,
)


def worst(mapping: str, size: int) -> Iterator[tuple[str, bytes]]:
    """The name of each kind and its bytes, at most `size` of them."""
    for kind in KINDS:
        yield kind.__name__, kind(PLATFORMS[mapping], size)


def plain(body: bytes) -> Delivery:
    """A delivery with bytes of its own, as each has that comes from a broker."""
    return Delivery(bytes(bytearray(body)), "order.paid")


def compressed(body: bytes) -> Delivery:
    """The same, compressed."""
    return Delivery(gzip.compress(body), "order.paid", properties=Properties(content_encoding="gzip"))


def _lines(platform: Platform, number: int, own: str = "") -> str:
    return ",".join([platform.one_line(each, own) for each in range(number)])


def _map(number: int) -> str:
    return "{" + ",".join([f'"p{each}":"s"' for each in range(number)]) + "}"


def _zeros(size: int) -> str:
    return _list("0", min(size, 2 * MOST_VALUES))


def _list(element: str, size: int) -> str:
    return "[" + ",".join([element] * max(1, min(MOST_VALUES, size // (len(element) + 1)))) + "]"
