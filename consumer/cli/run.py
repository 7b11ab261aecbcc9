"""`neuroon-consumer run`."""

import os
import sys

import click

from consumer.adapters.topology import TopologyError
from consumer.app import serve
from consumer.cli.common import FAILED, complain, exit_for, run_async, settings_or_exit
from consumer.logsink import LogSink
from consumer.settings import SettingsError
from consumer.telemetry import configure_logging


@click.command()
def run() -> None:
    """Consume until stopped.

    SIGTERM or Ctrl-C takes no more orders and finishes those in flight; a second one leaves at once. Logs go to stderr,
    probes and metrics are served at CONSUMER_HTTP_ADDR.
    """
    settings = settings_or_exit()
    configure_logging(settings.log_format, settings.log_level, LogSink(sys.stderr), terminal=sys.stderr.isatty())
    try:
        run_async(lambda: serve(settings, os.environ))
    except SettingsError as error:
        exit_for(error)
    except (TopologyError, OSError) as error:  # OSError: the address for probes is taken
        complain(str(error))
        sys.exit(FAILED)
