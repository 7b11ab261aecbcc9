"""Proof that retry queues hand their messages on, for a user whom the broker does not let compare their arguments.

A retry queue that others have declared without dead-lettering drops every order put into it. Until it is proven no
order is put there (`RungProof.detour`), and if it fails the program refuses to go on. The management API shows the
arguments, if RABBITMQ_MANAGEMENT_URL is set. Otherwise each queue gets a probe: an empty message that must come back to
the main queue when the queue's delay is over. Whichever consumer of the main queue receives a probe answers it, whoever
sent it, by a message to the sender's reply queue (RabbitMQ's direct reply-to, which takes no right to configure), and
acknowledges it. So the answer arrives however many replicas there are, and a probe whose sender is gone leaves nothing.

How long a probe waits in the main queue depends on what lies before it. It counts as lost when a second one, put into
the main queue after the first was due there, is answered and the first is not.
"""

import asyncio
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace

import structlog
from aiormq.abc import AbstractChannel, DeliveredMessage

from consumer.adapters.backoff import pause
from consumer.adapters.link import (
    LINK_ERRORS,
    RPC_TIMEOUT,
    connect,
    describe,
    open_channel,
    own_cancellation,
    virtual_host,
)
from consumer.adapters.management import Management, ManagementError
from consumer.adapters.publisher import Publisher, PublishFailedError
from consumer.adapters.topology import Topology, TopologyError, compare_arguments
from consumer.core.delivery import PROBE, WAIT_LEFT, Delivery, Properties, milliseconds, read_journey
from consumer.core.settlement import Move, Settlement

REPLY_TO = "amq.rabbitmq.reply-to"
# For a message whose delay is over to reach the main queue, and for answers to overtake each other.
PATIENCE_SECONDS = 5.0
# A probe that is answered in a smaller part of its delay has not waited for it: clocks tick a little differently.
EARLIEST = 0.9
# Probes of one queue that must be lost before it counts as broken: one may fall victim to a purge or an older version.
PROBES = 2
# A probe in the main queue is sent again after so long: whoever received it may have died before the answer.
AGAIN_SECONDS = 60.0
# How long an order is kept that has no proven retry queue to wait in.
DETOUR_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Probe:
    """A message that only asks to be answered: `token` goes to `reply_to`."""

    token: str
    reply_to: str


def read_probe(delivery: Delivery) -> Probe | None:
    """The probe in a delivery; None if it is anything else. What has a body is never taken for a probe."""
    if delivery.exchange or delivery.body or not delivery.headers:
        return None
    token, reply_to = delivery.headers.get(PROBE), delivery.properties.reply_to or ""
    if not isinstance(token, str) or not reply_to.startswith(REPLY_TO):
        return None
    return Probe(token, reply_to)


Answers = dict[str, "asyncio.Future[float]"]  # by token; the loop's time of the answer


def _answered(answers: Answers, token: str) -> bool:
    answer = answers.pop(token, None)
    if answer is not None and not answer.done():
        answer.set_result(asyncio.get_running_loop().time())
    return answer is not None


class Prober:
    """Sends probes on a channel of its own, and gets the answers there."""

    def __init__(self, channel: AbstractChannel, main: str, answers: Answers) -> None:
        self._channel, self._main, self._answers = channel, main, answers
        self._publisher = Publisher(channel)

    async def start(self) -> None:
        """Receive answers from now on."""
        await self._channel.basic_consume(REPLY_TO, self._receive, no_ack=True, timeout=RPC_TIMEOUT)

    async def send(self, queue: str) -> "asyncio.Future[float]":
        """Put a probe into `queue`; done when it is answered. Raises PublishFailedError."""
        token = uuid.uuid4().hex
        answer = self._answers[token] = asyncio.get_running_loop().create_future()
        await self._publisher.publish(b"", {PROBE: token}, Properties(reply_to=REPLY_TO), routing_key=queue)
        return answer

    async def wait(self, answer: "asyncio.Future[float]", seconds: float) -> bool:
        """Whether it is answered within so long. ConnectionResetError when answers cannot arrive any more."""
        closing = self._channel.closing
        await asyncio.wait({answer, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if closing.done():
            raise ConnectionResetError("connection lost while a probe was awaited")
        return answer.done()

    async def main_is_read_past_now(self) -> None:
        """Wait until what the main queue holds now has been delivered, for as long as that takes."""
        while not await self.wait(await self.send(self._main), AGAIN_SECONDS):
            log.info("retry queues are not proven yet", why=f"{self._main} is not read to its end")

    async def _receive(self, message: DeliveredMessage) -> None:
        _answered(self._answers, message.body.decode("ascii", "replace"))


class RungProof:
    """Which retry queues may be used. All may, until `suspect` names some that are to be proven by `run`."""

    def __init__(self, url: str, wanted: Topology, management_url: str | None = None) -> None:
        self._url, self._wanted, self._main, self._management_url = url, wanted, wanted.main.name, management_url
        self.patience = PATIENCE_SECONDS
        self._rungs = {
            queue.name: ttl / 1000
            for queue in wanted.queues
            if isinstance(ttl := queue.arguments.get("x-message-ttl"), int)
        }
        self._hidden: set[str] = set()  # every queue that was ever suspected
        self._unproven: dict[str, float] = {}  # seconds of those that may not be used
        self._suspected = asyncio.Event()
        self._answers: Answers = {}

    async def answer(self, probe: Probe) -> None:
        """Answer a probe, from whatever replica it comes; a sender that gets no answer sends another.

        On a connection of its own: RabbitMQ 3.10 closes one that publishes to a reply queue of a node that is gone.
        """
        if _answered(self._answers, probe.token):
            return
        try:
            with own_cancellation():
                async with await connect(self._url, f"neuroon-consumer {self._main} answers") as connection:
                    publisher = await Publisher.open(connection)
                    await publisher.publish(
                        probe.token.encode(), {}, Properties(), routing_key=probe.reply_to, mandatory=False
                    )
        except (PublishFailedError, *LINK_ERRORS) as error:
            log.info("probe not answered", why=str(error) if isinstance(error, PublishFailedError) else describe(error))

    def suspect(self, queues: Iterable[str]) -> None:
        """Do not use the retry queues among these before they are proven. What was proven before stays so."""
        new = set(queues) - self._hidden
        if new:
            self._hidden |= new
            self._unproven |= {name: seconds for name, seconds in self._rungs.items() if name in new}
            self._suspected.set()

    async def run(self) -> None:
        """Prove what is suspected, for as long as the program runs. TopologyError for a queue that fails."""
        failures = 0
        while True:
            await self._suspected.wait()
            self._suspected.clear()
            try:
                await self._compare()
                if self._unproven:
                    with own_cancellation():
                        await self._probe()
                failures = 0
            except (PublishFailedError, *LINK_ERRORS) as error:
                wait = pause(failures)
                failures += 1
                why = str(error) if isinstance(error, PublishFailedError) else describe(error)
                log.warning("retry queues cannot be proven yet", why=why, retry_in_seconds=round(wait, 1))
                await asyncio.sleep(wait)
                self._suspected.set()

    async def detour(self, settlement: Settlement) -> Settlement:
        """Where an order waits instead of an unproven queue: a shorter one that is proven, else the main queue.

        From there it is sent on for the rest, as orders are whose wait no single queue matches. Without any proven
        queue it is kept for a second, so that it does not go around as fast as the broker can.
        """
        if not isinstance(settlement, Move) or settlement.queue not in self._unproven:
            return self.around(settlement)
        if self._proven_within(settlement.queue) is not None:
            return self.around(settlement)
        await asyncio.sleep(DETOUR_SECONDS)
        return self.around(settlement, DETOUR_SECONDS)

    def around(self, settlement: Settlement, spent: float = 0.0) -> Settlement:
        """As `detour`, at once; `spent` seconds of its wait are over."""
        if not self._unproven or not isinstance(settlement, Move):
            return settlement
        move, otherwise = settlement, settlement.otherwise
        if otherwise is not None and otherwise.queue in self._unproven:
            move = replace(move, otherwise=self._elsewhere(otherwise, spent))
        return self._elsewhere(move, spent) if move.queue in self._unproven else move

    def _elsewhere(self, move: Move, spent: float) -> Move:
        """The same wait in a queue that may be used, and the rest of it after that."""
        target = self._proven_within(move.queue)
        left = read_journey(Delivery(b"", headers=move.headers), 0.0).wait_left + self._rungs[move.queue] - spent
        if target is not None:
            left -= self._rungs[target]
        return replace(
            move, queue=target or self._main, headers=move.headers | {WAIT_LEFT: milliseconds(max(0.0, left))}
        )

    def _proven_within(self, queue: str) -> str | None:
        """The longest queue that may be used and is not longer than `queue`; None if there is none."""
        seconds = self._rungs[queue]
        usable = {name: rung for name, rung in self._rungs.items() if name not in self._unproven and rung <= seconds}
        return max(usable, key=lambda name: usable[name], default=None)

    async def _compare(self) -> None:
        """Compare what AMQP hides with what the management API shows; what that does not show stays unproven."""
        if self._management_url is None:
            return
        try:
            async with Management(self._management_url, virtual_host(self._url)) as api:
                for queue in self._wanted.queues:
                    found = await api.queue(queue.name) if queue.name in self._hidden else None
                    if found is not None:
                        compare_arguments(queue, found.get("arguments") or {})
                        self._unproven.pop(queue.name, None)
        except ManagementError as error:
            log.warning("queues cannot be compared by the management API either", why=str(error))

    async def _probe(self) -> None:
        """Probe all that is unproven at once; the shortest are done first."""
        rungs = sorted(self._unproven.items(), key=lambda rung: rung[1])
        self._answers.clear()  # those to the probes of an earlier connection
        loop = asyncio.get_running_loop()
        async with await connect(self._url, f"neuroon-consumer {self._main} probes") as connection:
            prober = Prober(await open_channel(connection, confirms=True), self._main, self._answers)
            await prober.start()
            sent = {name: (loop.time(), await prober.send(name)) for name, _ in rungs}
            log.info("probing retry queues", queues=list(sent))
            for name, seconds in rungs:
                await self._probe_one(prober, name, seconds, *sent[name])
                del self._unproven[name]
                log.info("retry queue proven", queue=name)

    async def _probe_one(
        self, prober: Prober, name: str, seconds: float, sent: float, answer: "asyncio.Future[float]"
    ) -> None:
        loop = asyncio.get_running_loop()
        for probe in range(PROBES):
            if probe:
                sent, answer = loop.time(), await prober.send(name)
            if not await prober.wait(answer, sent + seconds + self.patience - loop.time()):
                await prober.main_is_read_past_now()
                await prober.wait(answer, self.patience)
            if answer.done():
                break
        else:
            raise TopologyError(self._broken(name, f"{PROBES} probes did not come back to {self._main!r} after it"))
        if (waited := answer.result() - sent) < seconds * EARLIEST:
            raise TopologyError(self._broken(name, f"a probe came back after {waited:.1f} s"))

    def _broken(self, name: str, found: str) -> str:
        seconds = self._rungs[name]
        return (
            f"retry queue {name!r} is to hand its messages on to {self._main!r} after {seconds:g} s: {found}. Expected "
            f"x-message-ttl={round(seconds * 1000)}, x-dead-letter-exchange='' and x-dead-letter-routing-key="
            f"{self._main!r}, which this user may not compare. Declare the queue anew as docs/topology.md says: its "
            "arguments cannot be changed, so move what it holds elsewhere and delete it first"
        )
