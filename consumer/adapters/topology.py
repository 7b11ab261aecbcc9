"""The exchange, queues and binding we need, as data; declared, or compared with what is there.

Every argument is written out, because defaults differ between RabbitMQ versions (3.13 knows no delivery limit, 4.0 sets
20). The reasons for each are in docs/topology.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from aio_pika.abc import AbstractConnection
from aiormq import exceptions

from consumer.adapters.link import short_channel
from consumer.core.settlement import Routes

# The broker moves a message to the dead letters by itself after so many returns: then a consumer keeps dying on it.
CRASH_LIMIT = 100
# "Unlimited" where no consumer is meant to fail; -1 loses the message at its first return on 3.13 and older.
NO_LIMIT = 100_000

Argument = str | int

LITERAL_KEY_CURE = (
    "set CONSUMER_ROUTING_KEY to the key that the shop publishes with, or CONSUMER_EXCHANGE to a topic exchange"
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue and its arguments."""

    name: str
    arguments: dict[str, Argument] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Topology:
    """All that must exist at the broker. An `exchange` that exists is used as it is, whatever its type."""

    exchange: str
    exchange_type: str
    routing_key: str
    queues: tuple[Queue, ...]

    @property
    def main(self) -> Queue:
        """The queue that is bound to the exchange and consumed from."""
        return self.queues[0]


class TopologyError(Exception):
    """What is at the broker is not what we need; the message says what differs and what to do."""


def topology(routes: Routes, exchange: str, exchange_type: str, routing_key: str) -> Topology:
    """The main queue, one delay queue for each rung and the hold, and the dead-letter queue."""
    queues = routes.queues
    rungs = {rung.name: rung for rung in (*routes.ladder.rungs, routes.ladder.hold)}
    return Topology(
        exchange,
        exchange_type,
        routing_key,
        (
            Queue(queues.main, _forwarding(queues.dead, CRASH_LIMIT)),
            *(
                Queue(
                    queues.retry(name),
                    _forwarding(queues.main, NO_LIMIT) | {"x-message-ttl": round(rung.seconds * 1000)},
                )
                for name, rung in rungs.items()
            ),
            Queue(queues.dead, _quorum(NO_LIMIT)),
        ),
    )


def _quorum(limit: int) -> dict[str, Argument]:
    return {"x-queue-type": "quorum", "x-overflow": "reject-publish", "x-delivery-limit": limit}


def _forwarding(target: str, limit: int) -> dict[str, Argument]:
    """A quorum queue whose expired or given-up messages reach `target` at least once, through the default exchange."""
    return _quorum(limit) | {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": target,
        "x-dead-letter-strategy": "at-least-once",
    }


async def declare(connection: AbstractConnection, wanted: Topology) -> None:
    """Create what is missing; TopologyError when something exists that differs."""
    for queue in reversed(wanted.queues):  # targets before the queues that forward to them
        await _declare_queue(connection, queue)
    await ensure_exchange(connection, wanted)
    if (problem := await literal_key(connection, wanted)) is not None:
        log.warning("binding matches no routing key of the shop's", why=problem, cure=LITERAL_KEY_CURE)
    async with short_channel(connection) as channel:
        await channel.queue_bind(wanted.main.name, wanted.exchange, wanted.routing_key)


async def ensure_exchange(connection: AbstractConnection, wanted: Topology) -> None:
    """Create the exchange if there is none of its name."""
    if not await exchange_exists(connection, wanted.exchange):
        async with short_channel(connection) as channel:
            await channel.exchange_declare(wanted.exchange, exchange_type=wanted.exchange_type, durable=True)


async def compare(connection: AbstractConnection, wanted: Topology) -> list[str]:
    """Create nothing; TopologyError when something is missing or differs. AMQP does not tell of bindings.

    Who declares queues for others need not give them the right to: the names of the queues that cannot be compared are
    logged and returned.
    """
    if not await exchange_exists(connection, wanted.exchange):
        raise TopologyError(f"exchange {wanted.exchange!r} does not exist, and CONSUMER_DECLARE is off")
    hidden: list[str] = []
    for queue in wanted.queues:
        if await queue_state(connection, queue.name) is None:
            raise TopologyError(f"queue {queue.name!r} does not exist, and CONSUMER_DECLARE is off")
        if not await compare_queue(connection, queue):
            hidden.append(queue.name)
    if hidden:
        log.warning("queues cannot be compared", queues=hidden, why="this user may not configure them")
    return hidden


@dataclass(frozen=True, slots=True)
class QueueState:
    """Messages ready for delivery, and consumers."""

    messages: int
    consumers: int


async def queue_state(connection: AbstractConnection, name: str) -> QueueState | None:
    """What the broker says of a queue; None if there is none of that name."""
    try:
        async with short_channel(connection) as channel:
            answer = await channel.queue_declare(name, passive=True)
    except exceptions.ChannelNotFoundEntity:
        return None
    return QueueState(answer.message_count or 0, answer.consumer_count or 0)


async def exchange_exists(connection: AbstractConnection, name: str) -> bool:
    """Whether there is an exchange of that name, of whatever type."""
    try:
        async with short_channel(connection) as channel:
            await channel.exchange_declare(name, passive=True)
    except exceptions.ChannelNotFoundEntity:
        return False
    return True


async def exchange_kind(connection: AbstractConnection, name: str) -> str | None:
    """The type of an exchange that exists; None if the broker does not let this user compare.

    AMQP has no question for it. Declaring it as direct, which every broker knows, changes nothing: where it is of
    another type, the broker refuses and says which.
    """
    try:
        async with short_channel(connection) as channel:
            await channel.exchange_declare(name, exchange_type="direct", durable=True)
    except exceptions.ChannelAccessRefused:
        return None
    except exceptions.ChannelPreconditionFailed as error:
        found = re.search(r"inequivalent arg 'type'.* current is '?([^'\s]+)", str(error))
        return found[1] if found else "direct"  # the type is compared first
    return "direct"


async def literal_key(connection: AbstractConnection, wanted: Topology) -> str | None:
    """What is wrong if the routing key has wildcards and the exchange, which exists, takes them as they are written."""
    if not {"#", "*"} & set(wanted.routing_key.split(".")):
        return None
    if await exchange_kind(connection, wanted.exchange) != "direct":
        return None
    return (
        f"exchange {wanted.exchange!r} is direct, and CONSUMER_ROUTING_KEY={wanted.routing_key!r} is a wildcard for "
        "topic exchanges only: no paid order arrives unless it is published with exactly this key"
    )


async def compare_queue(connection: AbstractConnection, queue: Queue) -> bool:
    """TopologyError if a queue that exists has other arguments; False if the broker does not let this user compare.

    Declaring it with ours only compares, but takes the right to configure it all the same.
    """
    try:
        await _declare_queue(connection, queue)
    except exceptions.ChannelAccessRefused:
        return False
    return True


async def _declare_queue(connection: AbstractConnection, queue: Queue) -> None:
    try:
        async with short_channel(connection) as channel:
            await channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
    except exceptions.ChannelPreconditionFailed as error:
        # "inequivalent arg 'x' for queue ...: received 'a' but current is 'b'". A queue limit fails it as well.
        answer = str(error)
        found = re.search(r"inequivalent arg '([^']*)'.*received (.*?) but current is (.*?)(?:$|\s*[>)])", answer)
        if found is None:
            raise
        raise TopologyError(_difference(queue, found[1], _value(found[2]), _value(found[3]))) from error


def compare_arguments(queue: Queue, found: Mapping[str, object]) -> None:
    """TopologyError if the arguments `found` of a queue are not ours; what we do not ask for may be anything."""
    for name, expected in queue.arguments.items():
        if found.get(name) != expected:
            raise TopologyError(_difference(queue, name, str(expected) or "''", str(found.get(name, "none"))))


def _difference(queue: Queue, argument: str, expected: str, found: str) -> str:
    """Which argument differs, and the way out."""
    what = f"{argument}: expected {expected}, found {found}"
    return (
        f"queue {queue.name!r} exists with other arguments: {what}. A queue's arguments cannot be changed: set "
        "CONSUMER_QUEUE to a new name, start beside the old consumer, remove the old queue's binding, let it drain, "
        "then delete it"
    )


def _value(words: str) -> str:
    """The value in "the value '5000' of type 'signedint'", which is how the broker puts it."""
    found = re.match(r"the value '(.*)' of type", words)
    return found[1] if found else words
