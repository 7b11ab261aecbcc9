"""The built-in mappings, over events of every platform and over all that is nearly one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from hypothesis import strategies as st
from pydantic import SecretStr

from consumer.core.body import Unreadable, decode
from consumer.core.conversion import Conversion, attribute
from consumer.core.delivery import Delivery, Properties
from consumer.core.order import Malformed, OrderPaid, Refund
from consumer.core.outcome import Unattributed
from consumer.core.reading import Ignored, Reading, Several
from consumer.core.shop import Shop, Shops
from consumer.intake import MOST_ORDERS, Intake
from consumer.mappings import builtin_names, load_mapping, load_reader
from consumer.mappings.explain import explain
from tests.fuzz.strategies import CANARY, TEXTS, VALUES, altered, size, spelled, steps
from tests.fuzz.target import Target
from tests.support.mapped import EVENTS, event_of

# A detail names every place where a mapping looked; the longest of the built-in ones has 1,600 characters.
DETAIL_LENGTH = 2_500

# Calls: some for the mapping, and for each value of the event.
STEPS = 4_000
STEPS_PER_VALUE = 100

_FIXTURES = st.sampled_from([event_of(path.stem) for path in sorted(EVENTS.glob("*.json"))])
_FIELDS = (
    TEXTS
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.binary(max_size=8)
    | st.just(datetime(2026, 1, 1, tzinfo=UTC))
)
_NAMES = st.sampled_from(
    (
        "X-Shopify-Topic",
        "x-shopify-shop-domain",
        "X-WC-Webhook-Topic",
        "ce-type",
        "type",
        "eventType",
        "Content-Type",
        CANARY,
    )
)
_HEADERS = st.dictionaries(
    _NAMES | st.text(max_size=5),
    st.sampled_from(("orders/paid", "order.updated", "refunds/create", "ORDER_FULLY_PAID"))
    | st.recursive(_FIELDS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_NAMES, inner, max_size=2)),
    max_size=3,
)
_SHOPS = st.sampled_from(
    (
        Shops((Shop("shop_a", SecretStr("sk_1"), "http://neuroon.invalid"),)),
        Shops(
            (
                Shop("shop_a", SecretStr("sk_1"), "http://neuroon.invalid", aliases=("acme.myshopify.com",)),
                Shop("shop_b", SecretStr("sk_2"), "http://neuroon.invalid"),
            )
        ),
    )
)


@dataclass(frozen=True)
class Case:
    """A message, and the shops that there are."""

    document: Any
    headers: Mapping[str, object]
    routing_key: str
    shops: Shops

    @property
    def delivery(self) -> Delivery:
        """As it arrives."""
        properties = Properties(type=CANARY, app_id=CANARY)
        return Delivery(spelled(self.document).encode(), "orders", self.routing_key, self.headers, properties)


def _enveloped(document: Any, draw: st.DrawFn) -> Any:
    """Up to nine envelopes around it, as frameworks put them."""
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2, 9)))):
        document = draw(
            st.sampled_from(
                (
                    {"specversion": "1.0", "type": "orders/paid", "source": "x", "data": document},
                    {"messageType": ["urn:message:Shop:OrderPaid"], "message": document},
                    {"pattern": "order.paid", "data": document},
                    {"op": "c", "source": {}, "after": document},
                    {"aggregateid": "1", "type": "order.paid", "payload": spelled(document)},
                    {"Type": "Notification", "Message": spelled(document)},
                    {CANARY: document},
                    [document],
                )
            )
        )
    return document


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """An event of any platform, altered; now and then anything at all, or a list of events."""
    document = draw(altered(_FIXTURES) | altered(_FIXTURES) | VALUES | st.lists(altered(_FIXTURES), max_size=2))
    key = draw(st.sampled_from(("order.paid", "orders.refunded", "")) | TEXTS)
    return Case(_enveloped(document, draw), draw(_HEADERS), key, draw(_SHOPS))


_READERS = [load_reader(name) for name in builtin_names()]
_MAPPINGS = [load_mapping(name) for name in builtin_names()]


def check(case: Case) -> None:
    """Every mapping reads every message to the same end each time, in bounded steps, and quotes no customer."""
    delivery = case.delivery
    for reader in _READERS:
        intake = Intake(reader, lambda: case.shops)
        reading = intake(delivery)
        again, count = steps(partial(intake, delivery))
        assert again == reading
        assert count <= STEPS + STEPS_PER_VALUE * size(case.document), (reader.name, count)
        assert isinstance(reading, Reading)
        _check_reading(reading)
    document = decode(delivery.body)
    if not isinstance(document, Unreadable):
        for mapping in _MAPPINGS:
            for step in explain(mapping, document, delivery).steps:
                assert step.as_dict()["key"] == step.key


def _check_reading(reading: Reading) -> None:
    match reading:
        case OrderPaid():
            assert isinstance(attribute(reading), Conversion | Unattributed)
            assert reading.order_value >= 0
            assert all(line.line_total >= 0 and line.quantity >= 1 for line in reading.lines)
        case Malformed(detail=text) | Refund(detail=text) | Ignored(why=text):
            assert CANARY not in _without_type(text)
            assert 0 < len(text) <= DETAIL_LENGTH
        case Several(bodies):
            assert 2 <= len(bodies) <= MOST_ORDERS
            assert not any(isinstance(decode(body), Unreadable) for body in bodies)


def _without_type(text: str) -> str:
    """An event's type is shown, since without it nobody knows what was passed over: eighty characters of it at most."""
    return text[len('event type "') + 80 :] if text.startswith('event type "') else text


TARGET = Target("mapping", cases(), check)
