"""What is known of a dead letter, whoever put it into the queue."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from consumer.core import delivery as header
from consumer.core.delivery import Delivery, Properties
from consumer.deadletters.letter import lasting_headers, read_letter
from consumer.deadletters.replay import replay_headers
from tests.support.events import order
from tests.support.letters import DIED_AT, crashed, letter, read

values = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.floats(), st.lists(st.text()))
names = st.one_of(st.text(), st.sampled_from([each for each in vars(header).values() if isinstance(each, str)]))


def test_all_that_the_consumer_wrote_is_read() -> None:
    """Who, why, how often and when come from our headers; the money comes from the event."""
    found = read_letter(letter("ORD-1", **{header.REPLAYS: 2}), read)
    assert found.as_dict() == {
        "id": "letter-ORD-1",
        "orderId": "ORD-1",
        "shopId": "shop_a",
        "reason": "exhausted",
        "detail": "answered 503",
        "status": 503,
        "attempts": 3,
        "firstSeen": "2026-01-02T03:03:05.000Z",
        "diedAt": "2026-01-02T03:04:05.000Z",
        "value": "24.99",
        "currency": "EUR",
        "fingerprint": found.fingerprint,
        "replays": 2,
    }


def test_an_event_that_cannot_be_read_has_no_money() -> None:
    """Value and currency are absent then, and the letter is a letter all the same."""
    found = read_letter(letter("ORD-1", b"\xff not JSON", **{header.REASON: "malformed"}), read)
    assert (found.value, found.currency, found.order, found.reason) == (None, None, "ORD-1", "malformed")


def test_a_letter_that_the_broker_moved_is_crashed() -> None:
    """Without our headers the reason is `crashed`; when it died, the order and the money are found all the same."""
    found = read_letter(crashed("ORD-1"), read)
    assert (found.reason, found.order, found.shop) == ("crashed", "ORD-1", "shop_a")
    assert found.died_at == DIED_AT
    assert found.value == Decimal("24.99")
    assert "delivery_limit" in found.detail


def test_the_reason_of_a_retry_is_not_the_reason_of_a_death() -> None:
    """An order that had waited in a rung before the broker moved it carries a retry's reason: it crashed."""
    found = read_letter(crashed("ORD-1", **{header.REASON: "unavailable", header.ATTEMPT: 2}), read)
    assert (found.reason, found.attempts) == ("crashed", 2)


def test_a_crashed_letter_has_the_same_id_at_every_look() -> None:
    """The id is worked out from what stays with the message, not from how often it was delivered."""
    once, again = crashed("ORD-1"), crashed("ORD-1", **{"x-delivery-count": 77})
    assert read_letter(once, read).id == read_letter(again, read).id
    assert read_letter(once, read).id != read_letter(crashed("ORD-2"), read).id


def test_two_crashes_of_one_queue_have_one_cause() -> None:
    """The fingerprint does not split them by time or order."""
    assert read_letter(crashed("ORD-1"), read).fingerprint == read_letter(crashed("ORD-2"), read).fingerprint


def test_a_crashed_letter_tells_the_same_once_its_facts_are_in_our_headers() -> None:
    """Exported and imported, it is the same letter, though the broker's own headers are gone."""
    before = crashed("ORD-1")
    after = Delivery(before.body, headers=lasting_headers(before), properties=before.properties, message_id="fresh")
    assert read_letter(after, read) == read_letter(before, read)
    assert "x-death" not in after.headers
    assert replay_headers(after, read_letter(after, read)) == replay_headers(before, read_letter(before, read))


@given(st.binary(max_size=50), st.dictionaries(names, values, max_size=8))
def test_any_message_is_a_letter(body: bytes, headers: dict[str, object]) -> None:
    """Whatever lies in the queue can be listed: never an exception."""
    found = read_letter(Delivery(body, headers=headers, properties=Properties(content_encoding="gzip")), read)
    assert found.id
    assert found.as_dict()["reason"] == found.reason


def test_a_replayed_letter_begins_anew() -> None:
    """Attempt 1 and one replay more; what the death and the broker wrote is gone; what others wrote stays."""
    foreign = {"traceparent": "00-1-2-01", "tenant": "x", "x-death": [{"queue": "q"}], "x-delivery-count": 3}
    delivery = letter("ORD-1", **foreign, **{header.REPLAYS: 1, header.WAIT_LEFT: 5000})
    assert replay_headers(delivery, read_letter(delivery, read)) == {
        "traceparent": "00-1-2-01",
        "tenant": "x",
        header.ATTEMPT: 1,
        header.FIRST_SEEN: "2026-01-02T03:03:05.000Z",
        header.EXCHANGE: "order.paid",
        header.ROUTING_KEY: "order.paid.shop_a",
        header.MESSAGE_ID: "msg-ORD-1",
        header.SHOP: "shop_a",
        header.ORDER: "ORD-1",
        header.REPLAYS: 2,
    }


def test_a_crashed_letter_is_replayed_with_its_own_origin() -> None:
    """Exchange, routing key and message id are those of its first publish, not of the broker's move."""
    delivery = crashed("ORD-1")
    headers = replay_headers(delivery, read_letter(delivery, read))
    assert headers[header.EXCHANGE] == "order.paid"
    assert headers[header.ROUTING_KEY] == "order.paid.shop_a"
    assert headers[header.MESSAGE_ID] == "msg-ORD-1"
    assert headers[header.FIRST_SEEN] == "2026-01-02T03:04:05.000Z"


def test_a_gzipped_event_has_its_money_counted() -> None:
    """The content encoding is undone to read it, and the body stays as it is."""
    import gzip
    from dataclasses import replace

    plain = letter("ORD-1", gzip.compress(order("ORD-1")))
    found = read_letter(replace(plain, properties=Properties(content_encoding="gzip")), read)
    assert found.value == Decimal("24.99")
