"""What only the management API tells: policies, bindings, alarms, clocks, and what a queue cannot hand on."""

import asyncio
from collections.abc import Collection, Iterator
from typing import Any

from consumer.adapters.management import Management, ManagementError, NotAllowedError
from consumer.adapters.topology import Queue, Topology, TopologyError, compare_arguments
from consumer.doctor.finding import Finding, good, unknown, warning, wrong
from consumer.doctor.limits import check_limits, node_resources
from consumer.doctor.version import version_numbers

CURE = "see RABBITMQ_MANAGEMENT_URL; its user needs the tag monitoring and the right to read this virtual host"
CERTIFICATE_CURE = (
    "name the host in RABBITMQ_MANAGEMENT_URL as its certificate does, and its authority in SSL_CERT_FILE"
)
VHOST_CURE = "see that RABBITMQ_MANAGEMENT_URL and AMQP_URL name the same broker, and AMQP_URL a virtual host of it"
OLD_QUEUE_CURE = (
    "remove its bindings, run a consumer with CONSUMER_QUEUE={} and CONSUMER_DECLARE=off until its queues are empty "
    "(what was delivered already ends as a duplicate), then delete them"
)
# The API's Date header has whole seconds.
MOST_SKEW = 5.0
# The broker renews the numbers of a queue every 5 s.
STATISTICS_SECONDS = 6.0
# What a policy may add to a queue of ours that has no argument for it, or lower where it has one: each can throw an
# order away, or refuse it.
HARMFUL = {
    "expires": "the broker deletes the queue, orders and all, when it has not been used for so long",
    "message-ttl": "orders leave the queue before their time",
    "max-length": "orders beyond so many are refused",
    "max-length-bytes": "orders beyond so many bytes are refused",
    "delivery-limit": "an order that came back so often is thrown out",
}
# Without them dead lettering is at most once. A broker of the version below does not start without them.
FLAGS = ("quorum_queue", "stream_queue")
FLAGS_REQUIRED_SINCE = (3, 12)


async def check_management(
    url: str,
    vhost: str,
    wanted: Topology,
    longest_delivery: float,
    user: str | None = None,
    uncompared: Collection[str] = (),
) -> list[Finding]:
    """What RABBITMQ_MANAGEMENT_URL tells. `longest_delivery`: seconds for which an order can be unacknowledged.

    `user`: the one of AMQP_URL, whose limits are looked at. `uncompared`: queues whose arguments AMQP has not shown.
    """
    try:
        async with Management(url, vhost) as api:
            findings = await _ask(api, vhost, wanted, longest_delivery, user)
            return findings + [
                _compared(queue, found)
                for queue in wanted.queues
                if queue.name in uncompared and (found := await api.queue(queue.name)) is not None
            ]
    except (ManagementError, KeyError, TypeError, ValueError) as error:
        why = str(error) if isinstance(error, ManagementError) else f"answered something unexpected: {error!r}"
        return [unknown("management API", why, CERTIFICATE_CURE if "certificate" in why else CURE)]


async def _ask(
    api: Management, vhost: str, wanted: Topology, longest_delivery: float, user: str | None
) -> list[Finding]:
    answering = (await api.overview())["rabbitmq_version"]
    findings = [good("management API", f"answers, on a node of RabbitMQ {answering}"), *_clock(api.skew)]
    findings += await _features(api, answering)
    findings += [each for node in await api.nodes() for each in _node(node)]
    limits = await api.vhost_limits()
    if limits is None:
        message = f"the management API knows no virtual host {vhost!r}, so nothing about our queues is checked"
        return [*findings, wrong("virtual host", message, VHOST_CURE)]
    handing_on: list[tuple[Queue, int]] = []
    for queue in wanted.queues:
        if (found := await api.queue(queue.name)) is not None:
            findings += _queue(queue, found, longest_delivery)
            findings += _bindings(queue, wanted, await api.bindings(queue.name))
            handing_on.append((queue, _handed_on(found)))
    findings += await check_limits(api, limits, user, missing=len(wanted.queues) - len(handing_on))
    findings += await _check_old_queues(api, wanted)
    return findings + await _check_handing_on(api, [each for each in handing_on if each[1]])


def _clock(skew: float) -> Iterator[Finding]:
    if abs(skew) > MOST_SKEW:
        yield warning(
            "clock", f"the broker's is {skew:+.0f} s from ours", "let both follow NTP: waits are cut by the clock"
        )


async def _features(api: Management, version: str) -> list[Finding]:
    """The flags that at-least-once dead lettering needs; of a broker that may lack them."""
    if version_numbers(version) >= FLAGS_REQUIRED_SINCE:
        return []
    try:
        return list(_flags(await api.feature_flags()))
    except NotAllowedError:
        cure = f"see that rabbitmqctl list_feature_flags shows {' and '.join(FLAGS)} as enabled"
        return [warning("features", "the broker tells its feature flags to administrators only", cure)]


def _flags(flags: dict[str, str]) -> Iterator[Finding]:
    for name in FLAGS:
        if flags.get(name, "enabled") != "enabled":
            message = f"feature flag {name} is {flags[name]}: dead lettering may lose messages"
            yield wrong("features", message, f"rabbitmqctl enable_feature_flag {name}")


def _node(node: dict[str, Any]) -> Iterator[Finding]:
    check = f"node {node['name']}"
    if not node.get("running", True):
        yield warning(check, "does not run", "start it: queues with two of three members survive no further loss")
    for alarm, cure in (("mem_alarm", "add memory or find who fills it"), ("disk_free_alarm", "free disk space")):
        if node.get(alarm):
            yield wrong(check, f"{alarm}: no publish is taken, so the consumption is paused", cure)
    if node.get("partitions"):
        yield wrong(check, f"does not see {', '.join(node['partitions'])}", "mend the network, restart the minority")
    yield from node_resources(check, node)


def _queue(wanted: Queue, found: dict[str, Any], longest_delivery: float) -> Iterator[Finding]:
    check = f"queue {wanted.name}"
    yield from _policies(check, wanted, found, longest_delivery)
    members, online = found.get("members") or [], found.get("online") or []
    if members and 2 * len(online) <= len(members):
        yield wrong(check, f"{len(online)} of {len(members)} members are online: no majority", "start the other nodes")
    elif len(online) < len(members):
        yield warning(check, f"{len(online)} of {len(members)} members are online", "start the other nodes")
    if not found.get("durable", True):
        yield wrong(check, "is not durable", "delete it when it is empty; `run` creates it")


def _compared(wanted: Queue, found: dict[str, Any]) -> Finding:
    check = f"queue {wanted.name}"
    try:
        compare_arguments(wanted, found.get("arguments") or {})
    except TopologyError as error:
        return wrong(check, str(error), "move to a new queue as the message says")
    return good(check, "fits, by the management API")


def _policies(check: str, wanted: Queue, found: dict[str, Any], longest_delivery: float) -> Iterator[Finding]:
    effective = found.get("effective_policy_definition") or {}
    names = " and ".join(filter(None, (found.get("policy"), found.get("operator_policy")))) or "a policy"
    cure = f"take this out of the policy {names}, or let its pattern leave our queues alone"
    for key, harm in HARMFUL.items():
        if key in effective and _bites(wanted, key, effective[key]):
            yield wrong(check, f"policy {names} sets {key} to {effective[key]}: {harm}", cure)
    if "dead-letter-exchange" in effective and "x-dead-letter-exchange" not in wanted.arguments:
        message = f"policy {names} forwards dead letters to exchange {effective['dead-letter-exchange']!r}"
        yield warning(check, message, cure)
    timeout = effective.get("consumer-timeout")
    if timeout is not None and timeout / 1000 <= longest_delivery:
        message = (
            f"policy {names} sets consumer-timeout to {timeout / 1000:g} s; an order may take {longest_delivery:g} s"
        )
        yield wrong(check, message, "raise it: the broker would cut our link in the middle of a POST")


def _bites(wanted: Queue, key: str, value: Any) -> bool:
    """Whether a policy's number is below our argument, or there is none; the broker takes the lower of the two."""
    ours = wanted.arguments.get(f"x-{key}")
    return not isinstance(ours, int) or not isinstance(value, int) or value < ours


def _bindings(queue: Queue, wanted: Topology, bindings: list[dict[str, Any]]) -> Iterator[Finding]:
    bound = [(each["source"], each["routing_key"]) for each in bindings if each["source"]]
    check = f"queue {queue.name}"
    if queue is not wanted.main:
        for source, _ in bound:
            yield wrong(check, f"is bound to exchange {source}: foreign messages get in", "remove the binding")
        return
    if (wanted.exchange, wanted.routing_key) not in bound:
        message = f"is not bound to exchange {wanted.exchange} with {wanted.routing_key!r}: paid orders do not arrive"
        yield wrong(check, message, "bind it; with CONSUMER_DECLARE=on `run` does so at its start")


async def _check_old_queues(api: Management, wanted: Topology) -> list[Finding]:
    """Main queues of this program, by their arguments, that orders still go to and that have no consumer."""
    findings = []
    for name in await api.bound_queues(wanted.exchange):
        found = await api.queue(name) if name != wanted.main.name else None
        if found is None or found.get("consumers") != 0:
            continue
        arguments = found.get("arguments") or {}
        if (
            arguments.get("x-dead-letter-routing-key") == f"{name}.dlq"
            and arguments.get("x-dead-letter-exchange") == ""
        ):
            message = (
                f"was declared by this program under another CONSUMER_QUEUE; it is still bound to exchange "
                f"{wanted.exchange}, holds {found.get('messages', 0)} messages, and has no consumer: it fills"
            )
            findings.append(wrong(f"queue {name}", message, OLD_QUEUE_CURE.format(name)))
    return findings


def _handed_on(found: dict[str, Any]) -> int:
    """Messages that have left the queue for its dead-letter target, which has not confirmed them yet.

    They are neither ready nor unacknowledged, so that AMQP does not tell of them.
    """
    count = found.get("messages_dlx", 0)
    return count if isinstance(count, int) else 0


async def _check_handing_on(api: Management, before: list[tuple[Queue, int]]) -> list[Finding]:
    """Whether the targets take what the queues hand on. Waits only if something is under way."""
    if not before:
        return []
    await asyncio.sleep(STATISTICS_SECONDS)
    findings = []
    for queue, count in before:
        now = _handed_on(await api.queue(queue.name) or {})
        if now >= count:
            target = queue.arguments.get("x-dead-letter-routing-key", "the target that a policy gives")
            cure = f"see that {target} exists and is not full; after the loss of a node it may take three minutes"
            findings.append(warning(f"queue {queue.name}", f"{now} messages are not taken by {target}", cure))
    return findings
