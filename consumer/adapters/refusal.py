"""What to do about the broker's refusals, recognised by the broker's own sentences (RabbitMQ 3.10 to 4.x)."""

import re

# Connections that one replica opens: two to consume and publish, one for the metrics, one for the balance.
CONNECTIONS = 4
# Channels on them: one or two on each, the second for a single question.
CHANNELS = 8

_RIGHTS = 'see "Rights" in docs/topology.md, and rabbitmqctl set_permissions'

_REMEDIES = (
    (
        r"vhost \S+ not found",
        (
            "create the virtual host (rabbitmqctl add_vhost), or correct AMQP_URL: what follows the slash after the "
            "host is its name, with %2F for a slash in it"
        ),
    ),
    (r"vhost .* is down", "read the broker's log, then rabbitmqctl restart_vhost"),
    (
        r"connection limit \(\d+\) is reached",
        (
            "raise it (rabbitmqctl set_vhost_limits or set_user_limits, connection_max of the node), or run fewer "
            f"replicas: each opens {CONNECTIONS} connections"
        ),
    ),
    (
        r"number of channels opened",
        f"raise it (rabbitmqctl set_user_limits, channel_max of the node): each replica opens {CHANNELS} channels",
    ),
    (r"queue limit in", "raise it (rabbitmqctl set_vhost_limits), or delete queues that are no longer used"),
    (r"can only log in via localhost", "use another user than guest in AMQP_URL"),
    (r"Login was refused", "correct the user and password in AMQP_URL"),
    (r"access to vhost .* refused", f"give the user of AMQP_URL rights in this virtual host: {_RIGHTS}"),
    (r"access to \w+ '.*' in vhost .* refused", f"give the user of AMQP_URL this right: {_RIGHTS}"),
    (r"no (queue|exchange) '.*' in vhost", "see that it was declared in the virtual host that AMQP_URL names"),
    (
        r"Too many open files|Errno 24\b",
        "raise the limit of open files (ulimit -n, LimitNOFILE), or lower CONSUMER_CONCURRENCY",
    ),
)


def remedy(text: str) -> str | None:
    """What to do about an error with this text; None if that is not known."""
    return next((words for pattern, words in _REMEDIES if re.search(pattern, text)), None)
