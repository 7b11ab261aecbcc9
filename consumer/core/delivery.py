"""A message as a value, and our own headers: read when it comes in, written when it goes on.

Everything that is to outlive a hop travels in headers of ours, because the broker's own (`x-death` and its kin) differ
between versions, can make an older broker take the next hop for a cycle, and are stripped from what we publish.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from consumer.core.amqp_values import UndecodableText
from consumer.core.headers import OURS, Headers
from consumer.core.value import value

ATTEMPT = "x-neuroon-attempt"
FIRST_SEEN = "x-neuroon-first-seen"
SHOP = "x-neuroon-shop"
ORDER = "x-neuroon-order"
MESSAGE_ID = "x-neuroon-message-id"
EXCHANGE = "x-neuroon-exchange"
ROUTING_KEY = "x-neuroon-routing-key"
REPLAYS = "x-neuroon-replays"
WAIT_LEFT = "x-neuroon-wait-left"
WAITED = "x-neuroon-waited"
ID = "x-neuroon-id"
REASON = "x-neuroon-reason"
DETAIL = "x-neuroon-detail"
STATUS = "x-neuroon-status"
FINGERPRINT = "x-neuroon-fingerprint"
DIED_AT = "x-neuroon-died-at"

DROPPED = "x-neuroon-dropped"
# On an empty message that is no order: see adapters/rung_proof.py.
PROBE = "x-neuroon-probe"
RETURNS = "x-neuroon-returns"

# Written by the broker; CC and BCC would make it deliver a republished message to further queues.
BROKERS = frozenset({b"x-death", b"x-delivery-count", b"x-acquired-count", b"CC", b"BCC"})
BROKERS_PREFIXES = (b"x-first-death-", b"x-last-death-")
_NOT_FOREIGN = (OURS.encode(), *BROKERS_PREFIXES)

MAX_HEADER_BYTES = 1024

# Instants outside these are nobody's: a timestamp in milliseconds read as seconds, a forged header.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
# Tries and replays are counted up to this; no message has ever had so many.
MAX_COUNT = 1_000_000
# Milliseconds of a duration in a header: ten years, far beyond any wait.
LONGEST_MS = 10 * 366 * 24 * 3600 * 1000
_FIRST, _LAST = 0.0, datetime(9999, 12, 31, tzinfo=UTC).timestamp()


@value
class Properties:
    """The AMQP properties that stay with a message on every hop.

    Not among them: message_id (fresh at every publish), expiration (a rung has its own), user_id (the broker refuses
    another user's) and delivery_mode (always persistent). A text that is not UTF-8 is an `UndecodableText`, which
    keeps its bytes. `timestamp` is the 64-bit number that came, by AMQP in Unix seconds; see `published_at`.
    """

    content_type: str | None = None
    content_encoding: str | None = None
    correlation_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    app_id: str | None = None
    reply_to: str | None = None
    priority: int | None = None
    cluster_id: str | None = None

    @property
    def published_at(self) -> float | None:
        """The timestamp in Unix seconds, if it can be one: some clients send milliseconds, or less."""
        return plausible(self.timestamp)


@value
class Delivery:
    """One message as the broker handed it over. `unreadable` names the part of its head that cannot be read, or ""."""

    body: bytes
    exchange: str = ""
    routing_key: str = ""
    headers: Mapping[str, object] = Headers()
    properties: Properties = Properties()
    message_id: str | None = None
    redelivered: bool = False
    unreadable: str = ""


@value
class Journey:
    """What our headers say of a message's way so far; `first_seen` in Unix seconds.

    `attempt` is the number of the try that is to be made now. `wait_left`: the seconds that it has to wait before.
    `waited`: the seconds of the present row of waits that cost no try. Both are counted by the lengths of the retry
    queues and not by the clock: when it is set, no wait becomes longer, and no order is given up.
    `dropped` names foreign headers that had no room on an earlier hop. `returns` counts how often it was moved to a
    retry queue untried, so that the broker need not count its returns.
    """

    attempt: int
    first_seen: float
    exchange: str
    routing_key: str
    message_id: str | None = None
    replays: int = 0
    wait_left: float = 0.0
    waited: float = 0.0
    dropped: str = ""
    returns: int = 0


def read_journey(delivery: Delivery, now: float) -> Journey:
    """The journey of a delivery that arrives at `now`; a header that is not as we write it counts as absent.

    Our headers are believed on our own hops, which lead through the default exchange. Elsewhere somebody else wrote
    them, by accident (a message copied out of our queues) or not.
    """
    headers = delivery.headers
    if delivery.exchange or not headers:  # the usual case: fresh from the exchange
        return Journey(1, now, delivery.exchange, delivery.routing_key, delivery.message_id)
    message_id = headers.get(MESSAGE_ID, None if ATTEMPT in headers else delivery.message_id)
    first_seen = _moment(headers, FIRST_SEEN)
    return Journey(
        attempt=max(1, _count(headers, ATTEMPT)),
        first_seen=now if first_seen is None else first_seen,
        exchange=_text(headers, EXCHANGE, delivery.exchange),
        routing_key=_text(headers, ROUTING_KEY, delivery.routing_key),
        message_id=message_id if isinstance(message_id, str) else None,
        replays=_count(headers, REPLAYS),
        wait_left=_duration(headers, WAIT_LEFT),
        waited=_duration(headers, WAITED),
        dropped=_text(headers, DROPPED, ""),
        returns=_count(headers, RETURNS),
    )


def write_journey(journey: Journey, shop: str | None, order: str | None) -> dict[str, str | int]:
    """The headers that say `journey`, for a message about to be published."""
    headers: dict[str, str | int] = {
        ATTEMPT: journey.attempt,
        FIRST_SEEN: stamp(journey.first_seen),
        EXCHANGE: clip(journey.exchange),
        ROUTING_KEY: clip(journey.routing_key),
    }
    counts = {REPLAYS: journey.replays, RETURNS: journey.returns}
    headers |= {name: count for name, count in counts.items() if count}
    for name, text in ((MESSAGE_ID, journey.message_id), (SHOP, shop), (ORDER, order)):
        if text is not None:
            headers[name] = clip(text)
    for name, seconds in ((WAIT_LEFT, journey.wait_left), (WAITED, journey.waited)):
        if seconds > 0:
            headers[name] = milliseconds(seconds)
    if journey.dropped:
        headers[DROPPED] = clip(journey.dropped)
    return headers


def foreign_headers(headers: Mapping[str, object]) -> Headers:
    """The headers that are neither ours nor the broker's: they stay with the message on every hop, byte for byte."""
    return Headers.of(headers).select(lambda name: not name.startswith(_NOT_FOREIGN) and name not in BROKERS)


def believed(delivery: Delivery) -> Delivery:
    """A message of the dead-letter queue, without headers that look like ours and are not.

    What the broker moved there comes through the default exchange, as our own hops do; `x-death` says where it was
    published before that.
    """
    if not last_death(delivery.headers).get("exchange"):
        return delivery
    headers = Headers.of(delivery.headers).select(lambda name: not name.startswith(OURS.encode()))
    return replace(delivery, headers=headers)


def last_death(headers: Mapping[str, object]) -> Mapping[str, object]:
    """The broker's newest entry on why it moved the message; empty if there is none."""
    deaths = headers.get("x-death")
    newest = deaths[0] if isinstance(deaths, list) and deaths else None
    return newest if isinstance(newest, dict) else {}


def times_returned(delivery: Delivery) -> int:
    """How often a message came back to its queue: after so many times as its delivery limit the broker moves it on."""
    count = delivery.headers.get("x-delivery-count")
    return count if isinstance(count, int) else 0


def our_headers(headers: Mapping[str, object]) -> Headers:
    """The headers that only we write."""
    return Headers.of(headers).select(lambda name: name.startswith(OURS.encode()))


def fitting(headers: Headers, room: int) -> Headers:
    """Headers of at most `room` bytes: a header frame cannot be longer than the broker's limit, and ours need room.

    Of the foreign ones the largest are left out first, until the rest fits. `x-neuroon-dropped` names them, and so
    does the detail of a dead letter.
    """
    size = len(headers.encode())
    if size <= room:
        return headers
    dropped: list[bytes] = []
    foreign = (each for each in headers.fields if not each[0].startswith(OURS.encode()))
    for name, content in sorted(foreign, key=lambda each: len(each[0]) + len(each[1]), reverse=True):
        dropped.append(name)
        size -= 1 + len(name) + len(content)
        if size <= room - 2 * (MAX_HEADER_BYTES + len(DROPPED) + 6):  # as much as naming them can take
            break
    names = _listed(dropped)
    told = {DROPPED: clip(", ".join(filter(None, (_text(headers, DROPPED, ""), names))))}
    if ID in headers:
        told[DETAIL] = with_dropped(_text(headers, DETAIL, ""), names)
    gone = set(dropped)
    return headers.select(lambda name: name not in gone) | told


def with_dropped(detail: str, dropped: str) -> str:
    """The detail of a dead letter whose headers `dropped` are not with it any more."""
    if not dropped:
        return detail
    ending = f"; headers dropped because the frame is full: {dropped}"
    return (
        clip(clip(detail)[: MAX_HEADER_BYTES // 2] + ending)
        if len(detail) + len(ending) > MAX_HEADER_BYTES
        else (detail + ending)
    )


def _listed(names: list[bytes], most: int = 10) -> str:
    """The first names, each cut short, and how many more there are."""
    shown = [name[:80].decode("utf-8", "backslashreplace") for name in names[:most]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def clip(text: str) -> str:
    """`text`, cut to at most `MAX_HEADER_BYTES` bytes of UTF-8, never inside a character."""
    if isinstance(text, UndecodableText) and len(text.raw) <= MAX_HEADER_BYTES:
        return text
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= MAX_HEADER_BYTES else raw[:MAX_HEADER_BYTES].decode("utf-8", "ignore")


def milliseconds(seconds: float) -> int:
    """A duration as it stands in a header, never shorter."""
    return math.ceil(seconds * 1000)


def stamp(moment: float) -> str:
    """Unix seconds as RFC 3339 text in UTC with milliseconds, never earlier than `moment`.

    Moments that no calendar of ours holds become its first or last year: what an older version stored is still shown.
    """
    whole = datetime.fromtimestamp(math.ceil(min(max(moment, _FIRST), _LAST) * 1000) / 1000, UTC)
    return whole.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_stamp(text: str) -> float | None:
    """RFC 3339 text as Unix seconds; None when it is something else."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def plausible(moment: float | None) -> float | None:
    """The moment, in Unix seconds, if it lies between the years 2000 and 2100; None if a clock or a forger erred."""
    return moment if moment is not None and EARLIEST <= moment < LATEST else None


def _text(headers: Mapping[str, object], name: str, default: str) -> str:
    value = headers.get(name)
    return value if isinstance(value, str) else default


def _count(headers: Mapping[str, object], name: str) -> int:
    value = headers.get(name)
    return min(value, MAX_COUNT) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _duration(headers: Mapping[str, object], name: str) -> float:
    """Seconds, of a header in milliseconds."""
    value = headers.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        return 0.0
    return min(value, LONGEST_MS) / 1000


def _moment(headers: Mapping[str, object], name: str) -> float | None:
    value = headers.get(name)
    return plausible(read_stamp(value)) if isinstance(value, str) else None
