"""`neuroon-consumer dlq`: the dead letters at the command line. All logic is in `consumer.deadletters`."""

import click

from consumer.cli.dlq.acting import discard, replay
from consumer.cli.dlq.looking import list_, show, summary
from consumer.cli.dlq.moving import export, import_

__all__ = ["dlq"]


@click.group()
def dlq() -> None:
    """Look at the dead letters, bring them back, or let them go.

    Looking changes nothing. What sends or destroys shows first what it would touch, and asks.
    """


for command in (summary, list_, show, replay, discard, export, import_):
    dlq.add_command(command)
