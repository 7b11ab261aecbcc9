"""One run of the model: the real consumer, the model's broker, and at each step the choices that are open.

Whatever the outside world decides (an answer of the API, a confirm, a lost session, a kill) is a choice. Between two
choices everything runs that can run, so that a list of choices always leads to the same state.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from consumer.adapters.rabbit import Handled, Rabbit
from consumer.adapters.refusals import PROBE_SECONDS, Refusals
from consumer.core.delivery import Delivery, read_journey
from consumer.core.headers import Headers
from consumer.core.outcome import Dead, DeadReason, Retry, RetryReason, escalate
from consumer.core.settlement import Ack, Routes, Settlement, Subject
from tests.settlement.broker import LADDER, QUEUES, WAITING, Broker
from tests.settlement.client import ModelPublisher, ModelSession
from tests.settlement.loop import StepLoop

NOW = 1_800_000_000.0
ROUTES = Routes(QUEUES, LADDER)
# What the handling of an order does, by the first letter of its name; every other order is good.
KILLER, RAISER, MALFORMED = POISON = ("K", "R", "M")

Choice = tuple[object, ...]


@dataclass(frozen=True)
class Scenario:
    """`faults`: how many of each kind may happen. `orders`: their names, see KILLER and the others.

    No program could keep an order from the limit that is in flight at each of `limit` kills: it knows nothing of its
    past. So nothing kills the process while a good order has used up its returns, and then no session is lost either,
    unless the process has seen all of these returns and could have moved the order away (see `_spares`).
    """

    orders: tuple[str, ...]
    faults: Mapping[str, int]
    limit: int = 3
    prefetch: int = 2
    refusable: tuple[str, ...] = ()


@dataclass
class Asked:
    """A question to the outside world that waits for its answer."""

    kind: str  # "handle" or "publish"
    name: str
    answer: "asyncio.Future[str]"
    process: Rabbit
    publisher: ModelPublisher | None = None
    headers: Headers = field(default_factory=Headers)
    queue: str = ""
    id: str | None = None  # of the message that is handled
    doomed: bool = False  # the answer will not arrive


class World:
    """See the module. `posted` are the orders that reached the API; `unconfirmed` counts copies nobody knows of."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.loop = StepLoop()
        self.broker = Broker(scenario.orders, scenario.limit)
        self.left = Counter(scenario.faults)
        self.killed = False
        self.posted: set[str] = set()
        self.unconfirmed: Counter[str] = Counter()
        self.asked: list[Asked] = []
        self.session: ModelSession | None = None
        self.draining: asyncio.Task[object] | None = None
        self.clock = 0.0
        self.rabbit = self._new_process()
        self.apply(("open",))

    # The consumer's surroundings

    async def handle(self, delivery: Delivery) -> Handled:
        """As the pipeline does, with the outcome as a choice."""
        journey = read_journey(delivery, NOW)
        if left := ROUTES.wait_left(journey):
            return ROUTES.park_again(delivery, left), _nothing
        name = delivery.body.decode()
        future = self.loop.create_future()
        answer = await self._ask(Asked("handle", name, future, self.rabbit, id=delivery.message_id))
        match answer:
            case "post":
                self.posted.add(name)
                return Ack(), _nothing
            case "untried":
                return ROUTES.hand_back(delivery, journey), _nothing
            case "malformed":
                return self._settle(delivery, Dead(DeadReason.MALFORMED, "malformed")), _nothing
            case "retry":
                return self._settle(delivery, _retry(delivery, RetryReason.UNAVAILABLE)), _nothing
            case _:
                raise RuntimeError("a bug")

    async def escaped(self, delivery: Delivery, _: Exception) -> Handled:
        return self._settle(delivery, _retry(delivery, RetryReason.BUG)), _nothing

    def hand_back(self, delivery: Delivery) -> Handled:
        return ROUTES.hand_back(delivery, read_journey(delivery, NOW)), _nothing

    async def ask_broker(self, publisher: ModelPublisher, name: str, headers: Headers, queue: str) -> str:
        """What becomes of a publish."""
        future = self.loop.create_future()
        return await self._ask(Asked("publish", name, future, self.rabbit, publisher, headers, queue))

    def doom(self, publisher: ModelPublisher | None = None) -> None:
        """The confirms of this publisher, or of all, will not arrive."""
        for each in self.asked:
            each.doomed = each.doomed or publisher is None or each.publisher is publisher

    # Choices

    def choices(self) -> list[Choice]:
        """Everything that may happen next."""
        return [*self._answers(), *self._faults(), *self._recoveries()]

    def _answers(self) -> Iterator[Choice]:
        for number, each in enumerate(self.asked):
            for answer in self._possible(each):
                yield "answer", number, answer

    def _possible(self, asked: Asked) -> Iterator[str]:
        if asked.kind == "handle":
            match asked.name[0]:
                case "K":
                    yield from ("kill",) if self._spares(kill=True) else ()
                case "R":
                    yield "raise"
                case "M":
                    yield "malformed"
                case _:
                    yield "post"
                    yield from (fault for fault in ("retry", "untried") if self.left[fault])
        elif asked.doomed:
            yield from ("lost", "stored, lost") if self._takes(asked) else ("lost",)
        else:
            takes = self._takes(asked)
            yield "confirm" if takes else "nack"
            if self.left["silent"]:
                yield from ("silent", "stored, silent") if takes else ("silent",)

    def _takes(self, asked: Asked) -> bool:
        assert asked.publisher is not None
        return asked.queue not in self.broker.refusing | asked.publisher.cursed

    def _faults(self) -> Iterator[Choice]:
        session = self.session
        if session is not None and not session.lost.done():
            if self.left["lose"] and self._spares(kill=False):
                yield ("lose",)
            if self.draining is None and self.left["terminate"]:
                yield ("terminate",)
            if self.left["kill"] and self._spares(kill=True):
                yield ("kill",)
        if self.left["refuse"] and not self.broker.refusing:
            yield from (("refuse", queue) for queue in self.scenario.refusable)

    def _spares(self, *, kill: bool) -> bool:
        """Whether the session's end brings no good order to the limit that could not have been moved away."""
        last = {each.id for each in self.broker.unacked.values() if each.count == self.broker.limit}
        if not kill and not self.killed:
            last -= {each.id for each in self.asked if not each.doomed}
        return all(each[0] in POISON for each in last)

    def _recoveries(self) -> Iterator[Choice]:
        if self.session is None and self.draining is None:
            yield ("open",)
        yield from (("accept", queue) for queue in sorted(self.broker.refusing))
        if self.loop.timers:
            yield ("pause ends",)
        if self._avoids():
            yield ("time passes",)
        yield from (("expire", queue) for queue in WAITING if self.broker.queues[queue])

    def apply(self, choice: Choice) -> None:
        """Let one thing happen, and everything that follows from it by itself."""
        asyncio._set_running_loop(cast("Any", self.loop))
        try:
            self._begin(choice)
            self._run()
        finally:
            asyncio._set_running_loop(None)

    def _begin(self, choice: Choice) -> None:
        match choice:
            case ("answer", int(number), str(answer)):
                self._answer(self.asked.pop(number), answer)
            case ("lose",):
                self._use("lose")
                self._lose("connection lost")
            case ("terminate",):
                self._use("terminate")
                self.draining = self.loop.create_task(self.rabbit.drain(0.0))
            case ("kill",):
                self._use("kill")
                self._kill()
            case ("open",):
                self.session = self.rabbit._session = ModelSession(self, self.scenario.prefetch)
            case ("pause ends",):
                self.loop.fire_timer()
            case ("time passes",):
                self.clock += PROBE_SECONDS
            case (str(what), str(queue)):
                self._begin_at_queue(what, queue)

    def _begin_at_queue(self, what: str, queue: str) -> None:
        match what:
            case "refuse":
                self._use("refuse")
                self.broker.refusing.add(queue)
            case "accept":
                self.broker.accept(queue)
            case "expire":
                self.broker.expire(queue)

    def _answer(self, asked: Asked, answer: str) -> None:
        if answer == "kill":
            self._kill()
            return
        if (fault := answer.removeprefix("stored, ")) in self.left:
            self._use(fault)
        if answer in {"confirm", "stored, silent", "stored, lost"}:
            self.broker.store(asked.queue, asked.name, asked.headers)
        if answer.startswith("stored"):
            self.unconfirmed[asked.name] += 1
        if answer == "nack" and asked.publisher is not None:
            asked.publisher.cursed.add(asked.queue)
        if asked.process is self.rabbit:
            asked.answer.set_result(answer)

    def _use(self, fault: str) -> None:
        self.left[fault] -= 1
        assert self.left[fault] >= 0

    def _lose(self, why: str) -> None:
        """The session is gone: what was in flight returns, and confirms that are under way do not arrive."""
        session, self.session = self.session, None
        assert session is not None
        session.lose(why)
        self.rabbit._note_innocent()  # as `_until_lost` does
        self.broker.consumer_gone()
        self.doom()

    def _kill(self) -> None:
        """The process is gone, and another one starts."""
        self.killed = True
        if self.session is not None:
            self._lose("killed")
        self.asked = [each for each in self.asked if each.kind == "publish"]
        self.loop.timers.clear()
        self.draining = None
        self.rabbit = self._new_process()

    def _new_process(self) -> Rabbit:
        rabbit = Rabbit("amqp://", cast("Any", None), prefetch=self.scenario.prefetch, create=False, handler=self)
        self.refusals = rabbit.settling.refusals = Refusals(lambda: self.clock)
        return rabbit

    def _run(self) -> None:
        self.loop.run_ready()
        if self.draining is not None and self.draining.done():
            self._kill()
        session = self.session
        if session is not None and session.lost.done():
            self._lose("given up by the consumer")
        while session is self.session and session is not None and self._has_room(session):
            tag, message = self.broker.deliver()
            session.acks.delivered(tag)
            self.rabbit._receive(session, tag, message.delivery())
            self.loop.run_ready()
        self.asked.sort(key=lambda each: (each.kind, each.name, each.queue, each.doomed))  # cancelled in any order

    def _has_room(self, session: ModelSession) -> bool:
        return bool(self.broker.main) and len(self.broker.unacked) < session.prefetch and not session.lost.done()

    async def _ask(self, asked: Asked) -> str:
        self.asked.append(asked)
        try:
            return await asked.answer
        except asyncio.CancelledError:
            self.asked = [each for each in self.asked if each is not asked]
            raise

    def _settle(self, delivery: Delivery, outcome: Retry | Dead) -> Settlement:
        journey = read_journey(delivery, NOW)
        return ROUTES.settle(delivery, journey, Subject(), outcome, now=NOW, letter_id="id")

    def _avoids(self) -> bool:
        """Whether a queue is left alone until some time has passed."""
        return any(self.clock < self.refusals._next_probe[queue] for queue in self.refusals.refusing)


def _retry(delivery: Delivery, reason: RetryReason) -> Retry | Dead:
    journey = read_journey(delivery, NOW)
    return escalate(Retry(reason, journey.attempt + 1), LADDER, journey.attempt, journey.waited, 0.5)


def _nothing() -> None:
    """Count nothing."""
