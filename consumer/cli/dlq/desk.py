"""From settings to a desk: the connection, and what it may raise, in one place for all dlq commands."""

import asyncio
import contextlib
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, cast

from consumer.adapters.deadletterqueue import DeadLetterQueue, NoQueueError
from consumer.adapters.link import LINK_ERRORS, connect, describe
from consumer.app import letter_reader
from consumer.cli.common import FAILED, complain, exit_for, run_async
from consumer.cli.dlq.signals import first_signal
from consumer.core.shop import Shops
from consumer.deadletters.audit import AuditError
from consumer.deadletters.browse import Desk
from consumer.deadletters.sweep import Control
from consumer.settings import Settings, SettingsError, ShopsFileError

T = TypeVar("T")


@asynccontextmanager
async def open_desk(settings: Settings) -> AsyncIterator[Desk]:
    """A desk at the broker of the settings; raises one of LINK_ERRORS."""
    shops = _shops(settings)
    read = letter_reader(settings, lambda: shops)
    connection = await connect(settings.amqp_url.get_secret_value(), "neuroon-consumer dlq command")
    try:
        yield Desk(DeadLetterQueue(connection, settings.routes.queues), read, shops)
    finally:
        with contextlib.suppress(*LINK_ERRORS):  # it was lost, and what was held is back already
            await connection.close()


def at_desk(settings: Settings, work: Callable[[Desk], Awaitable[T]], control: Control | None = None) -> T:
    """What `work` returns; what the broker or the audit has against it becomes one line and exit status 1.

    A signal sets `stop` of `control`, and `work` ends in its own way; without `control` it is cancelled: status 1.
    """
    # A failure to connect becomes one line here; the client library would log its whole trace before.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    # Letters come and go by the hundred thousand and form no cycles: collecting less often saves an eighth of the CPU.
    gc.freeze()
    gc.set_threshold(50_000)

    async def opened() -> T:
        task = cast("asyncio.Task[T]", asyncio.current_task())
        with first_signal(task.cancel if control is None else control.stop.set):
            async with open_desk(settings) as desk:
                return await work(desk)

    try:
        return run_async(opened)
    except asyncio.CancelledError:
        complain("stopped: nothing was changed")
    except (NoQueueError, AuditError) as error:
        complain(str(error))
    except SettingsError as error:
        exit_for(error)
    except LINK_ERRORS as error:
        complain(f"the broker cannot be used: {describe(error)}; what was held goes back, so run it again")
    sys.exit(FAILED)


def _shops(settings: Settings) -> Shops:
    """The configured shops. Dead letters can be cleared without: then aliases are not known."""
    try:
        return settings.shops_source(os.environ).shops
    except ShopsFileError as error:
        complain(f"{error}; going on without shops")
        return Shops(())
