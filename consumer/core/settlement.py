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
    stamp,
    write_journey,
)
from consumer.core.ladder import Ladder
from consumer.core.outcome import Dead, Outcome, Retry
from consumer.core.value import value


@dataclass(frozen=True, slots=True)
class Ack:
    """Nothing more is to be done with the message."""


@dataclass(frozen=True, slots=True)
class Return:
    """Back into its queue, in its place; the broker counts the return, up to its delivery limit."""


@dataclass(frozen=True, slots=True)
class Move:
    """Publish this to `queue`, wait for the broker's confirm, then acknowledge the message that it came from."""

    queue: str
    body: bytes
    headers: Mapping[str, object]
    properties: Properties


@dataclass(frozen=True, slots=True)
class Split:
    """Publish all of these, wait for the broker's confirms, then acknowledge the message that they came from.

    If one is not confirmed the message stays, and all are published again: copies, which end as duplicates.
    """

    moves: tuple[Move, ...]


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

    def park_again(self, delivery: Delivery, left: float) -> Move:
        """Send a message on that has `left` seconds to wait yet; nothing else about it changes."""
        rung = self.ladder.hop(left)
        ours = {name: value for name, value in delivery.headers.items() if name.startswith(header.OURS)}
        headers = foreign_headers(delivery.headers) | ours
        if left > rung.seconds:
            headers[header.WAIT_LEFT] = milliseconds(left - rung.seconds)
        else:
            headers.pop(header.WAIT_LEFT, None)
        return Move(self.queues.retry(rung.name), delivery.body, headers, delivery.properties)

    def _park(self, delivery: Delivery, journey: Journey, subject: Subject, retry: Retry) -> Move:
        wait = retry.after or 0.0
        rung = self.ladder.hop(wait)
        free = retry.next_attempt == journey.attempt
        onward = replace(
            journey,
            attempt=retry.next_attempt,
            wait_left=max(0.0, wait - rung.seconds),
            waited=journey.waited + max(wait, rung.seconds) if free else 0.0,
        )
        headers = foreign_headers(delivery.headers) | write_journey(onward, subject.shop, subject.order)
        headers[header.REASON] = retry.reason.value
        headers[header.DETAIL] = clip(retry.detail)
        return Move(self.queues.retry(rung.name), delivery.body, headers, delivery.properties)

    def _bury(
        self, delivery: Delivery, journey: Journey, subject: Subject, dead: Dead, now: float, letter_id: str
    ) -> Move:
        rest = replace(journey, wait_left=0.0, waited=0.0)
        headers = foreign_headers(delivery.headers) | write_journey(rest, subject.shop, subject.order)
        headers |= {
            header.ID: letter_id,
            header.REASON: dead.reason.value,
            header.DETAIL: clip(dead.detail),
            header.FINGERPRINT: dead.fingerprint,
            header.DIED_AT: stamp(now),
        }
        if dead.status is not None:
            headers[header.STATUS] = dead.status
        return Move(self.queues.dead, delivery.body, headers, delivery.properties)
