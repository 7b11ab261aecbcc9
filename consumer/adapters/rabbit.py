"""Consuming from RabbitMQ: every delivery is handed to a handler and settled as the handler says, exactly once.

The only place that acknowledges. What is to go to another queue is published, confirmed by the broker, and only then
acknowledged; without a confirm the message goes back to its queue, after a pause. A lost link is opened anew, whole,
for as long as it takes.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from consumer.adapters.backoff import pause
from consumer.adapters.interruption import sleep_unless, unless
from consumer.adapters.link import LINK_ERRORS, cancelled_by_us, describe
from consumer.adapters.session import Session
from consumer.adapters.settling import Settling, quietly
from consumer.adapters.topology import Topology, TopologyError
from consumer.core.delivery import Delivery, times_returned
from consumer.core.settlement import Move, Settlement

# Where a delivery goes, and what to call once that has been carried out.
Handled = tuple[Settlement, Callable[[], None]]


class Handler(Protocol):
    """Decides where deliveries go."""

    async def handle(self, delivery: Delivery) -> Handled:
        """Where the delivery goes."""

    async def escaped(self, delivery: Delivery, error: Exception) -> Handled:
        """Where it goes after an unexpected error while it was handled or settled."""

    def hand_back(self, delivery: Delivery) -> Handled:
        """Where it goes untried: back into its queue, or to wait where returns are not counted."""


# The pauses between two sessions begin anew after one that lasted so long: nothing spins.
LONG_SECONDS = 30.0
# Deliveries that are remembered from lost links: more than may be in flight.
MOST_INNOCENT = 10_000
OPEN_TIMEOUT = 60.0
# How often it is looked whether the broker has raised an alarm, which it tells the publishing connection.
ALARM_SECONDS = 1.0
# A publish under way ends with its confirm or after publisher.CONFIRM_TIMEOUT; this is a little more.
SETTLE_TIMEOUT = 20.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of the orders that were in flight when the drain began."""

    finished: int
    returned: int


class Rabbit:
    """The consumer of one queue. `run` until `drain`, then `close`."""

    def __init__(self, url: str, wanted: Topology, *, prefetch: int, create: bool, handler: Handler) -> None:
        self._url, self._wanted = url, wanted
        self._prefetch, self._create, self._handler = prefetch, create, handler
        self.session_lost: Callable[[], None] = lambda: None  # called for each session that was lost
        self.settling_failed: Callable[[], None] = lambda: None  # called for each unexpected error
        self.uncompared: Callable[[list[str]], None] = lambda _: None  # called with queues that may not be compared
        self._innocent: dict[bytes, None] = {}  # what was in flight when a link was lost, by `_identity`, oldest first
        self._changed = asyncio.Event()
        self._session: Session | None = None
        self._in_flight: dict[asyncio.Task[None], Delivery] = {}
        self._handling: set[asyncio.Task[None]] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self.settling = Settling(self._stopping)

    @property
    def linked(self) -> bool:
        """Whether the link to the broker stands."""
        return self._session is not None and not self._session.lost.done() and not self._stopping.is_set()

    @property
    def consuming(self) -> bool:
        """Whether the broker has confirmed our consumer, and nothing has ended it since."""
        return self._session is not None and self.linked and self._session.prefetch > 0

    @property
    def blocked(self) -> bool:
        """Whether the broker takes no publishes now, because of an alarm."""
        return self._session is not None and self._session.blocked

    @property
    def waiting(self) -> int:
        """Messages ready in the main queue, when that was last looked at."""
        return self._session.messages if self._session is not None else 0

    def want(self, prefetch: int) -> None:
        """Take at most so many deliveries at a time from now on; 0 pauses the consumption."""
        self._prefetch = prefetch
        self._changed.set()

    @property
    def in_flight(self) -> int:
        """Deliveries that are being handled or settled."""
        return len(self._handling) + len(self._settling)

    async def run(self) -> None:
        """Consume until `drain` is called. Raises TopologyError if the queues do not fit at the start.

        Nothing else ends it: whatever a session dies of, another one is opened.
        """
        failures = 0
        while not self._stopping.is_set():
            begun = time.monotonic()
            problem = await self._one_life()
            if self._stopping.is_set():
                return
            if time.monotonic() - begun > LONG_SECONDS:
                failures = 0
            wait = pause(failures)
            failures += 1
            if problem:
                log.warning("broker not usable", why=problem, retry_in_seconds=round(wait, 1))
            await sleep_unless(self._stopping, wait)

    async def drain(self, grace: float) -> Drained:
        """Take no more deliveries, give those in flight `grace` seconds to end, give the rest back untried."""
        self._stopping.set()
        if self._session is not None:
            await self._session.stop_consuming()
        begun = self.in_flight
        if self._handling:
            await asyncio.wait(self._handling, timeout=grace)
        returned = len(self._handling)
        for task in self._handling:
            task.cancel()
        if pending := self._handling | self._settling:
            await asyncio.wait(pending, timeout=SETTLE_TIMEOUT)
        if self._session is not None:
            await self._session.acks.flush()
        return Drained(begun - returned, returned)

    async def close(self) -> None:
        """Close the link."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _one_life(self) -> str:
        """Open a session and consume until it is lost; why that was impossible, or "" when it has been told."""
        try:
            session = await self._open_unless_stopped()
            if session is not None:
                await self._consume(session)
        except TopologyError as error:
            if self._session is None:
                raise
            return str(error)
        except LINK_ERRORS as error:
            return describe(error)
        except (Exception, asyncio.CancelledError) as error:  # a library may leak the latter
            if cancelled_by_us():
                raise
            log.exception("bug", in_flight=self.in_flight)
            return f"a bug of ours, {describe(error)}"
        return ""

    async def _open_unless_stopped(self) -> Session | None:
        """A session; None when a drain began meanwhile, which must not wait for a broker that does not answer."""
        session = await unless(self._stopping, self._open())
        if session is not None and self._stopping.is_set():
            await session.close()
            return None
        return session

    async def _open(self) -> Session:
        async with asyncio.timeout(OPEN_TIMEOUT):
            return await Session.open(
                self._url,
                self._wanted,
                prefetch=self._prefetch,
                create=self._create,
                on_delivery=self._receive,
                uncompared=self.uncompared,
            )

    async def _consume(self, session: Session) -> None:
        told, again = "consuming" if session.prefetch else "paused", self._session is not None
        self._session = session
        log.info(told, queue=self._wanted.main.name, prefetch=session.prefetch, again=again)
        try:
            await self._until_lost(session)
        finally:
            if not self._stopping.is_set():  # else drain() still needs the session, and close() closes it
                await session.close()

    async def _until_lost(self, session: Session) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not (session.lost.done() or stopping.done()):
                changed = asyncio.ensure_future(self._changed.wait())
                ends: list[asyncio.Future[Any]] = [session.lost, stopping, changed]
                await asyncio.wait(ends, timeout=ALARM_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                self._changed.clear()
                if not (session.lost.done() or stopping.done()):
                    await self._adjust(session)
        finally:
            stopping.cancel()
        self._note_innocent()
        if not self._stopping.is_set():
            self.session_lost()
            log.warning("broker lost", why=session.lost.result(), in_flight=self.in_flight)

    async def _adjust(self, session: Session) -> None:
        """Bring the consumer in line with what is wanted, and with an alarm at the broker."""
        was_blocked, blocked = session.blocked, await session.look_for_alarm()
        if blocked != was_blocked:
            tell = log.warning if blocked else log.info
            tell("broker takes no publishes, consumption pauses" if blocked else "broker takes publishes again")
        prefetch = 0 if blocked else self._prefetch
        if self._stopping.is_set() or prefetch == session.prefetch:  # a drain may have begun during the look
            return
        try:
            await session.consume(prefetch)
        except LINK_ERRORS as error:
            session.lose(describe(error))
            return
        if session.prefetch == prefetch:  # else a drain came in between, and the session took no new consumer
            log.info("consuming" if prefetch else "paused", queue=self._wanted.main.name, prefetch=prefetch, again=True)

    def _receive(self, session: Session, tag: int, delivery: Delivery) -> None:
        task = asyncio.create_task(self._work(session, tag, delivery))
        self._in_flight[task] = delivery
        self._handling.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._handling.discard(task)
        self._settling.discard(task)
        del self._in_flight[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._note(error)

    def _note(self, error: BaseException) -> None:
        """Log and count an error that nothing was prepared for."""
        log.error("unexpected error while settling", exc_info=error)
        self.settling_failed()

    async def _work(self, session: Session, tag: int, delivery: Delivery) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task; this is for the type checker
        try:
            settlement, settled = self._returned_by_us(delivery) or await self._handler.handle(delivery)
        except asyncio.CancelledError as error:
            if cancelled_by_us():
                await self._hand_back(session, tag, delivery)
                raise
            self._move_to_settling(task)
            await self._escape(session, tag, delivery, _as_exception(error))
        except Exception as error:  # noqa: BLE001 - see _escape
            self._move_to_settling(task)
            await self._escape(session, tag, delivery, error)
        else:
            self._move_to_settling(task)
            await self._finish(session, tag, delivery, settlement, settled)

    async def _finish(
        self, session: Session, tag: int, delivery: Delivery, settlement: Settlement, settled: Callable[[], None]
    ) -> None:
        try:
            done = await self.settling.settle(session, tag, settlement)
        except (Exception, asyncio.CancelledError) as error:  # a library may leak the latter
            if cancelled_by_us():
                raise
            await self._escape(session, tag, delivery, _as_exception(error))
            return
        if done:
            settled()

    def _note_innocent(self) -> None:
        """Remember what is in flight when a link is lost, also what is handled for longer than the next one lasts."""
        self._innocent |= dict.fromkeys(map(_identity, self._in_flight.values()))
        while len(self._innocent) > MOST_INNOCENT:
            del self._innocent[next(iter(self._innocent))]

    def _returned_by_us(self, delivery: Delivery) -> Handled | None:
        """Where a delivery goes whose returns would add up to the queue's limit though it has killed nothing.

        Each link that is lost returns all that is in flight, and the broker cannot tell that from a consumer that the
        message kills. This process can: it is still there.
        """
        if not times_returned(delivery) or _identity(delivery) not in self._innocent:
            return None
        handled = self._handler.hand_back(delivery)
        return handled if isinstance(handled[0], Move) else None

    async def _hand_back(self, session: Session, tag: int, delivery: Delivery) -> None:
        """Return a delivery that was not tried, or move it to where returns are not counted."""
        settlement, _ = self._handler.hand_back(delivery)
        await self.settling.settle(session, tag, settlement)

    async def _escape(self, session: Session, tag: int, delivery: Delivery, error: Exception) -> None:
        """End a delivery on which our own code failed: no error may loop, stay silent, or keep a place in flight.

        It costs the delivery a try. Where even that fails, the broker moves it to the dead letters as it came.
        """
        self._note(error)
        try:
            settlement, settled = await self._handler.escaped(delivery, error)
            if await self.settling.settle(session, tag, settlement):
                settled()
        except (Exception, asyncio.CancelledError) as second:
            if cancelled_by_us():
                raise
            self._note(second)
            await quietly(session.acks.dead_letter(tag))

    def _move_to_settling(self, task: asyncio.Task[None]) -> None:
        """From here on a shutdown waits for the task instead of cancelling it."""
        self._handling.discard(task)
        self._settling.add(task)


def _identity(delivery: Delivery) -> bytes:
    """What stays with a message when it is delivered again."""
    return hashlib.sha256(f"{delivery.message_id}|".encode("utf-8", "backslashreplace") + delivery.body).digest()


def _as_exception(error: BaseException) -> Exception:
    """The error, or for a cancellation that a library has leaked, one that says so."""
    return error if isinstance(error, Exception) else RuntimeError("cancelled by a library")
