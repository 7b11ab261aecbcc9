"""The account on paper: a small table, and what is known of the orders that are unexplained."""

from collections import Counter
from collections.abc import Iterator

from consumer.core import delivery as header
from tests.chaos.account import Account

_SHOWN = 20


def report(account: Account) -> str:
    """The whole report, for a terminal."""
    return "\n".join(_lines(account))


def _lines(account: Account) -> Iterator[str]:
    evidence = account.evidence
    yield f"storm   {account.plan}"
    yield _row("faults", Counter(each.name for each in evidence.struck))
    yield _row("orders", Counter(each.fate.value for each in evidence.orders.values()))
    messages = sum(evidence.copies.values())
    yield f"sent    {messages} messages, of which {messages - len(evidence.orders)} for an order sent before"
    yield f"posted  {len(evidence.recorded)} orders, each recorded once"
    repeats, excuses = account.repeats, Counter[str]()
    for each in evidence.struck:
        excuses[each.name] += each.excuses
    yield _row("again", repeats.by_fault)
    yield _row("of", Counter({name: excuses[name] for name in repeats.by_fault})) + " that might have been"
    yield f"untold  {len(account.untold)} orders that were let go, by a consumer that was killed then"
    yield f"copies  posted at once {repeats.raced}, without a ledger {repeats.blind}, elsewhere {repeats.foreign}"
    yield _row("dead", Counter(str(each.headers.get(header.REASON, "crashed")) for each in evidence.dead))
    yield _row("told", account.told)
    yield f"took    {evidence.seconds:.0f} s"
    yield "closes" if account.closes else f"DOES NOT CLOSE: {len(account.problems)} problems"
    yield from (f"  {problem}" for problem in account.problems[:_SHOWN])
    for name in dict.fromkeys(account.unexplained[:_SHOWN]):
        yield from _told_of(account, name)


def _row(name: str, counts: Counter[str]) -> str:
    parts = ", ".join(f"{what} {count}" for what, count in sorted(counts.items()))
    return f"{name:<7} {counts.total() if name != 'told' else ''} {f'({parts})' if parts else ''}".rstrip()


def _told_of(account: Account, name: str) -> Iterator[str]:
    """Everything that the logs and the sandbox say of one order."""
    yield f"  {name}:"
    for number, lines in enumerate(account.evidence.logs):
        for line in lines():
            if line.get("order") == name:
                yield f"    consumer {number}: {line}"
    for received in account.evidence.recorded:
        if received.order_id == name:
            yield f"    sandbox: {received.posts} posts, {received.first:.3f} to {received.last:.3f}"
    faults = sorted((each.began, each.ended, each.name, each.target) for each in account.evidence.struck)
    for began, ended, fault, target in faults:
        yield f"    {began:.1f} to {ended:.1f} {fault} {target}"
