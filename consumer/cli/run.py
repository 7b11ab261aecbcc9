"""`neuroon-consumer run`."""

import gc
import os
import sys

import click

from consumer.adapters.topology import TopologyError
from consumer.app import serve
from consumer.cli.common import FAILED, complain, exit_for, run_async, settings_or_exit
from consumer.logsink import LogSink
from consumer.settings import SettingsError
from consumer.telemetry import configure_logging

# Objects between two looks of Python's cycle collector at the youngest. An order makes some hundreds, none of them in a
# cycle, and 500 orders in flight are more than 10,000: with the default of 700 a tenth of a drain went into looking.
_YOUNG_OBJECTS = 50_000


@click.command()
def run() -> None:
    """Consume until stopped.

    SIGTERM or Ctrl-C takes no more orders and finishes those in flight; a second one leaves at once. Logs go to stderr,
    probes and metrics are served at CONSUMER_HTTP_ADDR.
    """
    settings = settings_or_exit()
    sink = LogSink(sys.stderr)
    configure_logging(settings.log_format, settings.log_level, sink, terminal=sys.stderr.isatty())
    gc.freeze()  # what has been imported stays, and is not looked through again
    gc.set_threshold(_YOUNG_OBJECTS)
    try:
        run_async(lambda: serve(settings, os.environ, sink))
    except SettingsError as error:
        exit_for(error)
    except (TopologyError, OSError) as error:  # OSError: the address for probes is taken
        complain(str(error))
        sys.exit(FAILED)
