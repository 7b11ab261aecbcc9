"""Carrying out settlements: acknowledged at once, or published elsewhere, confirmed, and only then acknowledged.

A queue that takes no messages must not keep those that would go there in flight, where they take the places of others:
they wait elsewhere meanwhile.
"""

import asyncio
from collections.abc import Awaitable

import structlog

from consumer.adapters.backoff import pause
from consumer.adapters.interruption import sleep_unless
from consumer.adapters.link import LINK_ERRORS
from consumer.adapters.publisher import Publisher, PublishFailedError
from consumer.adapters.refusals import Refusals
from consumer.adapters.session import Session
from consumer.core.settlement import Ack, Move, Return, Settlement, Split

# Pieces of one array that await their confirms at a time.
PUBLISH_WINDOW = 100

log = structlog.get_logger(__name__)


class Settling:
    """Carries out settlements in whatever session their deliveries came. `stopping` cuts pauses short."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        self._failed_publishes = 0
        self.refusals = Refusals()

    async def settle(self, session: Session, tag: int, settlement: Settlement) -> bool:
        """Carry out a settlement; False when the message comes again, before it has come to this end."""
        if session.lost.done():
            return False
        match settlement:
            case Ack():
                session.acks.ack(tag)
            case Return():
                await quietly(session.acks.give_back(tag))
            case Move():
                return await self._move(session, tag, (settlement,))
            case Split(moves):
                return await self._move(session, tag, moves)
        return True

    async def _move(self, session: Session, tag: int, moves: tuple[Move, ...]) -> bool:
        """Publish all, then acknowledge; at the first that is not confirmed give the message back instead."""
        settled = True
        for start in range(0, len(moves), PUBLISH_WINDOW):
            window = moves[start : start + PUBLISH_WINDOW]
            answers = await asyncio.gather(*(self._publish(session, move) for move in window))
            for move, answer in zip(window, answers, strict=True):
                if isinstance(answer, PublishFailedError):
                    log.warning("publish not confirmed", queue=move.queue, why=str(answer))
                    await self._give_back(session, tag)
                    return False
                settled = settled and not answer.unsettled
        self._failed_publishes = 0
        session.acks.ack(tag)
        return settled

    async def _publish(self, session: Session, move: Move) -> Move | PublishFailedError:
        """Publish to the queue, or elsewhere while that takes no messages: which was confirmed, or why neither was."""
        if move.otherwise is None:
            return await self._publish_to(session, move)
        if not self.refusals.avoids(move.queue):
            answer = await self._publish_to(session, move)
            if isinstance(answer, Move) or session.lost.done():
                return answer
        return await self._publish_to(session, move.otherwise)

    async def _publish_to(self, session: Session, move: Move) -> Move | PublishFailedError:
        publisher = session.publisher
        try:
            await publisher.publish(move.body, move.headers, move.properties, routing_key=move.queue)
        except PublishFailedError as error:
            if error.unroutable:
                session.lose(f"queue {move.queue!r} is gone")
            elif session.publisher is not publisher:  # replaced meanwhile, for another message's sake
                return await self._publish_to(session, move)
            elif error.refused and not session.blocked:
                await self._note_refusal(session, publisher, move.queue, error)
            return error
        if self.refusals.note_accepted(move.queue):
            log.info("queue takes messages again", queue=move.queue)
        return move

    async def _note_refusal(self, session: Session, publisher: Publisher, queue: str, error: Exception) -> None:
        if self.refusals.note_refused(queue):
            log.warning("queue takes no messages", queue=queue, why=str(error))
            await session.replace_publisher(publisher)

    async def _give_back(self, session: Session, tag: int) -> None:
        """Return a message to its queue, ever more slowly: the broker counts each return, up to its delivery limit."""
        wait = pause(self._failed_publishes)
        self._failed_publishes += 1
        await sleep_unless(self._stopping, wait)
        await quietly(session.acks.give_back(tag))


async def quietly(giving_back: Awaitable[None]) -> None:
    """Wait for an answer to the broker that a lost link makes needless."""
    try:
        await giving_back
    except LINK_ERRORS:
        return  # the session is lost, and the message comes again
