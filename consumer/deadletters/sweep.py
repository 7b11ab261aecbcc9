"""Doing something to chosen letters, one by one: first a plan, which is shown, then the walk that carries it out."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from consumer.adapters.deadletterqueue import Held, Hold
from consumer.adapters.publisher import PublishFailedError
from consumer.deadletters.browse import Desk, looking
from consumer.deadletters.filters import Filter
from consumer.deadletters.letter import Letter, lasting_headers, read_letter
from consumer.deadletters.summary import Summary

# A delivery that is held for 30 minutes closes its channel (the broker's consumer_timeout). A slow walk lets go of all
# letters before that, and begins anew.
PASS_SECONDS = 600.0
# After so many refusals in a row the broker is in trouble, and asking on would not help.
REFUSALS = 3

# What is done to one letter. True: take the letter away. False: not now; let go of everything, and come back to it.
# PublishFailedError leaves the letter where it is.
Act = Callable[[Hold, Held, Letter], Awaitable[bool]]


@dataclass(frozen=True)
class Plan:
    """Exactly which letters are meant, and what they amount to. Letters that arrive later are no part of it.

    `wanted` counts the ids, since a letter that was imported twice is there twice.
    """

    wanted: Counter[str]
    summary: Summary


@dataclass
class Tally:
    """How far an operation has come. `stopped` says why it ended early; `note` what it is waiting for."""

    matched: int
    done: int = 0
    failed: int = 0
    stopped: str | None = None
    note: str | None = None

    @property
    def left(self) -> int:
        """Letters that nothing was done to."""
        return self.matched - self.done - self.failed

    @property
    def complete(self) -> bool:
        """Whether all that was planned is done, and the end of it recorded."""
        return self.done == self.matched and self.stopped is None

    def as_dict(self, operation: str) -> dict[str, object]:
        """The shape that replay, discard and import print with --json."""
        told = {
            "operation": operation,
            "matched": self.matched,
            "done": self.done,
            "failed": self.failed,
            "left": self.left,
        }
        return told if self.stopped is None else told | {"stopped": self.stopped}


@dataclass
class Control:
    """How somebody outside follows a walk and ends it: `stop` is heeded between two letters.

    `tally` is how far it has come, also when an exception ends it.
    """

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tally: Tally = field(default_factory=lambda: Tally(0))
    tell: Callable[[Tally], None] = lambda _: None

    async def sleep(self, seconds: float) -> None:
        """Sleep, but not longer than until `stop`."""
        try:
            async with asyncio.timeout(seconds):
                await self.stop.wait()
        except TimeoutError:
            return


async def plan(desk: Desk, wanted: Filter, limit: int | None = None) -> Plan:
    """The letters that match now, the `limit` that arrived first; none of them is held afterwards."""
    ids: Counter[str] = Counter()
    summary = Summary()
    async with looking(desk, wanted) as look:
        while limit is None or summary.count < limit:
            found = await look.take()
            if found is None:
                break
            ids[found[1].id] += 1
            summary.add(found[1])
        summary.shared = look.shared
    return Plan(ids, summary)


async def sweep(desk: Desk, planned: Plan, act: Act, control: Control, tally: Tally | None = None) -> Tally:
    """Do `act` to each planned letter and take it away; `tally` is kept up to date.

    Letters that are not planned go back in order. One that is no longer there, or that somebody else holds, is left out
    and counts as `left`.
    """
    tally = control.tally = tally or Tally(sum(planned.wanted.values()))
    wanted = Counter(planned.wanted)
    while wanted and tally.stopped is None:
        met = await _one_pass(desk, wanted, act, control, tally)
        if not met and tally.stopped is None:
            tally.stopped = "the others are gone, or held by another look or replay"
    return tally


async def _one_pass(desk: Desk, wanted: Counter[str], act: Act, control: Control, tally: Tally) -> bool:
    """Walk the queue once, for `PASS_SECONDS` at most; whether a wanted letter was met."""
    met = False
    refusals = 0
    until = time.monotonic() + PASS_SECONDS
    async with desk.queue.hold(lasting_headers) as hold:
        while wanted and tally.stopped is None and time.monotonic() < until:
            held = await hold.take()
            if held is None:
                break
            letter = read_letter(held.delivery, desk.read)
            if letter.id not in wanted:
                continue
            met = True
            try:
                taken = not control.stop.is_set() and await act(hold, held, letter)
            except PublishFailedError as error:
                refusals += 1
                tally.failed += 1
                if refusals == REFUSALS or error.unroutable:
                    tally.stopped = f"the broker takes nothing: {error}"
            else:
                if not taken:
                    hold.hurry()
                    break
                refusals = 0
                await hold.ack(held)
                tally.done += 1
            _strike(wanted, letter.id)
            control.tell(tally)
    if wanted and control.stop.is_set():
        tally.stopped = "stopped by the operator"
    return met


def _strike(wanted: Counter[str], identity: str) -> None:
    wanted[identity] -= 1
    if not wanted[identity]:
        del wanted[identity]
