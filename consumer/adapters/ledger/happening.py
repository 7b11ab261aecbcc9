"""What happens to an order beside its ordinary end, as rows of a table of their own; see `003_happenings.sql`."""

from collections.abc import Sequence
from typing import Any, NamedTuple, assert_never

from consumer.adapters.ledger import Happening, Note, Record
from consumer.adapters.ledger.key import plain, storable
from consumer.adapters.ledger.moment import moment
from consumer.core.outcome import Dead, Delivered, Duplicate, Outcome, Retry, RetryReason, Unattributed


class HappeningRow(NamedTuple):
    """One happening; up to `who` it is the key under which equal ones are counted."""

    shop_id: str
    order_id: str
    event: str
    replays: int
    attempt: int
    reason: str
    status: int
    who: str
    first_at: float
    last_at: float
    milliseconds: float | None
    due_at: float | None
    detail: str


def happening_row(line: Record | Note) -> HappeningRow | None:
    """What is told of beside the order's own row; None for an ordinary end, and where no order is known."""
    if not line.order:
        return None
    shop, order = storable(line.shop or ""), storable(line.order)
    if isinstance(line, Note):
        who, detail = plain(line.who, 200), plain(line.detail)
        deed, at = line.deed.value, line.at
        return HappeningRow(shop, order, deed, line.replays, 0, "", 0, who, at, at, None, None, detail)
    told = _told(line.outcome, line.at)
    if told is None:
        return None
    journey, at = line.journey, line.at
    return HappeningRow(
        shop,
        order,
        told.event,
        journey.replays,
        journey.attempt,
        told.reason,
        getattr(line.outcome, "status", None) or 0,
        "",
        at,
        at,
        line.milliseconds,
        told.due,
        plain(told.detail),
    )


class _Told(NamedTuple):
    event: str
    reason: str = ""
    detail: str = ""
    due: float | None = None


def _told(outcome: Outcome, at: float) -> _Told | None:
    match outcome:
        case Delivered() | Unattributed():
            return None
        case Duplicate(_, conflict):
            return _Told("duplicate") if conflict is None else _Told("conflict", detail=str(conflict))
        case Retry(reason, _, after, detail):
            event = "held" if reason is RetryReason.HELD else "retry"
            return _Told(event, reason.value, detail, at + (after or 0.0))
        case Dead(reason, detail):
            return _Told("dead", reason.value, detail)
        case _:
            assert_never(outcome)


def read_happening(row: Sequence[Any]) -> Happening:
    """The happening in a row of `statements.HAPPENING_COLUMNS`."""
    event, first_at, last_at, times, attempt, replays, reason, status, milliseconds, due_at, *rest = row
    first_at, last_at, due_at = moment(first_at), moment(last_at), moment(due_at)
    return Happening(
        event, first_at, last_at, times, attempt, replays, reason, status or None, milliseconds, due_at, *rest
    )
