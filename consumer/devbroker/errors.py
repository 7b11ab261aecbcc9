"""What can go wrong with a private broker.

BrokerError
    NoBrokerError       nothing on this machine can run RabbitMQ, and nothing could be installed
    BrokerStartError    it was started and did not come up; the message ends with its log
"""


class BrokerError(Exception):
    """A private broker could not be had, or did not do as it was told."""


class NoBrokerError(BrokerError):
    """RabbitMQ is not installed and cannot be; the message says what to do."""


class BrokerStartError(BrokerError):
    """RabbitMQ did not come up; the message ends with the tail of its log."""
