"""Limits at the broker on what one replica needs: connections, channels, queues, and what a node can have open."""

from collections.abc import Iterator
from typing import Any

from consumer.adapters.management import Management
from consumer.adapters.refusal import CHANNELS, CONNECTIONS
from consumer.doctor.finding import Finding, warning, wrong

# From this share on, a node is said to run out of something.
NEARLY_ALL = 0.9
NODE_RESOURCES = {
    "fd": "file descriptors",
    "sockets": "connections that its file descriptors allow",
    "proc": "Erlang processes",
}
REPLICAS = f"raise it, or run fewer replicas: each opens {CONNECTIONS} connections with {CHANNELS} channels"


async def check_limits(api: Management, limits: dict[str, int], user: str | None, missing: int) -> list[Finding]:
    """Whether another replica has room. `limits` of the virtual host; `missing`: queues of ours that `run` will create.

    `user` None: AMQP_URL names none.
    """
    findings: list[Finding] = []
    if (limit := limits.get("max-connections")) is not None:
        findings += _connections("virtual host", limit, await api.connection_count())
    if (limit := limits.get("max-queues")) is not None and missing:
        findings += _queues(limit, await api.queue_count(), missing)
    if user is None:
        return findings
    limits = await api.user_limits(user)
    if (limit := limits.get("max-connections")) is not None:
        findings += _connections(f"user {user}", limit, await api.user_connection_count(user))
    if (limit := limits.get("max-channels")) is not None and limit < CHANNELS:
        message = f"may have {limit} channels, and one replica opens up to {CHANNELS}"
        findings.append(wrong(f"user {user}", message, "raise it (rabbitmqctl set_user_limits)"))
    return findings


def _connections(check: str, limit: int, count: int) -> Iterator[Finding]:
    if limit < CONNECTIONS:
        message = f"may have {limit} connections, and one replica opens {CONNECTIONS}"
        yield wrong(check, message, REPLICAS)
    elif limit - count < CONNECTIONS:
        message = f"may have {limit} connections, and {count} are open: no room for another replica's {CONNECTIONS}"
        yield warning(check, message, REPLICAS)


def _queues(limit: int, count: int, missing: int) -> Iterator[Finding]:
    if count + missing > limit:
        message = f"may have {limit} queues, and {count} exist: `run` cannot create the {missing} that are missing"
        yield wrong("virtual host", message, "raise it (rabbitmqctl set_vhost_limits), or delete unused queues")


def node_resources(check: str, node: dict[str, Any]) -> Iterator[Finding]:
    """What a node has nearly used up, of what it says."""
    for name, words in NODE_RESOURCES.items():
        used, total = node.get(f"{name}_used"), node.get(f"{name}_total")
        if isinstance(used, int) and isinstance(total, int) and 0 < total * NEARLY_ALL <= used:
            message = f"uses {used} of {total} {words}: it will soon refuse connections"
            yield warning(check, message, "raise the node's limit, or close what is not used")
