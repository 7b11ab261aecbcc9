"""Where an order is, and everything that happened to it, from what the ledger has kept."""

from consumer.adapters.ledger import Entry, Happening, History
from consumer.core.delivery import stamp

Line = dict[str, object]

UNKNOWN = "unknown"


def explained(history: History) -> dict[str, object]:
    """The order's state and its timeline, the newest last: the shape of `explain --json`."""
    entry = history.entry
    standing = entry.standing
    return {
        "orderId": entry.order,
        "shopId": entry.shop or None,
        "state": standing.state,
        "due": None if standing.due is None else stamp(standing.due),
        "timeline": _timeline(history),
    }


def unexplained(order: str, shop: str | None) -> dict[str, object]:
    """The same for an order that was never seen."""
    return {"orderId": order, "shopId": shop, "state": UNKNOWN, "due": None, "timeline": []}


def _timeline(history: History) -> list[Line]:
    entry = history.entry
    moments = [(at, 0, line) for at, line in _own(entry)]
    moments += [(each.first_at, 1, _line(each)) for each in history.happenings]
    return [line for _, _, line in sorted(moments, key=lambda moment: moment[:2])]


def _own(entry: Entry) -> list[tuple[float, Line]]:
    """What the order's own row tells: that it came, and what became of it in the ordinary case."""
    told: list[tuple[float, Line]] = []
    if entry.received_at is not None:
        told.append(
            (entry.received_at, {"at": stamp(entry.received_at), "event": "received", "eventId": entry.event_id})
        )
    if entry.outcome is None:
        told.append((entry.created_at, {"at": stamp(entry.created_at), "event": "put into the outbox"}))
    if entry.unattributed_at is not None:
        told.append((entry.unattributed_at, {"at": stamp(entry.unattributed_at), "event": "unattributed"}))
    if entry.outcome == "delivered" and entry.outcome_at is not None:
        line: Line = {"at": stamp(entry.outcome_at), "event": "delivered"}
        if entry.attempt:  # 0: an outbox row that was synced before we came
            line |= {"attempt": entry.attempt, "status": entry.status, "ms": _rounded(entry.milliseconds)}
        if entry.delivered > 1:
            line["times"] = entry.delivered
        told.append((entry.outcome_at, line))
    return told


def _line(happening: Happening) -> Line:
    line: Line = {"at": stamp(happening.first_at), "event": happening.event}
    if happening.times > 1:
        line |= {"times": happening.times, "lastAt": stamp(happening.last_at)}
    if happening.attempt:
        line["attempt"] = happening.attempt
    for name, value in (
        ("reason", happening.reason),
        ("status", happening.status),
        ("ms", _rounded(happening.milliseconds)),
        ("detail", happening.detail),
        ("by", happening.who),
    ):
        if value not in {None, ""}:
            line[name] = value
    if happening.due is not None:
        line |= {"due": stamp(happening.due), "waitSeconds": round(happening.due - happening.last_at, 3)}
    return line


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
