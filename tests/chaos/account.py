"""The account: every order is where its fate wants it, or is named with what is known of it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from consumer.core import delivery as header
from consumer.sandbox import Received
from consumer.sandbox.book import Seen
from tests.chaos.orders import DEAD, Fate, Order
from tests.chaos.repeats import Repeats, Struck, explain
from tests.support.broker import Message

# Log lines of which there must be none.
_ALARMING = frozenset({"bug", "unexpected error while settling", "unexpected error", "library", "not JSON"})

Lines = Callable[[], Iterable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known when the dust has settled. `copies`: how many messages of an order there may have been.

    `noted`: the orders of which the ledger says that they were unattributed.
    """

    orders: Mapping[str, Order]
    copies: Mapping[str, int]
    recorded: Sequence[Received]
    seen: Iterable[Seen]
    dead: Sequence[Message]
    left: Mapping[str, Sequence[Message]]
    struck: Sequence[Struck]
    logs: Sequence[Lines]
    ledger_shared: bool
    seconds: float
    noted: frozenset[str] = frozenset()


@dataclass
class Account:
    """What came out. It closes when there are no `problems`."""

    plan: str
    evidence: Evidence
    problems: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    repeats: Repeats = field(default_factory=Repeats)
    told: Counter[str] = field(default_factory=Counter)
    untold: list[str] = field(default_factory=list)

    @property
    def closes(self) -> bool:
        """Whether nothing is lost and nothing unexplained."""
        return not self.problems


def reckon(plan: str, evidence: Evidence, problems: Iterable[str]) -> Account:
    """Account for every order."""
    account = Account(plan, evidence, list(problems))
    unattributed = _read_logs(account) | evidence.noted
    letters = _letters(account)
    recorded = {each.order_id: each for each in evidence.recorded}
    for order in evidence.orders.values():
        for problem in _look(order, recorded.get(order.id), letters.get(order.id, [])):
            account.problems.append(f"{order.id} of {order.shop}: {problem}")
            account.unexplained.append(order.id)
        if order.fate is Fate.UNATTRIBUTED and order.id not in unattributed and not letters.get(order.id):
            account.untold.append(order.id)
    _too_many_untold(account)
    for queue, messages in evidence.left.items():
        account.problems.append(f"{len(messages)} messages left in {queue}")
    for name in recorded.keys() - evidence.orders.keys():
        account.problems.append(f"{name}: recorded, and never published")
    _posted_again(account)
    return account


def _look(order: Order, at_neuroon: Received | None, letters: list[Message]) -> Iterator[str]:
    if order.fate in DEAD:
        yield from _look_for_dead(order, at_neuroon, letters)
        return
    if letters:
        yield f"dead, {len(letters)} times: {_why(letters[0])}"
    if order.fate is Fate.UNATTRIBUTED:
        if at_neuroon is not None:
            yield "recorded, though nothing of it came from a search"
    elif at_neuroon is None:
        if not letters:
            yield "lost: neither recorded nor dead"
    elif at_neuroon.body != order.payload or at_neuroon.conflict:
        yield "recorded with other bytes"
    elif at_neuroon.shop_id != order.shop:
        yield f"recorded for {at_neuroon.shop_id}"


def _too_many_untold(account: Account) -> None:
    """An unattributed order leaves a line in the log and a row in the ledger, and nothing else.

    Who is killed takes the last 20 ms of the log along; then the ledger tells, if there is one that outlives the
    process and could be written at that time.
    """
    shared, struck = account.evidence.ledger_shared, account.evidence.struck
    kills, blind = [each for each in struck if each.silences], [each for each in struck if each.blinds]
    silent = [each for each in kills if not shared or any(other.covers(each.began) for other in blind)]
    if len(account.untold) > (allowed := sum(each.excuses for each in silent)):
        for name in account.untold:
            account.problems.append(f"{name}: lost: nobody says what became of it, as of {allowed} that were under way")
            account.unexplained.append(name)


def _look_for_dead(order: Order, at_neuroon: Received | None, letters: list[Message]) -> Iterator[str]:
    if at_neuroon is not None:
        yield "recorded, though it should be dead"
    if not letters:
        yield "lost: it should be dead"
    for letter in letters:
        if letter.headers.get(header.REASON) != order.fate.value:
            yield f"dead with another reason than {order.fate.value}: {_why(letter)}"


def _why(letter: Message) -> str:
    ours = {name: value for name, value in letter.headers.items() if name in {header.REASON, header.DETAIL}}
    return str(ours or {name: value for name, value in letter.headers.items() if name.startswith("x-")})


def _letters(account: Account) -> dict[str, list[Message]]:
    """The dead letters by order: by their bodies, which must be as they were published."""
    by_body = {order.body: order.id for order in account.evidence.orders.values()}
    letters: defaultdict[str, list[Message]] = defaultdict(list)
    for letter in account.evidence.dead:
        name = by_body.get(letter.body)
        if name is None:
            account.problems.append(f"a dead letter with a body that nobody published: {_why(letter)}")
        else:
            letters[name].append(letter)
    again = sum(max(0, len(each) - account.evidence.copies[name]) for name, each in letters.items())
    if again > (allowed := sum(each.excuses for each in account.evidence.struck if each.copies)):
        account.problems.append(f"{again} dead letters too many, of which {allowed} would be allowed")
    return letters


def _posted_again(account: Account) -> None:
    evidence = account.evidence
    account.repeats = explain(evidence.seen, evidence.copies, evidence.struck, ledger_shared=evidence.ledger_shared)
    for each in account.repeats.unexplained:
        apart = f"{each.second - each.first:.1f} s"
        account.problems.append(f"{each.order}: posted again {apart} after it was recorded, and no fault explains it")
        account.unexplained.append(each.order)


def _read_logs(account: Account) -> set[str]:
    """Count what the consumers tell; the orders that they let go as unattributed."""
    unattributed: set[str] = set()
    for lines in account.evidence.logs:
        for line in lines():
            event = str(line.get("event"))
            account.told[event] += 1
            if event == "settled":
                account.told[f"settled: {line['outcome']}"] += 1
                if line["outcome"] == "unattributed":
                    unattributed.add(str(line["order"]))
            elif event in _ALARMING and account.told[event] <= 5:
                account.problems.append(f"logged: {line}")
    return unattributed
