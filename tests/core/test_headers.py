"""Headers: foreign ones are bytes that pass through, ours are added and read, and nothing in them can raise."""

import math
import struct
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core import delivery as header
from consumer.core.amqp_values import (
    TOO_DEEP,
    EncodingError,
    UndecodableText,
    decode_text,
    decode_value,
    encode_text,
    encode_value,
)
from consumer.core.delivery import Delivery, believed, fitting, foreign_headers, read_journey, stamp
from consumer.core.headers import Headers
from tests.support.odd_messages import FORGED, KINDS, nested, sized, table, text, values

NOW = 1_800_000_000.0

fields = st.lists(st.tuples(st.binary(max_size=255), values), max_size=8)


@given(fields)
def test_headers_pass_through_as_the_bytes_that_came(each: list[tuple[bytes, bytes]]) -> None:
    """Whatever names and values a table has, and whoever has looked into it: the same bytes go on."""
    headers = Headers(table(each))
    dict(headers)
    repr(headers)
    assert headers.encode() == table(each)
    assert not headers.is_broken
    assert foreign_headers(headers).encode() == table(
        [pair for pair in each if not pair[0].startswith((b"x-neuroon-", b"x-first-death-", b"x-last-death-"))
         and pair[0] not in header.BROKERS]
    )  # fmt: skip


@given(st.binary(max_size=300))
def test_a_table_that_breaks_off_is_passed_on_whole(raw: bytes) -> None:
    """What can be told apart is read, the rest stays behind it; ours are put where they can be read."""
    headers = Headers(raw)
    dict(headers)
    assert headers.encode() == raw
    with_ours = Headers((headers | {header.ATTEMPT: 3}).encode())
    assert with_ours[header.ATTEMPT] == 3
    assert with_ours.is_broken == headers.is_broken


@given(values)
def test_every_value_can_be_decoded(value: bytes) -> None:
    """No value that a broker delivers raises, whatever it is."""
    decode_value(value)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False)
        | st.text()
        | st.binary()
        | st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
        max_leaves=6,
    )
)
def test_what_is_encoded_is_decoded_again(value: object) -> None:
    """Our own headers come back as they were written."""
    assert decode_value(encode_value(value)) == value


@pytest.mark.parametrize("value", [2**63, object(), Decimal("NaN"), Decimal("1e400"), {"n" * 256: 1}, {1, 2}])
def test_what_amqp_has_no_type_for_is_refused(value: object) -> None:
    """The error names the type, and quotes nothing."""
    with pytest.raises(EncodingError):
        encode_value(value)


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (text("Bücher".encode()), "Bücher"),
        (text("É".encode("latin-1")), "\\xc9"),
        (b"T" + struct.pack(">Q", 2**64 - 1), 2**64 - 1),
        (b"T" + struct.pack(">Q", 1_767_261_600), datetime(2026, 1, 1, 10, tzinfo=UTC)),
        (b"D" + struct.pack(">Bi", 2, -1999), Decimal("-19.99")),
        (b"u\xff\xff", 65535),
        (b"t\x07", True),
        (sized(b"A", b"V" + text(b"x")), [None, "x"]),
        (b"Znonsense", b"nonsense"),
        (sized(b"A", b"Z"), b"\0\0\0\1Z"),
    ],
)
def test_a_value_means_what_its_type_says(value: bytes, meaning: object) -> None:
    """Bytes stay bytes where nothing better can be said."""
    assert decode_value(value) == meaning


def test_tables_are_decoded_to_a_limit() -> None:
    """A thousand levels decode to sixteen, and a note that there are more."""
    depth, value = 0, decode_value(nested(1000))
    while isinstance(value, dict):
        depth, value = depth + 1, value["n"]
    assert (depth, value) == (16, TOO_DEEP)


def test_text_that_is_not_utf_8_keeps_its_bytes() -> None:
    """It is shown escaped, so that no terminal, log or database meets a lone surrogate."""
    shown = decode_text(b"\xc9t\xe9 \xe2\x82\xac")
    assert isinstance(shown, UndecodableText)
    assert shown == "\\xc9t\\xe9 €"
    assert encode_text(shown) == b"\xc9t\xe9 \xe2\x82\xac"
    assert encode_text("\ud800") == b"\\ud800"


def test_headers_of_ours_are_believed_on_our_own_hops_alone() -> None:
    """Through an exchange they are somebody else's: the journey begins anew, and they are not passed on."""
    elsewhere = Delivery(b"", "order.paid", "key", Headers(table(FORGED), believe_ours=False), message_id="m-1")
    journey = read_journey(elsewhere, NOW)
    assert (journey.attempt, journey.first_seen, journey.wait_left, journey.message_id) == (1, NOW, 0.0, "m-1")
    assert not elsewhere.headers


def test_forged_headers_on_our_own_hop_are_bounded() -> None:
    """Who can publish to our queue itself can shift nothing beyond what a database, a calendar or a wait can hold."""
    journey = read_journey(Delivery(b"", "", "q", Headers(table(FORGED))), NOW)
    assert journey.attempt == journey.replays == header.MAX_COUNT
    assert (journey.first_seen, journey.wait_left, journey.waited) == (NOW, *[header.LONGEST_MS / 1000] * 2)


@pytest.mark.parametrize("moment", [-1e30, -1.0, 253402300800.0, 1e30, math.inf])
def test_a_moment_that_no_calendar_has_can_still_be_shown(moment: float) -> None:
    """Older versions have stored such moments."""
    assert stamp(moment)[:4] in {"1970", "9999"}


@pytest.mark.parametrize(
    "kind", ["headers that fill a frame", "one header that fills a frame", "twenty thousand headers"]
)
def test_the_largest_headers_make_room_for_ours(kind: str) -> None:
    """As many as are needed and no more; a dead letter's detail names them, as far as there is room for names."""
    room = 131_012
    foreign = Headers(table(KINDS[kind].headers))
    ours = {header.ID: "1" * 32, header.DETAIL: "d" * 1024, header.ORDER: "ORD-1", header.ROUTING_KEY: "r" * 255}
    fitted = fitting(foreign | ours, room)
    assert len(fitted.encode()) <= room
    assert {fitted[header.ID], fitted[header.ORDER]} == {"1" * 32, "ORD-1"}
    assert "headers dropped because the frame is full: " in str(fitted[header.DETAIL])
    assert len(str(fitted[header.DETAIL]).encode()) <= header.MAX_HEADER_BYTES
    dropped = len(foreign) - sum(name in foreign for name in fitted)
    assert 0 < dropped <= 4 or kind.startswith("twenty")
    assert fitting(fitted, room) is fitted


def test_headers_that_fit_stay_as_they_are() -> None:
    """Nothing is dropped without need."""
    headers = Headers(table(KINDS["text header that is not UTF-8"].headers))
    assert fitting(headers, len(headers.encode())) is headers


@pytest.mark.parametrize(("exchange", "stay"), [("order.paid", False), ("", True)])
def test_a_dead_letter_that_the_broker_moved_is_believed_if_the_hop_before_was_ours(exchange: str, stay: bool) -> None:
    """What was published through an exchange and then killed the consumer had no headers of ours."""
    death = {"queue": "q", "reason": "delivery_limit", "exchange": exchange}
    moved = Delivery(b"", "", "q.dlq", Headers.of({"x-death": [death], header.ORDER: "FORGED", "tenant": "x"}))
    assert (header.ORDER in believed(moved).headers) is stay
    assert believed(moved).headers["tenant"] == "x"
