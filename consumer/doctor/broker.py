"""What can be found out over AMQP alone: version, exchange, queues, who else consumes, what does not move."""

import asyncio
import uuid

from aio_pika.abc import AbstractConnection

from consumer.adapters.link import LINK_ERRORS, connect, describe, server_version
from consumer.adapters.publisher import Publisher, PublishFailedError
from consumer.adapters.refusal import remedy
from consumer.adapters.topology import (
    LITERAL_KEY_CURE,
    Queue,
    QueueState,
    Topology,
    TopologyError,
    compare_queue,
    exchange_exists,
    literal_key,
    queue_state,
)
from consumer.core.delivery import Properties
from consumer.doctor.finding import Finding, good, unknown, warning, wrong
from consumer.doctor.version import check_version

CURE = "see that AMQP_URL names a broker that runs, with user, password and virtual host"
CERTIFICATES = (
    "; that it names the broker as its certificate does, its authority as cafile, and, if it asks for one, our "
    "certificate as certfile and keyfile"
)
# A rung that is waited for takes at most this long; longer ones are not waited for.
SHORT_RUNG_MS = 10_000
# After its delay a message needs this long to move, in the worst ordinary case.
MOVING_SECONDS = 3.0


async def check_broker(url: str, wanted: Topology, *, create: bool) -> list[Finding]:
    """Whether the broker can be reached and what is there fits; creates nothing. `create`: `run` may create queues."""
    try:
        connection = await connect(url, "neuroon-consumer check")
    except LINK_ERRORS as error:
        # With TLS all may be about certificates: a broker that misses ours often says nothing, and resets the link.
        cure = CURE + CERTIFICATES if url.startswith("amqps") else CURE
        return [_refused("broker", error) or unknown("broker", f"cannot be reached: {describe(error)}", cure)]
    async with connection:
        findings = [good("broker", "connected"), check_version(*server_version(connection))]
        try:
            findings += await _check_exchange(connection, wanted, create=create)
            for queue in wanted.queues:
                findings += await _check_queue(connection, queue, create=create)
            findings += await _check_draining(connection, wanted)
            findings.append(await _check_unroutable(connection))
        except LINK_ERRORS as error:
            cure = "give the user permission to configure, write and read these queues"
            findings.append(_refused("topology", error) or unknown("topology", describe(error), cure))
    return findings


def _refused(check: str, error: BaseException) -> Finding | None:
    """An error by which the broker says what is wrong; None for any other."""
    cure = remedy(str(error))
    return None if cure is None else wrong(check, str(error).splitlines()[0], cure)


async def _check_exchange(connection: AbstractConnection, wanted: Topology, *, create: bool) -> list[Finding]:
    """With `create` off others bind the queue, and CONSUMER_ROUTING_KEY is not used."""
    name = f"exchange {wanted.exchange}"
    if await exchange_exists(connection, wanted.exchange):
        problem = await literal_key(connection, wanted) if create else None
        return [good(name, "exists"), *([wrong(name, problem, LITERAL_KEY_CURE)] if problem else ())]
    if create:
        message = f"does not exist yet; `run` will create it as {wanted.exchange_type}"
        return [warning(name, message, "see that CONSUMER_EXCHANGE is what the shop publishes to")]
    return [wrong(name, "does not exist", "create it, or set CONSUMER_DECLARE=on")]


async def _check_queue(connection: AbstractConnection, queue: Queue, *, create: bool) -> list[Finding]:
    check = f"queue {queue.name}"
    state = await queue_state(connection, queue.name)
    if state is None:
        if create:
            return [good(check, "does not exist yet; `run` will create it")]
        return [wrong(check, "does not exist", "create it, or set CONSUMER_DECLARE=on")]
    told = f"{state.messages} messages ready, {state.consumers} consumers"
    try:
        compared = await compare_queue(connection, queue)
    except TopologyError as error:
        return [wrong(check, str(error), "move to a new queue as the message says")]
    findings = [good(check, f"fits; {told}") if compared else _not_compared(check, told, create=create)]
    if state.consumers and "x-message-ttl" in queue.arguments:
        cure = "find and stop it (rabbitmqctl list_consumers): a delay queue is left by time alone"
        findings.append(wrong(check, f"{state.consumers} consumers take orders out of a delay queue", cure))
    return findings


def _not_compared(check: str, told: str, *, create: bool) -> Finding:
    if create:
        cure = "give the user of AMQP_URL the right to configure it, or set CONSUMER_DECLARE=off"
        return wrong(check, "`run` may not declare it: its user has no right to configure it", cure)
    cure = (
        "set RABBITMQ_MANAGEMENT_URL, or run `check` with an AMQP_URL whose user may configure it; `run` needs no such "
        "right: it uses a retry queue once a probe has come back from it"
    )
    return unknown(check, f"exists, and cannot be compared without the right to configure it; {told}", cure)


async def _check_draining(connection: AbstractConnection, wanted: Topology) -> list[Finding]:
    """Whether what waits in the short delay queues moves on when its time is over. Waits only if something is there.

    What has left and is not taken by the main queue is no longer counted as waiting: only the management API tells.
    """
    rungs = {
        queue.name: int(queue.arguments["x-message-ttl"])
        for queue in wanted.queues
        if "x-message-ttl" in queue.arguments
    }
    short = {name: ttl for name, ttl in rungs.items() if ttl <= SHORT_RUNG_MS}
    before = {name: await queue_state(connection, name) for name in short}
    filled = {name: state for name, state in before.items() if state is not None and state.messages}
    if not filled:
        return []
    await asyncio.sleep(max(short[name] for name in filled) / 1000 + MOVING_SECONDS)
    after = {name: await queue_state(connection, name) for name in filled}
    return [_moved(name, filled[name], after[name]) for name in filled]


def _moved(name: str, before: QueueState, after: QueueState | None) -> Finding:
    # What comes in while as much goes out looks still; that it is the same number to the message is unlikely.
    if after is not None and after.messages == before.messages:
        cure = "see that the main queue exists and is not full; after the loss of a node it may take three minutes"
        return warning(f"queue {name}", f"{after.messages} messages did not move when their delay was over", cure)
    return good(f"queue {name}", "moves")


async def _check_unroutable(connection: AbstractConnection) -> Finding:
    """Whether the broker tells of a publish that reaches no queue: all moves of orders rely on it."""
    publisher = await Publisher.open(connection)
    try:
        await publisher.publish(b"", {}, Properties(), routing_key=f"neuroon-check-{uuid.uuid4().hex}")
    except PublishFailedError as error:
        if error.unroutable:
            return good("publishing", "confirmed, and refused where no queue is")
        cure = "see the broker's alarms: it takes no publishes"
        return _refused("publishing", error) or unknown("publishing", str(error), cure)
    cure = "see what stands between here and the broker: a proxy that answers in its place?"
    return wrong("publishing", "a publish that reaches no queue was confirmed", cure)
