"""Whether orders were delivered before, asked in batches; and which orders are in hand while they are posted.

Two processes that share a ledger must not post one order at the same time: each would look it up before the other has
recorded it. So whoever looks an order up takes it in hand in the same batch, and whoever finds it in another's hand
looks again until it is on record or free. What is let go of goes along with the next batch, which costs nothing, or
after a short while by itself; nobody waits for that, because an order that is on record needs no hand to be known.
"""

import asyncio
import contextlib
from collections.abc import Callable
from enum import Enum
from typing import Final

from consumer.adapters.ledger import Claimed, Key, Known, LedgerDownError, LedgerRefusedError, Store
from consumer.adapters.ledger.health import Health
from consumer.adapters.pace import Pace
from consumer.supervision import Supervisor, TaskName

# An order that waits longer for its look-up is posted without. A healthy store answers in milliseconds.
READ_SECONDS = 1.0
# So is an order that is longer than this in another process's hand, which may hang: Neuroon drops the repeat.
ELSEWHERE_SECONDS = 1.0
# Between two looks at an order in another's hand. An API answers in some 100 ms.
LOOK_AGAIN_SECONDS = 0.05
# What is let go of waits so long for a batch of look-ups to go along with.
LET_GO_SECONDS = 0.05
# Orders delivered last: asked for again, they need no look-up. About 4 MB.
RECENT = 16_384

TOO_SLOW = "a {} takes longer than it may"
UNFORESEEN = "an unexpected error, see the log"


class _Place(Enum):
    ELSEWHERE = "in another process's hand"


_Answer = Known | _Place | None
Asked = dict[Key, list[asyncio.Future[_Answer]]]
_NOTHING: Final = Claimed()


class Lookups:
    """Asks `store` while `health` is good; `unusable` is told, in words, what keeps it from answering in time."""

    def __init__(self, store: Store, health: Health, unusable: Callable[[str], None], supervisor: Supervisor) -> None:
        self._store, self._health, self._unusable, self._supervisor = store, health, unusable, supervisor
        self._broken = False  # the task that asks has failed and not been restarted yet
        self._pace = Pace()
        self._asked: Asked = {}
        self._asking: asyncio.Task[None] | None = None
        self._recent: dict[Key, Known] = {}
        self._in_hand: dict[Key, int] = {}
        self._done: list[Key] = []
        self._patience: asyncio.TimerHandle | None = None

    async def ask(self, key: Key) -> Known | None:
        """See `Ledger.delivered_before`."""
        known = self._recent.get(key)
        if known is not None or not self._usable:
            return known
        answer = await self._gathered(key)
        return await self._another_try(key) if isinstance(answer, _Place) else answer

    @property
    def _usable(self) -> bool:
        return self._health.ok and not self._broken

    async def _another_try(self, key: Key) -> Known | None:
        """The same for an order that is in another process's hand, once it is not, or for too long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + ELSEWHERE_SECONDS
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            if not self._usable or loop.time() >= until:
                return None
            answer = await self._gathered(key)
            if not isinstance(answer, _Place):
                return answer

    def let_go(self, key: Key) -> None:
        """See `Ledger.let_go`."""
        times = self._in_hand.pop(key, 0)
        if times > 1:
            self._in_hand[key] = times - 1
        if times:
            self._finish(key)

    def remember(self, key: Key, known: Known) -> None:
        """An order that was delivered needs no look-up, for a while."""
        self._recent[key] = known
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]

    def give_up(self) -> None:
        """Let nobody wait any longer for a batch that has not begun."""
        asked, self._asked = self._asked, {}
        self._answer(asked, _NOTHING)

    async def close(self) -> None:
        """End what is under way; what is in hand is let go of by closing the store."""
        if self._patience is not None:
            self._patience.cancel()
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking

    def _gathered(self, key: Key) -> asyncio.Future[_Answer]:
        """The answer of the next batch."""
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(key, []).append(answer)
        self._pace.gathered(len(self._asked))
        if self._asking is None:
            self._start()
        return answer

    def _start(self) -> None:
        self._asking = self._supervisor.start(TaskName.LEDGER_LOOKUPS, self._ask_all, self._asking_failed, ends=True)

    def _asking_failed(self) -> None:
        self._broken = True
        self._unusable(UNFORESEEN)

    async def _ask_all(self) -> None:
        """Ask the store, batch by batch, until nobody asks and nothing has waited long enough to be let go of."""
        self._broken = False
        while self._asked or (self._done and self._patience is None):
            if self._asked:
                await self._pace.turn()
            batch, self._asked = self._asked, {}
            done, self._done = self._done, []
            slow = asyncio.get_running_loop().call_later(READ_SECONDS, self._too_slow, batch)
            claimed = _NOTHING
            try:
                claimed = await self._store.claim(list(batch), done)
            except (LedgerDownError, LedgerRefusedError) as error:
                self._unusable(str(error))
            except Exception as error:  # noqa: BLE001 - whatever a driver may throw: orders go on
                self._unusable(type(error).__name__)
            finally:
                slow.cancel()
                self._answer(batch, claimed)
        self._asking = None

    def _too_slow(self, batch: Asked) -> None:
        self._answer(batch, _NOTHING)
        self._unusable(TOO_SLOW.format("look-up"))

    def _answer(self, batch: Asked, claimed: Claimed) -> None:
        for key, answers in batch.items():
            found: _Answer = claimed.known.get(key)
            if found is None and key in claimed.elsewhere:
                found = _Place.ELSEWHERE
            heard = False
            for answer in answers:
                if not answer.done():
                    answer.set_result(found)
                    heard = True
            if key in claimed.taken:
                if heard and found is None:
                    self._in_hand[key] = self._in_hand.get(key, 0) + 1
                else:  # known, or taken for somebody who waits no longer
                    self._finish(key)

    def _finish(self, key: Key) -> None:
        self._done.append(key)
        if self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(LET_GO_SECONDS, self._waited)

    def _waited(self) -> None:
        self._patience = None
        if self._done and self._asking is None:
            self._start()
