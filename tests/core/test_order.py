"""Orders: an event becomes one, or a refund, or a reason; and a value comes of whatever else arrives."""

import gzip
import json
import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.order import Line, Malformed, OrderPaid, Refund, parse, read
from tests.support.orders import ABSENT, EVENT, LINE, event, event_of, malformed, order

QUICK = settings(max_examples=150, deadline=None)


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


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        (event(orderId="ORD\0"), "orderId: {expected}, found U+0000 at character 4"),
        (event(shopId="\udcff"), "shopId: {expected}, found U+DCFF at character 1"),
        (event_of(productId="\ud800"), "lines[0].productId: {expected}, found U+D800 at character 1"),
        (event_of(searchLogId="log\0"), "lines[0].searchLogId: {expected}, found U+0000 at character 4"),
    ],
)
def test_an_identifier_that_cannot_be_stored_is_malformed(document: object, detail: str) -> None:
    """NUL and lone surrogates are named by field, code and place; the identifier itself is not quoted."""
    assert malformed(document) == detail.format(expected="expected text without NUL and lone surrogates")


def test_a_lone_surrogate_in_a_body_is_malformed() -> None:
    """JSON can spell one and UTF-8 has none: the decoder refuses the body and names the place."""
    found = parse(b'{"orderId": "\\ud800", "shopId": "shop_a"}')
    assert isinstance(found, Malformed)
    assert found.detail.startswith("body: not JSON: ")
    assert "line 1 column" in found.detail


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
