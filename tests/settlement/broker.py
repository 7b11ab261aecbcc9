"""A model of the queues: delivery counts with a limit, dead-lettering at least once, and queues that refuse."""

from collections import Counter
from dataclasses import dataclass, field, replace

from consumer.core import delivery as header
from consumer.core.delivery import Delivery, Properties
from consumer.core.headers import Headers
from consumer.core.ladder import Ladder, Rung
from consumer.core.settlement import Queues

QUEUES = Queues("q")
# A wait of the longest rung does not fit into the hold rung: what goes there instead is sent on when it comes back.
LADDER = Ladder((Rung("1s", 1.0), Rung("4s", 4.0)), hold=Rung("2s", 2.0), max_hold=60.0)
WAITING = tuple(QUEUES.retry(rung.name) for rung in (*LADDER.rungs, LADDER.hold))
DEAD = QUEUES.dead


@dataclass(frozen=True)
class Message:
    """One copy of an order; `count` is how often it was returned to its queue, `id` is fresh at every publish.

    `place` is its place in the main queue, which it keeps when it is returned.
    """

    name: str
    id: str
    headers: Headers = field(default_factory=Headers)
    exchange: str = ""
    count: int = 0
    place: int = 0

    def delivery(self) -> Delivery:
        """As a consumer receives it."""
        headers = self.headers | {"x-delivery-count": self.count} if self.count else self.headers
        return Delivery(
            self.name.encode(),
            self.exchange,
            "q",
            headers,
            Properties(),
            message_id=self.id,
            redelivered=bool(self.count),
        )

    @property
    def state(self) -> tuple[object, ...]:
        """What its future depends on."""
        ours = (header.ATTEMPT, header.RETURNS, header.WAIT_LEFT, header.WAITED)
        attempt, returns, *waits = (self.headers.get(name, 0) for name in ours)
        assert isinstance(returns, int)
        return self.name, self.count, attempt, min(returns, 2), *waits


class Broker:
    """All queues. `problems` has what a client must never do."""

    def __init__(self, names: tuple[str, ...], limit: int) -> None:
        self.limit = limit
        self.main = [Message(name, name, exchange="shop", place=place) for place, name in enumerate(names)]
        self.queues: dict[str, list[Message]] = {queue: [] for queue in (*WAITING, DEAD)}
        self.unacked: dict[int, Message] = {}
        self.dying: list[Message] = []  # dead-lettered, and kept by the main queue while its target refuses
        self.refusing: set[str] = set()
        self.problems: list[str] = []
        self._published = len(names)
        self._tag = 0

    def deliver(self) -> tuple[int, Message]:
        """Hand the oldest message to the consumer."""
        self._tag += 1
        message = self.unacked[self._tag] = self.main.pop(0)
        return self._tag, message

    def store(self, queue: str, name: str, headers: Headers) -> None:
        """Take a message that was published."""
        self._published += 1
        self.queues[queue].append(Message(name, f"{name}/{self._published}", headers))

    def ack(self, tag: int, *, multiple: bool) -> None:
        """Basic.Ack."""
        tags = [each for each in self.unacked if each <= tag] if multiple else [tag]
        if tag not in self.unacked:
            self.problems.append(f"delivery {tag} is acknowledged, and was settled before")
            return
        for each in tags:
            del self.unacked[each]

    def nack(self, tag: int, *, requeue: bool) -> None:
        """Basic.Nack."""
        message = self.unacked.pop(tag, None)
        if message is None:
            self.problems.append(f"delivery {tag} is returned, and was settled before")
        elif requeue:
            self._take_back([message])
        else:
            self._dead_letter(message)

    def consumer_gone(self) -> None:
        """Return everything that was in flight."""
        returned, self.unacked = list(self.unacked.values()), {}
        self._take_back(returned)

    def expire(self, queue: str) -> None:
        """The oldest message of a retry queue has waited long enough."""
        self._published += 1
        self.main.append(replace(self.queues[queue].pop(0), place=self._published))

    def accept(self, queue: str) -> None:
        """Take messages again."""
        self.refusing.discard(queue)
        if queue == DEAD:
            dying, self.dying = self.dying, []
            self.queues[DEAD] += dying

    def copies(self) -> Counter[str]:
        """How many copies of each order there are, wherever they are."""
        everywhere = [self.main, self.dying, list(self.unacked.values()), *self.queues.values()]
        return Counter(message.name for place in everywhere for message in place)

    def _take_back(self, messages: list[Message]) -> None:
        """To their places in the queue; whose count exceeds the limit is dead-lettered (RabbitMQ: rabbit_fifo)."""
        raised = [replace(each, count=each.count + 1) for each in messages]
        self.main += [each for each in raised if each.count <= self.limit]
        self.main.sort(key=lambda each: each.place)
        for each in raised:
            if each.count > self.limit:
                self._dead_letter(each)

    def _dead_letter(self, message: Message) -> None:
        (self.dying if DEAD in self.refusing else self.queues[DEAD]).append(message)
