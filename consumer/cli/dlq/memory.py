"""The ledger beside the dead letters: it hears of what is done to them, and tells what became of the orders."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from consumer.adapters.ledger import Deed, Ledger, Note
from consumer.adapters.ledger.batching import BatchedLedger
from consumer.adapters.ledger.opening import lasting_store
from consumer.adapters.ledger.sqlite import SqliteStore
from consumer.core.settlement import Subject
from consumer.deadletters.audit import Audit
from consumer.deadletters.follow import Sighting
from consumer.deadletters.letter import Letter
from consumer.settings import Settings

# What the audit calls an action, and what the ledger remembers of it; an export or a look changes no order.
DEEDS = {"replay": Deed.REPLAYED, "edit": Deed.REPLAYED, "discard": Deed.DISCARDED, "import": Deed.IMPORTED}


class Memory:
    """A ledger as `dlq` needs it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._notes: set[asyncio.Task[None]] = set()

    def listen(self, record: Audit, detail: str) -> None:
        """Note each letter that `record` tells of; `detail` says why, where somebody had to."""
        deed = DEEDS[record.action]

        def note(letter: Letter, at: float) -> None:
            replays = letter.replays + 1 if deed is Deed.REPLAYED else 0
            said = Note(letter.shop, letter.order, deed, at, record.who, detail, replays)
            task = asyncio.create_task(self._ledger.note(said))
            self._notes.add(task)
            task.add_done_callback(self._notes.discard)

        record.on_letter = note

    async def sightings(self, orders: Sequence[Subject]) -> Sequence[Sighting | None]:
        """See `Whereabouts`."""
        keys = [(order.shop or "", order.order or "") for order in orders]
        found = await self._ledger.sightings(keys)
        return [None if each is None else Sighting(each.state, each.at) for each in found]

    async def flush(self) -> None:
        """Wait until every note is written."""
        await asyncio.gather(*self._notes)


@asynccontextmanager
async def memory(settings: Settings) -> AsyncIterator[Memory | None]:
    """The ledger of the settings; None where it is in no place that this process shares with the consumer."""
    store = lasting_store(settings.ledger_url.get_secret_value())
    if store is None or (isinstance(store, SqliteStore) and not store.path.exists()):
        yield None
        return
    ledger = BatchedLedger(store)
    await ledger.open()
    remembered = Memory(ledger)
    try:
        yield remembered
    finally:  # what was done is noted, however it ended
        await remembered.flush()
        await ledger.close()
