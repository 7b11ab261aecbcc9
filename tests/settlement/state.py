"""What the future of a run depends on."""

from typing import cast

from consumer.adapters.rabbit import _identity
from consumer.adapters.refusals import IN_A_ROW
from tests.settlement.broker import Message
from tests.settlement.client import ModelPublisher
from tests.settlement.world import World


def state_of(world: World) -> tuple[object, ...]:
    """Two runs with the same state, and the same faults to come, have the same future."""

    def of(message: Message) -> tuple[object, ...]:
        return *message.state, _identity(message.delivery()) in world.rabbit._innocent

    broker, session, refusals = world.broker, world.session, world.refusals
    publisher = None if session is None else cast("ModelPublisher", session.publisher)
    return (
        tuple(map(of, broker.main)),
        tuple(tuple(map(of, queue)) for queue in broker.queues.values()),
        tuple(of(each) for each in broker.dying),
        tuple(map(of, broker.unacked.values())),
        tuple(
            (
                each.kind,
                each.name,
                each.queue,
                each.doomed,
                each.publisher is publisher,
                each.process is world.rabbit,
            )
            for each in world.asked
        ),
        len(world.loop.timers),
        tuple(sorted(world.posted)),
        tuple(sorted(world.unconfirmed.items())),
        tuple(sorted(broker.refusing)),
        session is None,
        world.killed,
        world.draining is None,
        () if publisher is None else tuple(sorted(publisher.cursed)),
        tuple(
            (queue, min(count, IN_A_ROW + count % IN_A_ROW), world.clock < refusals._next_probe[queue])
            for queue, count in sorted(refusals._in_a_row.items())
        ),
    )
