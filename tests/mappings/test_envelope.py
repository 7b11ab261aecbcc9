"""Envelopes: what frameworks put around an event is taken off, by data."""

import base64
import json
from typing import Any

import pytest

from consumer.core.delivery import Delivery
from consumer.core.order import Malformed, OrderPaid
from consumer.core.reading import Ignored
from consumer.mappings import Reader, load_reader
from consumer.mappings.envelope import known_envelopes
from tests.support.mapped import order, own, read

ORDER: dict[str, Any] = {
    "orderId": "ORD-1",
    "orderValue": 10,
    "currency": "EUR",
    "lines": [{"productId": "P", "quantity": 1, "lineTotal": 10}],
    "neuroonClicks": {"P": "log_1"},
}
TEXT = json.dumps(ORDER)
IN_BASE64 = base64.b64encode(TEXT.encode()).decode()

WRAPPED: dict[str, object] = {
    "cloudevents": {"specversion": "1.0", "type": "order.paid", "source": "/s", "id": "e", "data": ORDER},
    "cloudevents, base64": {"specversion": "1.0", "type": "t", "source": "/s", "id": "e", "data_base64": IN_BASE64},
    "masstransit": {"messageId": "m", "messageType": ["urn:message:Shop:OrderPaid"], "message": ORDER, "headers": {}},
    "nestjs": {"pattern": "order.paid", "data": ORDER},
    "nestjs, pattern as an object": {"pattern": {"cmd": "order.paid"}, "data": ORDER, "id": "7"},
    "debezium": {"schema": {"type": "struct"}, "payload": ORDER},
    "debezium, encoded twice": TEXT,
    "debezium, schema and encoded twice": {"schema": {"type": "string"}, "payload": TEXT},
    "debezium-change": {
        "before": None,
        "after": {"id": "1", "aggregatetype": "order", "aggregateid": "1", "type": "OrderPaid", "payload": TEXT},
        "source": {"connector": "postgresql"},
        "op": "c",
    },
    "codelytv": {
        "data": {"id": "e", "type": "shop.order.paid", "occurred_on": "2026", "attributes": ORDER | {"id": "o"}},
        "meta": [],
    },
    "eventbridge": {"version": "0", "detail-type": "OrderPaid", "source": "shop", "detail": ORDER},
    "sns": {"Type": "Notification", "MessageId": "m", "Message": TEXT},
    "pubsub": {"message": {"data": IN_BASE64, "messageId": "1"}, "subscription": "s"},
    "eventgrid": {"topic": "/t", "subject": "s", "eventType": "OrderPaid", "data": ORDER},
    "event-payload": {"message_id": "m", "event_type": "order.paid", "version": 1, "payload": ORDER},
    "wrapper": {"order": ORDER},
    "wrapper in wrapper": {"event": {"order": ORDER}},
    "wrapper in nestjs in text": json.dumps({"pattern": "order.paid", "data": {"order": ORDER}}),
}

ALONE = """
envelope = "auto"
[order]
id = "orderId"
value = "orderValue"
currency = "currency"
lines = "lines"
[line]
product = "productId"
quantity = "quantity"
total = "lineTotal"
"""


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("mapping", [load_reader("canonical"), own(ALONE)], ids=["canonical", "own"])
def test_an_envelope_is_taken_off(mapping: Reader, name: str) -> None:
    """With `auto`, and by the canonical mapping without being asked."""
    assert order(mapping, WRAPPED[name]).order_id == "ORD-1"


def test_each_known_envelope_is_tried_here() -> None:
    """One that is added without an example is noticed."""
    tried = {name.partition(",")[0].partition(" ")[0] for name in WRAPPED}
    apart = {"cloudevents-binary", "json-text", "outbox-row"}  # the first below, the others inside Debezium's
    assert set(known_envelopes()) <= tried | apart


@pytest.mark.parametrize("name", ["cloudEvents:type", "cloudEvents_type", "ce-type"])
def test_binary_cloudevents_tell_their_type_in_a_header(name: str) -> None:
    """The body is the event already; both spellings of the AMQP binding count."""
    mapping = own(ALONE.replace("[order]", '[event]\ntake = "order.paid"\n[order]'))
    assert isinstance(read(mapping, ORDER, {name: "order.paid"}), OrderPaid)
    assert isinstance(read(mapping, ORDER, {name: "order.shipped"}), Ignored)


@pytest.mark.parametrize(
    "name", ["cloudevents", "nestjs", "nestjs, pattern as an object", "event-payload", "masstransit", "codelytv"]
)
def test_the_type_that_an_envelope_tells_decides(name: str) -> None:
    """`take`, `ignore` and `refund` are compared with it."""
    taken = ALONE.replace("[order]", '[event]\ntake = ["*order.paid", "*:OrderPaid"]\n[order]')
    ignored = ALONE.replace("[order]", '[event]\nignore = ["*order.paid", "*:orderpaid"]\n[order]')
    assert isinstance(read(own(taken), WRAPPED[name]), OrderPaid)
    assert isinstance(read(own(ignored), WRAPPED[name]), Ignored)


def test_without_envelope_nothing_is_taken_off() -> None:
    """A mapping that names its paths from the whole body gets the whole body."""
    assert isinstance(read(own(ALONE.replace('envelope = "auto"', "")), {"order": ORDER}), Malformed)


def test_named_envelopes_are_taken_off_in_their_order() -> None:
    """For events that `auto` would take for something else."""
    mapping = own(ALONE.replace('"auto"', '["nestjs", "wrapper"]'))
    assert order(mapping, {"pattern": "p", "data": {"order": ORDER}}).order_id == "ORD-1"
    assert order(mapping, ORDER).order_id == "ORD-1"


def test_envelopes_without_end_come_to_an_end() -> None:
    """A thousand wrappers are somebody's joke: malformed, in no time."""
    event: object = ORDER
    for _ in range(150):
        event = {"order": event}
    assert isinstance(read(load_reader("canonical"), event), Malformed)


def test_the_routing_key_is_that_of_the_first_publish() -> None:
    """After a wait in a delay queue the broker's own routing key is a queue's name."""
    text = ALONE.replace("[order]", '[event]\ntype = "$routing_key"\ntake = "order.paid"\n[order]')
    mapping = own(text)
    assert isinstance(mapping.read(ORDER, Delivery(b"", "", "order.paid")), OrderPaid)
    hopped = Delivery(b"", "", "q.retry.5s", {"x-neuroon-routing-key": "order.paid"})
    assert isinstance(mapping.read(ORDER, hopped), OrderPaid)
