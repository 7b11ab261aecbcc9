"""Looking at the dead letters, which changes nothing: each is read, let go of, and given back at the end."""

import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from consumer.adapters.deadletterqueue import DeadLetterQueue, Held, Hold
from consumer.core.shop import Shops
from consumer.deadletters.filters import Filter
from consumer.deadletters.letter import Letter, Read, lasting_headers, read_letter
from consumer.deadletters.summary import Summary

NO_SHOPS = Shops(())


@dataclass(frozen=True, slots=True)
class Desk:
    """What everybody needs who works on the dead letters.

    `read` makes an order of a message as the consumer does; `shops` are those of the settings, which may be none.
    """

    queue: DeadLetterQueue
    read: Read
    shops: Shops = NO_SHOPS


class Look:
    """One walk over the letters that match. `shared`: somebody else held some meanwhile, which are not seen."""

    def __init__(self, hold: Hold, wanted: Filter, read: Read) -> None:
        self._hold, self._wanted, self._read = hold, wanted, read

    @property
    def shared(self) -> bool:
        """Whether letters may be missing because somebody else holds them."""
        return self._hold.shared

    async def take(self) -> tuple[Held, Letter] | None:
        """The next letter that matches, oldest arrival first; None after the last."""
        while (held := await self._hold.take()) is not None:
            letter = read_letter(held.delivery, self._read)
            if self._wanted.matches(letter):
                return held, letter
        return None

    async def __aiter__(self) -> AsyncIterator[tuple[Held, Letter]]:
        """All that `take` gives."""
        while (found := await self.take()) is not None:
            yield found


@asynccontextmanager
async def looking(desk: Desk, wanted: Filter) -> AsyncIterator[Look]:
    """A look, which ends with everything back in its place. Raises NoQueueError or one of LINK_ERRORS."""
    async with desk.queue.hold(lasting_headers) as hold:
        yield Look(hold, wanted, desk.read)


async def summarise(desk: Desk, wanted: Filter) -> Summary:
    """Counts and money of all letters that match. Memory grows with the number of causes, not of letters."""
    summary = Summary()
    async with looking(desk, wanted) as look:
        async for _, letter in look:
            summary.add(letter)
        summary.shared = look.shared
    return summary


async def find(desk: Desk, identity: str) -> tuple[Held, Letter] | None:
    """The letter of that id; the look ends when it is found."""
    async with looking(desk, Filter(ids=frozenset({identity}))) as look:
        return await look.take()


async def newest(desk: Desk, wanted: Filter, limit: int | None) -> list[Letter]:
    """The letters that died last, newest first; with a `limit`, no more than so many are kept in memory."""
    kept: list[tuple[float, int, Letter]] = []
    arrivals = itertools.count()
    async with looking(desk, wanted) as look:
        async for _, letter in look:
            entry = (letter.died_at or 0.0, next(arrivals), letter)
            if limit is None or len(kept) < limit:
                heapq.heappush(kept, entry)
            elif limit:
                heapq.heappushpop(kept, entry)
    return [letter for _, _, letter in sorted(kept, reverse=True)]
