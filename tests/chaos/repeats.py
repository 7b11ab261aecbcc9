"""Second posts, each of which needs its reason: a fault that struck then, and has not been used up by others."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from consumer.sandbox.book import Seen

# A try lasts so long at most: the request's timeout, the doubt about the API, the ledger's second, and the settling.
TRY_SECONDS = 4.0
# Ends of requests that were recorded, whether or not the answer arrived.
RECORDED = frozenset({"200", "drop-after"})


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that was: from when to when (Unix seconds), and what it may cost.

    `excuses` are the posts whose end it may have kept from being known; they were under way when it struck, or came
    before `felt` seconds after it was mended. `blinds`: the ledger could not be asked meanwhile. `copies`: messages may
    have come twice. `silences`: a process died with its last lines of the log.
    """

    name: str
    target: str
    began: float
    ended: float
    excuses: int
    felt: float = 0.0
    blinds: bool = False
    copies: bool = False
    silences: bool = False

    def covers(self, moment: float, margin: float = 0.0) -> bool:
        """Whether what began at this moment may have met the fault."""
        return self.began - TRY_SECONDS <= moment <= self.ended + self.felt + margin


@dataclass(frozen=True, slots=True)
class Repeat:
    """Two posts in a row of one order that was recorded at the first already."""

    order: str
    first: float
    second: float


@dataclass
class Repeats:
    """What explains the repeats, and those that nothing does. `by_fault`: how many each kind of fault.

    - `raced`: two messages of one order came to two consumers within one try, and both asked the ledger too early.
    - `blind`: there are several messages of the order, and the ledger could not be asked at the time of the second.
    - `foreign`: the messages went to two consumers, each with a ledger of its own.

    Each of these explains one post for each message more than one, and no further.
    """

    by_fault: Counter[str] = field(default_factory=Counter)
    raced: int = 0
    blind: int = 0
    foreign: int = 0
    unexplained: list[Repeat] = field(default_factory=list)


def explain(
    seen: Iterable[Seen], copies: Mapping[str, int], struck: Sequence[Struck], *, ledger_shared: bool
) -> Repeats:
    """Find a reason for every repeat. `copies`: how many messages of an order were published."""
    found = Repeats()
    open_cases: list[Repeat] = []
    for order, repeats in _by_order(seen).items():
        spare = copies.get(order, 1) - 1
        for repeat in repeats:
            if spare > 0 and _explained_by_copy(found, repeat, struck, ledger_shared=ledger_shared):
                spare -= 1
            else:
                open_cases.append(repeat)
    # A copy that a fault made may be posted later, where another consumer's ledger does not know of the first.
    margin = 0.0 if ledger_shared else 60.0
    found.unexplained = _assign(found, open_cases, struck, margin)
    return found


def _by_order(seen: Iterable[Seen]) -> dict[str, list[Repeat]]:
    posts: defaultdict[str, list[float]] = defaultdict(list)
    for each in seen:
        if each.end in RECORDED:
            posts[each.order_id].append(each.at)
    return {order: list(_pairs(order, sorted(times))) for order, times in posts.items() if len(times) > 1}


def _pairs(order: str, times: list[float]) -> Iterator[Repeat]:
    for first, second in pairwise(times):
        yield Repeat(order, first, second)


def _explained_by_copy(found: Repeats, repeat: Repeat, struck: Sequence[Struck], *, ledger_shared: bool) -> bool:
    if repeat.second - repeat.first <= TRY_SECONDS:
        found.raced += 1
    elif not ledger_shared:
        found.foreign += 1
    elif any(each.blinds and each.covers(repeat.second) for each in struck):
        found.blind += 1
    else:
        return False
    return True


def _assign(found: Repeats, cases: list[Repeat], struck: Sequence[Struck], margin: float) -> list[Repeat]:
    """Give each case to a fault that covers it and has excuses left (a matching); those that find none."""
    candidates = [[number for number, each in enumerate(struck) if _blames(each, case, margin)] for case in cases]
    held: dict[int, list[int]] = defaultdict(list)

    def place(case: int, tried: set[int]) -> bool:
        for fault in candidates[case]:
            if fault in tried:
                continue
            tried.add(fault)
            if len(held[fault]) < struck[fault].excuses:
                held[fault].append(case)
                return True
            for index, other in enumerate(held[fault]):
                if place(other, tried):
                    held[fault][index] = case
                    return True
        return False

    left = [case for number, case in enumerate(cases) if not place(number, set())]
    for fault, kept in held.items():
        if kept:
            found.by_fault[struck[fault].name] += len(kept)
    return left


def _blames(fault: Struck, case: Repeat, margin: float) -> bool:
    return fault.covers(case.first, margin) or (fault.blinds and fault.covers(case.second))
