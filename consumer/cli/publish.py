"""`neuroon-consumer publish`."""

import asyncio
import sys
import time
from pathlib import Path

import click
from rich.progress import Progress

from consumer.adapters.link import LINK_ERRORS, connect, describe
from consumer.adapters.publisher import Publisher, PublishFailedError
from consumer.adapters.topology import ensure_exchange
from consumer.app import wanted_topology
from consumer.cli.common import (
    FAILED,
    complain,
    json_option,
    print_json,
    run_async,
    settings_or_exit,
    tracing_or_exit,
)
from consumer.cli.convert import read_inputs
from consumer.core.delivery import Properties
from consumer.events import split_events
from consumer.settings import Settings
from consumer.terminal import console, echo
from consumer.tracing import Tracing

# Confirms awaited at a time; a quorum queue confirms in batches, so that one at a time would be slow.
WINDOW = 200


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--routing-key", default="order.paid", show_default=True, help="Routing key of every event.")
@json_option
def publish(files: tuple[Path, ...], routing_key: str, as_json: bool) -> None:
    """Publish the events in FILES (or stdin) to the exchange, and wait until the broker has confirmed each.

    A file holds one event, a JSON array of events, or one event per line.
    """
    settings = settings_or_exit()
    tracing = tracing_or_exit(settings)
    events = [event for data in read_inputs(files) for event in split_events(data)]
    try:
        failures = run_async(lambda: _publish(settings, tracing, events, routing_key))
    except LINK_ERRORS as error:
        complain(f"the broker cannot be used: {describe(error)}")
        sys.exit(FAILED)
    for failure in sorted(set(failures)):
        complain(f"{failures.count(failure)} not published: {failure}")
    if as_json:
        print_json({"published": len(events) - len(failures), "failed": len(failures)})
    else:
        echo(f"{len(events) - len(failures)} of {len(events)} events published and confirmed")
    sys.exit(FAILED if failures else 0)


async def _publish(settings: Settings, tracing: Tracing, events: list[bytes], routing_key: str) -> list[str]:
    """Publish all; the reasons of those that failed."""
    try:
        return await _publish_all(settings, tracing, events, routing_key)
    finally:
        await tracing.close()


async def _publish_all(settings: Settings, tracing: Tracing, events: list[bytes], routing_key: str) -> list[str]:
    connection = await connect(settings.amqp_url.get_secret_value(), "neuroon-consumer publish command")
    async with connection:
        wanted = wanted_topology(settings)
        await ensure_exchange(connection, wanted)
        publisher, exchange = await Publisher.open(connection), wanted.exchange
        window = asyncio.Semaphore(WINDOW)
        failures: list[str] = []
        # From the timestamp the consumer tells how long orders wait.
        stamped = Properties("application/json", timestamp=int(time.time()))
        with Progress(console=console(err=True), disable=not sys.stderr.isatty(), transient=True) as progress:
            bar = progress.add_task("publishing", total=len(events))

            async def send(event: bytes) -> None:
                async with window:
                    try:
                        with tracing.published(exchange, routing_key) as headers:
                            await publisher.publish(event, headers, stamped, exchange=exchange, routing_key=routing_key)
                    except PublishFailedError as error:
                        failures.append(str(error))
                    progress.advance(bar)

            async with asyncio.TaskGroup() as group:
                for event in events:
                    group.create_task(send(event))
        return failures
