"""Where a message goes at its end, as a value: acknowledged, or published to another queue and then acknowledged."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from consumer.core import delivery as header
from consumer.core.delivery import (
    Delivery,
    Journey,
    Properties,
    clip,
    foreign_headers,
    milliseconds,
    our_headers,
    stamp,
    times_returned,
    with_dropped,
    write_journey,
)
from consumer.core.headers import Headers
from consumer.core.ladder import Ladder, Rung
from consumer.core.outcome import Dead, Outcome, Retry
from consumer.core.reply import MAX_RETRY_AFTER
from consumer.core.value import value


@dataclass(frozen=True, slots=True)
class Ack:
    """Nothing more is to be done with the message."""


@dataclass(frozen=True, slots=True)
class Return:
    """Back into its queue, in its place; the broker counts the return, up to its delivery limit."""


@dataclass(frozen=True, slots=True)
class Move:
    """Publish this to `queue`, wait for the broker's confirm, then acknowledge the message that it came from.

    `otherwise` is for when `queue` takes no messages: somewhere to wait that does not hold up other orders.
    `unsettled`: once it is there, the message has not come to its end yet.
    """

    queue: str
    body: bytes
    headers: Headers
    properties: Properties
    otherwise: "Move | None" = None
    unsettled: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """Publish all of these, wait for the broker's confirms, then acknowledge the message that they came from.

    If one is not confirmed the message stays, and all are published again: copies, which end as duplicates.
    """

    moves: tuple[Move, ...]


# Returns after which a message that was not tried is moved instead: RabbitMQ's own limit is 20, and may be set lower.
MOST_RETURNS = 2
# Such moves after which it is left to the broker's limit, so that nothing goes round for ever.
MOST_MOVES = 1000

Settlement = Ack | Return | Move | Split


@dataclass(frozen=True, slots=True)
class Queues:
    """The names of all queues, which begin with the one in the setting CONSUMER_QUEUE."""

    main: str

    @property
    def dead(self) -> str:
        """Where orders rest that cannot be delivered."""
        return f"{self.main}.dlq"

    def retry(self, delay: str) -> str:
        """The delay queue of a rung; `delay` as written in the setting, such as "30s"."""
        return f"{self.main}.retry.{delay}"


@value
class Subject:
    """Which order of which shop a message is about, and the event's own id, as far as could be read."""

    shop: str | None = None
    order: str | None = None
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Routes:
    """Which queue each end leads to."""

    queues: Queues
    ladder: Ladder

    def settle(
        self, delivery: Delivery, journey: Journey, subject: Subject, outcome: Outcome, *, now: float, letter_id: str
    ) -> Settlement:
        """Where `outcome` sends the message.

        A `Retry` must have been through `escalate`, which gives it its wait. `letter_id` will name the dead letter.
        """
        match outcome:
            case Retry():
                return self._park(delivery, journey, subject, outcome)
            case Dead():
                return self._bury(delivery, journey, subject, outcome, now, letter_id)
            case _:
                return Ack()

    def split(self, delivery: Delivery, journey: Journey, bodies: tuple[bytes, ...]) -> Split:
        """Each order of an array becomes a message of its own in the main queue, and ends as it deserves, alone.

        The pieces begin their journey there: they carry no attempt, and count as received. Where the array was
        published goes with them, for mappings that look at it. Compression is undone already.
        """
        headers = foreign_headers(delivery.headers) | {
            header.FIRST_SEEN: stamp(journey.first_seen),
            header.EXCHANGE: clip(journey.exchange),
            header.ROUTING_KEY: clip(journey.routing_key),
        }
        properties = replace(delivery.properties, content_encoding=None)
        return Split(tuple(Move(self.queues.main, body, headers, properties) for body in bodies))

    def wait_left(self, journey: Journey) -> float:
        """Seconds that a message has to wait yet; 0 if it may be tried now.

        Never more than the longest wait that settings or a server can ask for, whatever a forged header says.
        """
        return min(journey.wait_left, max(self.ladder.longest_wait, MAX_RETRY_AFTER))

    def park_again(self, delivery: Delivery, left: float) -> Move:
        """Send a message on that has `left` seconds to wait yet; nothing else about it changes."""
        return self._wait(left, delivery, our_headers(delivery.headers))

    def _park(self, delivery: Delivery, journey: Journey, subject: Subject, retry: Retry) -> Move:
        wait = retry.after or 0.0
        free = retry.next_attempt == journey.attempt
        waited = journey.waited + max(wait, self.ladder.hop(wait).seconds) if free else 0.0
        onward = replace(journey, attempt=retry.next_attempt, waited=waited)
        ours = write_journey(onward, subject.shop, subject.order)
        return self._wait(wait, delivery, ours | {header.REASON: retry.reason.value, header.DETAIL: clip(retry.detail)})

    def hand_back(self, delivery: Delivery, journey: Journey) -> Return | Move:
        """Return a message that was not tried; in a retry queue, if it has been returned before.

        The broker counts each return, and dead-letters the message when a limit is reached that we may not know. A
        message that is moved for ever all the same is returned in the end.
        """
        if times_returned(delivery) < MOST_RETURNS or journey.returns >= MOST_MOVES:
            return Return()
        onward = replace(journey, returns=journey.returns + 1)
        shop, order = (delivery.headers.get(name) for name in (header.SHOP, header.ORDER))
        ours = write_journey(onward, *(each if isinstance(each, str) else None for each in (shop, order)))
        if header.ATTEMPT not in delivery.headers:
            del ours[header.ATTEMPT]  # it still counts as received when it is tried
        return self._wait(0.0, delivery, ours)

    def _wait(self, seconds: float, delivery: Delivery, ours: Mapping[str, object]) -> Move:
        """To a retry queue for so long; while it takes no messages, to another one."""
        rung = self.ladder.hop(seconds)
        elsewhere = self.ladder.rungs[0] if rung == self.ladder.hold else self.ladder.hold
        otherwise = self._wait_in(elsewhere, seconds, delivery, ours)
        return replace(self._wait_in(rung, seconds, delivery, ours), otherwise=otherwise)

    def _wait_in(self, rung: Rung, seconds: float, delivery: Delivery, ours: Mapping[str, object]) -> Move:
        """To this queue, with the rest of `seconds` to wait when it has come back."""
        left = {header.WAIT_LEFT: milliseconds(seconds - rung.seconds)} if seconds > rung.seconds else {}
        kept = Headers.of(ours).select(lambda name: name != header.WAIT_LEFT.encode())
        headers = foreign_headers(delivery.headers) | kept | left
        return Move(self.queues.retry(rung.name), delivery.body, headers, delivery.properties)

    def _bury(
        self, delivery: Delivery, journey: Journey, subject: Subject, dead: Dead, now: float, letter_id: str
    ) -> Move:
        rest = replace(journey, wait_left=0.0, waited=0.0)
        ours = write_journey(rest, subject.shop, subject.order) | {
            header.ID: letter_id,
            header.REASON: dead.reason.value,
            header.DETAIL: clip(with_dropped(dead.detail, journey.dropped)),
            header.FINGERPRINT: dead.fingerprint,
            header.DIED_AT: stamp(now),
        }
        if dead.status is not None:
            ours[header.STATUS] = dead.status
        headers = foreign_headers(delivery.headers) | ours
        # While the dead letters take none it waits like an order of a held shop, and comes to the same end again.
        again = self._wait_in(self.ladder.hold, 0.0, delivery, write_journey(journey, subject.shop, subject.order))
        again = replace(again, unsettled=True)
        return Move(self.queues.dead, delivery.body, headers, delivery.properties, otherwise=again)
