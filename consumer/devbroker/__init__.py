"""A RabbitMQ node of one's own, for the demo and the tests: started here, hurt on purpose, gone afterwards.

It shares nothing with a RabbitMQ that may already run on the machine: not its ports, its data, its cookie or its port
mapper.
"""

from consumer.devbroker.broker import PrivateBroker
from consumer.devbroker.errors import BrokerError, BrokerStartError, NoBrokerError

__all__ = ["BrokerError", "BrokerStartError", "NoBrokerError", "PrivateBroker"]
