"""The command line: parses, calls, prints. Results go to stdout; progress and logs go to stderr.

Exit status: 0 done, 1 failed, 2 wrong usage or settings.
"""

import click

from consumer import __version__
from consumer.cli.check import check
from consumer.cli.convert import convert
from consumer.cli.demo import demo
from consumer.cli.dlq import dlq
from consumer.cli.explain import explain
from consumer.cli.ledger import ledger
from consumer.cli.mappings import mappings
from consumer.cli.net import Net
from consumer.cli.outbox import outbox
from consumer.cli.publish import publish
from consumer.cli.run import run
from consumer.cli.sandbox import sandbox
from consumer.cli.schema import schema


@click.group(cls=Net, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="neuroon-consumer")
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error, which may quote an event.")
def main(*, debug: bool) -> None:
    """Bring paid orders from RabbitMQ to Neuroon, as conversions of the searches that led to them.

    Settings are environment variables; `neuroon-consumer check` says what is missing.
    """


for command in (run, demo, check, convert, publish, sandbox, dlq, explain, ledger, outbox, mappings, schema):
    main.add_command(command)
