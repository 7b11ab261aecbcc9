"""Three RabbitMQ nodes in one cluster, each of which can be stopped and killed: quorum queues have a member on each."""

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from consumer.devbroker import NoBrokerError, PrivateBroker
from consumer.devbroker.broker import find_engine
from consumer.devbroker.node import LocalNode

_SIZE = 3  # the smallest of which one member may be lost
_QUEUE = '{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)), '
# What the queue's members themselves say; the broker's table of queues names the old leader for a while.
_MEMBERS = _QUEUE + "{{Name, _}} = amqqueue:get_pid(Queue), {{ok, Members, Leader}} = ra:members({{Name, node()}}), "
_LEADER = _MEMBERS + 'io:format("~s ~b", [element(2, Leader), length(Members)]).'
_TRANSFER = _MEMBERS + "ra:transfer_leadership(Leader, {{Name, '{node}'}})."


class Member(PrivateBroker):
    """One node of a cluster."""

    def __init__(self, node: LocalNode) -> None:
        super().__init__()
        self._found, self.name = node, node.name


class Cluster:
    """A context manager; every method blocks, the start for about 12 s on two cores, and a question for about 1 s."""

    def __init__(self) -> None:
        first = find_engine((), lambda _: None)
        if not isinstance(first, LocalNode):
            first.close()
            raise NoBrokerError("a cluster needs an installed RabbitMQ: apt-get install rabbitmq-server")
        self.members = tuple(map(Member, [first, *(first.beside() for _ in range(_SIZE - 1))]))
        self._formed = False

    def start(self) -> None:
        """Start those that do not run, and wait until all take connections."""
        with ThreadPoolExecutor(_SIZE) as pool:
            list(pool.map(Member.start, self.members))
        if not self._formed:
            self._form()

    def _form(self) -> None:
        """Make one of them.

        Left to themselves, RabbitMQ 3 wants to be started one after the other, lest each found a cluster of its own,
        and RabbitMQ 4 all at once, since the first waits for the others.
        """
        first, *others = self.members
        for other in others:
            for command in (("stop_app",), ("join_cluster", first.name), ("start_app",)):
                other.ctl(*command)
        self._formed = True

    def leader(self, queue: str, *, asked: Member) -> Member | None:
        """Whose member of `queue` leads, as `asked` knows; None while not every node has a member."""
        name, members = asked.ctl("eval", _LEADER.format(queue=queue)).split()[:2]
        if not members.startswith(str(_SIZE)):
            return None
        return next(member for member in self.members if member.name == name)

    def move_leader(self, queue: str, to: Member) -> None:
        """Ask the leader to give way to the member on `to`, which may decline while it lags behind."""
        to.ctl("eval", _TRANSFER.format(queue=queue, node=to.name))

    def close(self) -> None:
        """End all, and remove what they have written."""
        for member in reversed(self.members):  # the first one owns the port mapper
            member.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
