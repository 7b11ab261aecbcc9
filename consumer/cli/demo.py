"""`neuroon-consumer demo`."""

import asyncio
import sys

import click

from consumer.cli.common import FAILED, complain
from consumer.demo import DemoError, tell
from consumer.devbroker import BrokerError


@click.command()
def demo() -> None:
    """Tell the whole story on this machine: broker, local Neuroon, orders, a failure, a dead letter, a replay.

    Starts a RabbitMQ of its own (or uses the one at AMQP_URL) and leaves nothing behind. Takes well under a minute.
    """
    try:
        asyncio.run(tell())
    except (DemoError, BrokerError) as error:
        complain(str(error))
        sys.exit(FAILED)
