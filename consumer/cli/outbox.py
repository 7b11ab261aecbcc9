"""`neuroon-consumer outbox`."""

import asyncio
import os
import random
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import click
import structlog

from consumer.adapters.interruption import unless
from consumer.adapters.ledger.opening import open_ledger
from consumer.adapters.outboxtable import RECIPE_TABLE, Mark, OutboxError, OutboxUsageError, RowKey
from consumer.adapters.outboxtable.opening import open_outbox
from consumer.app import load_shops, open_neuroon, until_signalled
from consumer.cli.common import (
    FAILED,
    WRONG_USAGE,
    complain,
    exit_for,
    json_option,
    print_json,
    run_async,
    settings_or_exit,
)
from consumer.outbox import DirectCourier, Flushed, Outbox, outbox_routes, read_row
from consumer.pipeline import Pipeline, Surroundings
from consumer.settings import Settings, SettingsError, ShopsSource, given_value, values
from consumer.telemetry import configure_logging
from consumer.terminal import echo

# When `outbox flush` runs once, somebody else decides when it runs again; the recipe says "every N minutes".
USUAL_SECONDS = 300.0

log = structlog.get_logger(__name__)


@click.group()
def outbox() -> None:
    """Send what a shop put into an outbox table, as Neuroon's recipe lays it out."""


def _interval(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else values.duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@outbox.command()
@click.option(
    "--url",
    metavar="URL",
    help="Database with the table: sqlite:///path, postgresql://... or mysql://...; by itself the ledger's. Also as "
    "OUTBOX_URL or, in a file, OUTBOX_URL_FILE, which keep a password off the command line.",
)
@click.option("--table", default=RECIPE_TABLE, show_default=True, help="Name of the table.")
@click.option("--shop", metavar="SHOP", help="The shop of rows that name none; needed when several are configured.")
@click.option("--every", callback=_interval, metavar="TIME", help="Again and again, such as 1m, until stopped.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="No more than N rows at a time.")
@json_option
def flush(url: str | None, table: str, shop: str | None, every: float | None, limit: int | None, as_json: bool) -> None:
    """Send the rows with synced_at IS NULL and attempts < 5, the oldest first, each once.

    Marks synced_at, or attempts and last_error, as the recipe does. Any number may run at the same time. A row that
    could not be sent is no failure of the flush: its turn comes again.
    """
    settings = settings_or_exit()
    configure_logging(settings.log_format, settings.log_level, terminal=sys.stderr.isatty())
    try:
        shops = load_shops(settings, os.environ)
        shop = _only_shop(shops, shop)
        url = url or given_value(os.environ, "OUTBOX_URL") or settings.ledger_url.get_secret_value()
        run = Run(settings, shops, url, table, shop, every, limit)
        run_async(lambda: run.all(as_json=as_json))
    except SettingsError as error:
        exit_for(error)
    except OutboxError as error:
        complain(f"the outbox cannot be used: {error}")
        sys.exit(WRONG_USAGE if isinstance(error, OutboxUsageError) else FAILED)


def _only_shop(shops: ShopsSource, name: str | None) -> str | None:
    """The id of the shop that is named, or of the only one there is; None if each row must tell its own."""
    if name is None:
        return shops.shops.shops[0].id if len(shops.shops.shops) == 1 else None
    found = shops.shops.find(name)
    if isinstance(found, str):
        complain(f"--shop {name}: {found}")
        sys.exit(WRONG_USAGE)
    return found.id


@dataclass(frozen=True)
class Run:
    """One call of the command."""

    settings: Settings
    shops: ShopsSource
    url: str
    table: str
    shop: str | None
    every: float | None
    limit: int | None

    async def all(self, *, as_json: bool) -> None:
        """Flush once, or every so often until a signal."""

        async def repeat(stop: asyncio.Event) -> None:
            async with AsyncExitStack() as stack:
                pipeline = await self._open(stack, stop)
                owed: dict[RowKey, Mark] = {}
                watching = asyncio.create_task(self.shops.watch())
                stack.callback(watching.cancel)
                while not stop.is_set():
                    await self._round(pipeline, owed, stop, as_json=as_json)
                    if self.every is None:
                        return
                    await _sleep(self.every, stop)

        await until_signalled(repeat)

    async def _round(self, pipeline: Pipeline, owed: dict[RowKey, Mark], stop: asyncio.Event, *, as_json: bool) -> None:
        """One flush on a connection of its own, so that a database which was away between two is no matter."""
        try:
            table = await unless(stop, open_outbox(self.url, self.table))
            if table is None:
                return
            try:
                result = await Outbox(table, pipeline, self.shop, stop, owed).flush(self.limit)
            finally:
                await table.close()
        except OutboxUsageError:
            raise
        except OutboxError as error:
            if self.every is None:
                raise
            log.warning("outbox not usable, trying again next time", why=str(error))
        else:
            _print(result, as_json=as_json)

    async def _open(self, stack: AsyncExitStack, stop: asyncio.Event) -> Pipeline:
        settings, shops = self.settings, self.shops
        neuroon = open_neuroon(settings)
        stack.push_async_callback(neuroon.close)
        ledger = open_ledger(settings.ledger_url.get_secret_value())
        stack.push_async_callback(ledger.close)
        await unless(stop, ledger.open())
        return Pipeline(
            read=partial(read_row, max_lines=settings.consumer_max_lines),
            courier=DirectCourier(neuroon),
            ledger=ledger,
            routes=outbox_routes(self.every or USUAL_SECONDS),
            # 1.0 draws no jitter: the next flush comes when it comes.
            world=Surroundings(clock=time.time, draw=lambda: 1.0, shops=lambda: shops.shops),
            outbox=True,
        )


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    """Sleep, but not into a stop; a tenth more or less keeps several from asking at the same moment."""
    try:
        async with asyncio.timeout(seconds * random.uniform(0.9, 1.1)):  # noqa: S311 - no secret
            await stop.wait()
    except TimeoutError:
        return


def _print(result: Flushed, *, as_json: bool) -> None:
    if as_json:
        print_json(result.as_dict())
    else:
        echo(f"{result.rows} rows: {result.synced} synced, {result.failed} failed")
