"""Everything that breaks in the storm: each fault strikes, lasts a while, and is mended."""

from dataclasses import dataclass
from random import Random

from tests.chaos.faults.consumers import JUMPS, ClockSet, ConsumerFrozen, ConsumerKilled, ConsumerTerminated
from tests.chaos.faults.fault import Fault
from tests.chaos.faults.links import LinkCut, LinkDeaf, LinkDown, LinkStalled
from tests.chaos.faults.neuroon import (
    Api500,
    ApiDrop,
    ApiDropAfter,
    ApiFlaky,
    ApiGarbage,
    ApiGarbageAnd502,
    ApiGone,
    ApiNoHttp,
    ApiSlow,
    ApiStalled,
    ApiThrottles,
    ApiTimeout,
    KeyRotated,
)
from tests.chaos.faults.stores import (
    BrokerFrozen,
    BrokerKilled,
    BrokerStopped,
    LedgerGone,
    LedgerReadOnly,
    MemoryAlarm,
    QueueRefuses,
)
from tests.chaos.orders import SHOPS
from tests.chaos.world import CONSUMERS, HOLD, RUNGS

__all__ = ["Draw", "Fault", "draw"]

# Weight in the draw, and how many there are to choose a victim from. A broker's start takes 7 s: seldom.
_DRAW: dict[type[Fault], tuple[int, int]] = {
    ConsumerKilled: (8, CONSUMERS),
    ConsumerTerminated: (8, CONSUMERS),
    ConsumerFrozen: (6, CONSUMERS),
    LinkCut: (10, CONSUMERS),
    LinkDown: (5, CONSUMERS),
    LinkStalled: (4, CONSUMERS),
    LinkDeaf: (4, CONSUMERS),
    BrokerStopped: (2, 1),
    BrokerKilled: (3, 1),
    BrokerFrozen: (3, 1),
    MemoryAlarm: (3, 1),
    Api500: (4, 1),
    ApiFlaky: (4, 1),
    ApiTimeout: (3, 1),
    ApiSlow: (3, 1),
    ApiGarbage: (2, 1),
    ApiGarbageAnd502: (3, 1),
    ApiDrop: (3, 1),
    ApiDropAfter: (4, 1),
    ApiNoHttp: (2, 1),
    ApiThrottles: (3, 1),
    ApiGone: (4, 1),
    ApiStalled: (3, 1),
    KeyRotated: (6, len(SHOPS)),
    LedgerGone: (4, 1),
    LedgerReadOnly: (4, 1),
    ClockSet: (8, CONSUMERS * len(JUMPS)),
    QueueRefuses: (6, len((*RUNGS, HOLD, "dlq"))),
}


@dataclass(frozen=True, slots=True)
class Draw:
    """A fault to come: `gap` seconds after the one before, for `seconds`."""

    kind: type[Fault]
    which: int
    gap: float
    seconds: float


def draw(rng: Random, count: int, gap: float, *, ledger: bool) -> list[Draw]:
    """`count` faults, `gap` seconds apart on average; the ledger is struck only where there is a server to stop."""
    kinds = [kind for kind in _DRAW if ledger or kind not in {LedgerGone, LedgerReadOnly}]
    weights = [_DRAW[kind][0] for kind in kinds]
    return [
        Draw(kind, rng.randrange(_DRAW[kind][1]), rng.uniform(0, 2 * gap), rng.uniform(0.2, kind.longest))
        for kind in rng.choices(kinds, weights, k=count)
    ]
