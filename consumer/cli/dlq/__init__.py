"""`neuroon-consumer dlq`: the dead letters at the command line. All logic is in `consumer.deadletters`."""

import click

from consumer.cli.dlq.acting import discard, replay
from consumer.cli.dlq.looking import list_, show, summary
from consumer.cli.dlq.moving import export, import_
from consumer.cli.dlq.signals import handled_by, leave

__all__ = ["dlq"]


@click.group()
@click.pass_context
def dlq(context: click.Context) -> None:
    """Look at the dead letters, bring them back, or let them go.

    Looking changes nothing. What sends or destroys shows first what it would touch, and asks. Ctrl-C, SIGTERM and
    SIGHUP end it in good order: nothing stays held, and what was left is reported. A second one leaves at once.

    Exit status: 0 all is done; 1 not all of it, and what was not is reported; 2 wrong usage or settings, nothing done.
    """
    context.with_resource(handled_by(leave))


for command in (summary, list_, show, replay, discard, export, import_):
    dlq.add_command(command)
