"""The broker's version, which it tells over AMQP itself, and the traps that are known of it."""

import re

from consumer.doctor.finding import Finding, good, warning, wrong

PRODUCT = "RabbitMQ"
OLDEST = (3, 10)
# Cancels that wait for an answer which some versions of the client library do not send.
STUCK_CANCELS = ((4, 3, 0), (4, 3, 5))


def check_version(product: str, version: str) -> Finding:
    """What is known of a broker that says that it is `product` of `version`."""
    told = f"{product} {version}".strip()
    if product != PRODUCT:
        message = f"the broker calls itself {told!r}: quorum queues and at-least-once dead lettering are RabbitMQ's"
        return warning(
            "version", message, "use RabbitMQ, or try each way an order can go on this broker before you rely on it"
        )
    numbers = version_numbers(version)
    if not numbers:
        return warning(
            "version", f"{told!r} is no version that could be compared", f"see that it is {_spelt(OLDEST)} or newer"
        )
    if numbers < OLDEST:
        message = f"{told}: at-least-once dead lettering came with {_spelt(OLDEST)}"
        return wrong("version", message, "upgrade the broker")
    if STUCK_CANCELS[0] <= numbers <= STUCK_CANCELS[1]:
        message = f"{told} may wait for ever after it cancels a consumer; we reconnect when that happens"
        return warning("version", message, "upgrade to 4.3.6 or newer")
    return good("version", told)


def version_numbers(version: str) -> tuple[int, ...]:
    """(4, 1, 0) for "4.1.0+2.gabcdef"; () for what is no version."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def _spelt(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
