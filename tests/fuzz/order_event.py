"""Canonical events, valid and nearly valid, from their bytes to the payload: every amount exact, nothing quoted."""

import gzip
import json
import math
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

from hypothesis import strategies as st

from consumer.core.conversion import Conversion, attribute
from consumer.core.identifier import IDENTIFIER_LENGTH
from consumer.core.money import MINOR_UNITS
from consumer.core.order import Malformed, OrderPaid, Refund, parse
from consumer.core.outcome import Unattributed
from tests.fuzz.strategies import CANARY, DECIMALS, INTEGERS, TEXTS, altered, mostly, spelled
from tests.fuzz.target import Target

DETAIL_LENGTH = 200

# So many digits that nothing is rounded: a price has 100 at most, and so has a quantity.
_EXACT = Context(prec=400, traps=[])

_IDS = mostly(st.sampled_from(("SKU-1", "SKU-2", CANARY, 10**20)), TEXTS | INTEGERS)
# Half a cent, half a fils, half a yen: what rounding has to decide.
_HALVES = st.builds(
    lambda digits, places: Decimal(digits * 10 + 5).scaleb(-places), st.integers(0, 10**6), st.integers(1, 5)
)
_AMOUNTS = mostly(
    _HALVES | _HALVES.map(str) | st.integers(0, 10**6) | st.decimals(0, 10**14, allow_nan=False, allow_infinity=False),
    DECIMALS,
)
_QUANTITIES = mostly(st.integers(1, 5) | st.sampled_from(("3.000000", "0.5", Decimal("2.250"))), INTEGERS | DECIMALS)
_LINES = st.fixed_dictionaries(
    {"productId": _IDS, "quantity": _QUANTITIES, "unitPrice": _AMOUNTS},
    optional={"lineTotal": _AMOUNTS, "searchLogId": _IDS, "sku": _IDS},
)
_EVENTS = st.fixed_dictionaries(
    {
        "orderId": _IDS,
        "orderValue": _AMOUNTS,
        "currency": mostly(st.sampled_from(("EUR", "JPY", "KWD", "CLF", " eur")), TEXTS),
        "lines": st.lists(_LINES, max_size=4),
        "neuroonClicks": st.dictionaries(st.sampled_from(("SKU-1", "SKU-2", CANARY)), _IDS, max_size=3)
        | st.just('{"SKU-1":"log_a","SKU-2":"lo'),
    },
    optional={"shopId": _IDS, "eventId": TEXTS, "occurredAt": TEXTS, "id": _IDS, "total": _AMOUNTS, CANARY: TEXTS},
)


@dataclass(frozen=True)
class Case:
    """The event, and a field that nobody knows."""

    document: Any
    unknown: Any


def check(case: Case) -> None:
    """An event is an order, a refund or malformed, always the same; what is sent is what it says, to the last digit."""
    body = spelled(case.document).encode()
    order = parse(body)
    assert parse(gzip.compress(body, 1, mtime=0), "gzip") == order
    if isinstance(case.document, dict):
        assert parse(spelled({"unknown": case.unknown, **case.document}).encode()) == order
    match order:
        case Malformed(detail, order_id, shop_id) | Refund(detail, order_id, shop_id):
            assert CANARY not in detail
            assert 0 < len(detail) <= DETAIL_LENGTH
            assert all(each is None or 0 < len(each) <= IDENTIFIER_LENGTH for each in (order_id, shop_id))
        case OrderPaid():
            _check_order(order, case.document)
            _check_payload(order)


def _check_order(order: OrderPaid, document: dict[str, Any]) -> None:
    assert order.order_value == _amount(_first(document, "orderValue", "total"))
    for line, spelled_line in zip(order.lines, document["lines"], strict=True):
        quantity = _amount(spelled_line["quantity"])
        assert line.quantity == math.ceil(quantity)
        total = spelled_line.get("lineTotal")
        if total is None:
            assert line.line_total == _EXACT.multiply(_amount(spelled_line["unitPrice"]), quantity)
        else:
            assert line.line_total == _amount(total)


def _check_payload(order: OrderPaid) -> None:
    conversion = attribute(order)
    if isinstance(conversion, Unattributed):
        return
    assert isinstance(conversion, Conversion)
    assert conversion == attribute(order)
    sent = json.loads(conversion.payload, parse_float=Decimal, parse_int=Decimal)
    assert list(sent) == ["orderId", "orderValue", "currency", "conversions"]
    assert sent["orderId"] == order.order_id
    _check_rounded(sent["orderValue"], order.order_value, order.currency)
    attributed = [line for line in order.lines if line.search_log_id or line.product_id in order.clicks]
    for line, item in zip(attributed, sent["conversions"], strict=True):
        search = line.search_log_id or order.clicks[line.product_id]
        assert (item["productId"], item["searchLogId"], item["quantity"]) == (line.product_id, search, line.quantity)
        _check_rounded(item["lineTotal"], line.line_total, order.currency)


def _check_rounded(sent: Decimal, exact: Decimal, currency: str) -> None:
    """Half up, away from zero: at most half a minor unit off, and exactly half only upwards."""
    digits = MINOR_UNITS[currency]
    assert sent.as_tuple().exponent == -digits
    off = _EXACT.subtract(sent, exact)
    half = Decimal(5).scaleb(-digits - 1)
    assert -half < off <= half or exact.adjusted() < -_EXACT.prec // 2


def _amount(value: object) -> Decimal:
    return Decimal(value.strip() if isinstance(value, str) else value)  # type: ignore[arg-type]


def _first(document: dict[str, Any], *names: str) -> object:
    return next(document[name] for name in names if name in document)


TARGET = Target("event", st.builds(Case, altered(_EVENTS), TEXTS), check)
