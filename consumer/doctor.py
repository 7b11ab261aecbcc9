"""What `check` looks at: each finding says what is so, and, where it is not good, what to do."""

from dataclasses import dataclass
from enum import StrEnum

from aio_pika.abc import AbstractConnection

from consumer.adapters.link import LINK_ERRORS, connect, describe
from consumer.adapters.neuroon import Neuroon
from consumer.adapters.topology import Queue, Topology, TopologyError, compare_queue, exchange_exists, queue_state
from consumer.core.outcome import Accepted, AlreadyKnown, Misconfigured, Refused, Reply, Throttled, Unavailable
from consumer.core.shop import Shop, Shops


class Level(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"  # it could not be found out


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `cure` is empty where nothing is to be done."""

    check: str
    level: Level
    message: str
    cure: str = ""


async def check_broker(url: str, wanted: Topology, *, create: bool) -> list[Finding]:
    """Whether the broker can be reached and what is there fits; creates nothing. `create`: `run` may create queues."""
    try:
        connection = await connect(url, "neuroon-consumer check")
    except LINK_ERRORS as error:
        cure = "see that AMQP_URL names a broker that runs, with user, password and virtual host"
        return [Finding("broker", Level.UNKNOWN, f"cannot be reached: {describe(error)}", cure)]
    async with connection:
        findings = [Finding("broker", Level.OK, "connected")]
        try:
            findings.append(await _check_exchange(connection, wanted, create=create))
            findings += [await _check_queue(connection, queue, create=create) for queue in wanted.queues]
        except LINK_ERRORS as error:
            cure = "give the user permission to configure, write and read these queues"
            findings.append(Finding("topology", Level.UNKNOWN, describe(error), cure))
    return findings


async def _check_exchange(connection: AbstractConnection, wanted: Topology, *, create: bool) -> Finding:
    name = f"exchange {wanted.exchange}"
    if await exchange_exists(connection, wanted.exchange):
        return Finding(name, Level.OK, "exists")
    if create:
        message = f"does not exist yet; `run` will create it as {wanted.exchange_type}"
        return Finding(name, Level.WARNING, message, "see that CONSUMER_EXCHANGE is what the shop publishes to")
    return Finding(name, Level.ERROR, "does not exist", "create it, or set CONSUMER_DECLARE=on")


async def _check_queue(connection: AbstractConnection, queue: Queue, *, create: bool) -> Finding:
    check = f"queue {queue.name}"
    state = await queue_state(connection, queue.name)
    if state is None:
        if create:
            return Finding(check, Level.OK, "does not exist yet; `run` will create it")
        return Finding(check, Level.ERROR, "does not exist", "create it, or set CONSUMER_DECLARE=on")
    try:
        await compare_queue(connection, queue)
    except TopologyError as error:
        return Finding(check, Level.ERROR, str(error), "move to a new queue as the message says")
    return Finding(check, Level.OK, f"fits; {state.messages} messages ready, {state.consumers} consumers")


async def check_shops(neuroon: Neuroon, shops: Shops, product_id: str | None) -> list[Finding]:
    """Each shop's base URL, key, id and origin, by a GET; no order is posted."""
    return [_shop_finding(shop, await neuroon.probe(shop, product_id)) for shop in shops.shops if shop.enabled]


def _shop_finding(shop: Shop, reply: Reply) -> Finding:
    check = f"shop {shop.id}"
    match reply:
        case Accepted() | AlreadyKnown():
            return Finding(check, Level.OK, "base URL, key and shop belong together")
        case Throttled():
            return Finding(check, Level.UNKNOWN, "429, too many requests", "try again in a minute")
        case Unavailable(problem):
            return Finding(
                check, Level.UNKNOWN, f"no answer from {shop.api_url}: {problem}", "see that NEUROON_API_URL is right"
            )
        case Misconfigured(status, problem) | Refused(status, problem):
            return Finding(check, Level.ERROR, f"{status}: {problem}", _cure(status))


def _cure(status: int) -> str:
    match status:
        case 401:
            return "set the shop's current API key; keys of the development and production environments differ"
        case 403:
            return "set the origin to the shop's registered URL, or none; see that the key belongs to this shop id"
        case 404:
            return "see that the shop id exists in the environment that the base URL names"
        case _:
            return "see that the base URL is Neuroon's own, without a path"
