"""From settings to the ledger's store, and what it may raise, in one place for all commands that look into it."""

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from consumer.adapters.ledger import LedgerDownError, LedgerRefusedError, Store
from consumer.adapters.ledger.opening import lasting_store
from consumer.adapters.ledger.sqlite import SqliteStore
from consumer.cli.common import FAILED, complain, run_async
from consumer.settings import Settings

T = TypeVar("T")


def at_store(
    settings: Settings, work: Callable[[Store], Awaitable[T]], *, changes: bool = False, makes: bool = False
) -> T:
    """What `work` returns; without a ledger that can be asked, one line that says so and exit status 1.

    Unless `work` says that it `changes` the ledger, it is only looked at: a disk may be full, a server a standby. Where
    it `makes` the tables, the store is not opened before, and may be missing.
    """
    url = settings.ledger_url.get_secret_value()
    store = lasting_store(url, looks_only=not (changes or makes))
    if store is None:
        complain(f"there is no ledger to ask: LEDGER_URL is {url}, which keeps nothing that another process could read")
        sys.exit(FAILED)
    if not makes and isinstance(store, SqliteStore) and not store.path.exists():
        complain(f"there is no ledger yet: {store.path} does not exist; `run` makes it, where LEDGER_URL says")
        sys.exit(FAILED)

    async def opened() -> T:
        try:
            if not makes:
                await store.open()
            return await work(store)
        finally:
            await store.close()

    try:
        return run_async(opened)
    except (LedgerDownError, LedgerRefusedError) as error:
        complain(f"the ledger cannot be used: {error}")
        sys.exit(FAILED)
