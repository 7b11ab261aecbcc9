"""Dead letters out to lines of JSON, and back in, here or at another broker."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from consumer.adapters.publisher import Publisher, PublishFailedError
from consumer.core.delivery import Delivery
from consumer.deadletters.audit import Audit
from consumer.deadletters.browse import Desk, looking
from consumer.deadletters.envelope import EnvelopeError, read_envelope, write_envelope
from consumer.deadletters.filters import Filter
from consumer.deadletters.letter import Letter, read_letter
from consumer.deadletters.summary import Summary
from consumer.deadletters.sweep import Control, Tally

# Confirms awaited at a time. After a crash in between, a second import passes over what the first brought in.
WINDOW = 100


async def export(desk: Desk, wanted: Filter, limit: int | None, write: Callable[[str], object]) -> Tally:
    """Write a line for each letter that matches, the `limit` that arrived first; they stay where they are.

    `stopped` says so if some may be missing.
    """
    tally = Tally(0)
    async with looking(desk, wanted) as look:
        while limit is None or tally.done < limit:
            found = await look.take()
            if found is None:
                break
            held, letter = found
            write(write_envelope(held.delivery, letter))
            tally.matched = tally.done = tally.done + 1
        if look.shared:
            tally.stopped = "somebody else holds some of the dead letters just now: those are not in it"
    return tally


@dataclass(frozen=True)
class ImportPlan:
    """What an import would bring in, and the ids that are in the queue already and would be passed over.

    `shared`: somebody else holds letters, so that more of them may be there.
    """

    summary: Summary
    present: frozenset[str]
    shared: bool


async def plan_import(desk: Desk, lines: Callable[[], Iterable[bytes]]) -> ImportPlan:
    """Read all lines, once to know the ids and once to sum up; EnvelopeError names a line that is no letter."""
    ids = {letter.id for _, letter in letters_in(lines(), desk)}
    present = set()
    async with looking(desk, Filter(ids=frozenset(ids))) as look:
        async for _, letter in look:
            present.add(letter.id)
    summary = Summary()
    for _, letter in letters_in(lines(), desk):
        if letter.id not in present:
            summary.add(letter)
    return ImportPlan(summary, frozenset(present), look.shared)


async def import_letters(
    desk: Desk, planned: ImportPlan, lines: Iterable[bytes], audit: Audit, control: Control
) -> Tally:
    """Publish the letters that are not there yet to the dead-letter queue, each confirmed.

    Raises AuditError, EnvelopeError or one of LINK_ERRORS.
    """
    tally = control.tally = Tally(planned.summary.count)
    publisher = await desk.queue.publisher()
    batch: list[tuple[Delivery, Letter]] = []
    try:
        for delivery, letter in letters_in(lines, desk):
            if control.stop.is_set():
                tally.stopped = "stopped by the operator"
                break
            if letter.id in planned.present:
                continue
            batch.append((delivery, letter))
            if len(batch) == WINDOW:
                await _publish(desk, publisher, batch, audit, tally)
                control.tell(tally)
            if tally.stopped is not None:
                break
        await _publish(desk, publisher, batch, audit, tally)
    finally:
        await publisher.close()
    control.tell(tally)
    return tally


def letters_in(lines: Iterable[bytes], desk: Desk) -> Iterator[tuple[Delivery, Letter]]:
    """The messages and letters of exported lines; blank ones are passed over."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            delivery = read_envelope(line)
        except EnvelopeError as error:
            raise EnvelopeError(f"line {number}: {error}") from error
        yield delivery, read_letter(delivery, desk.read)


async def _publish(
    desk: Desk, publisher: Publisher, batch: list[tuple[Delivery, Letter]], audit: Audit, tally: Tally
) -> None:
    """Publish `batch` and empty it. When nothing of it is confirmed, more would not be either: `stopped` says so."""
    target = desk.queue.queues.dead
    for _, letter in batch:
        audit.letter(letter)
    ends = await asyncio.gather(
        *(publisher.publish(each.body, each.headers, each.properties, routing_key=target) for each, _ in batch),
        return_exceptions=True,
    )
    batch.clear()
    refused = [end for end in ends if isinstance(end, PublishFailedError)]
    tally.failed += len(refused)
    tally.done += sum(end is None for end in ends)
    for end in ends:
        if isinstance(end, BaseException) and not isinstance(end, PublishFailedError):
            raise end
    if refused and len(refused) == len(ends):
        tally.stopped = f"the broker takes nothing: {refused[0]}"
