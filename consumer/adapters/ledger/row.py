"""Records and notes as rows of the tables, and rows as what is told of them, without any database.

An ordinary order is one row. What else happens to an order (a retry, a death, a duplicate, a deed) is a row of its
own; see `003_happenings.sql`.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeVar, assert_never

from consumer.adapters.ledger import Deed, Entry, Happening, Note, Record
from consumer.adapters.ledger.key import plain, readable, storable
from consumer.core.outcome import Dead, Delivered, Duplicate, Outcome, Retry, RetryReason, Unattributed

OUTBOX = "outbox"


class OrderRow(NamedTuple):
    """One end of a try. The counts are what it adds to an order that nothing is known of yet."""

    shop_id: str
    order_id: str
    attempts: int
    last_error: str | None
    created_at: float
    synced_at: float | None
    outcome: str
    reason: str | None
    status: int | None
    attempt: int
    replays: int
    milliseconds: float
    outcome_at: float
    due_at: float | None
    digest: bytes | None
    received_at: float
    event_id: str | None
    unattributed_at: float | None
    source: str | None
    last_outcome: str
    trace: int
    returns: int
    received: int
    delivered: int
    duplicate: int
    unattributed: int
    waiting: int
    dead: int


class PlainRow(NamedTuple):
    """What most rows are: an order delivered at its first try. `PLAIN` has the rest, and the defaults of the columns.

    It costs half of what an `OrderRow` does.
    """

    shop_id: str
    order_id: str
    created_at: float
    synced_at: float
    status: int
    milliseconds: float
    outcome_at: float
    digest: bytes | None
    received_at: float
    event_id: str | None
    trace: int


# In SQL, for all plain rows.
PLAIN = {"outcome": "'delivered'", "last_outcome": "'delivered'", "attempt": "1", "received": "1", "delivered": "1"}


class NoteRow(NamedTuple):
    """One deed; the counts are what it changes."""

    shop_id: str
    order_id: str
    created_at: float
    outcome: str
    outcome_at: float
    received: int
    waiting: int
    dead: int
    discarded: int


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


def plain_row(record: Record) -> PlainRow | None:
    """The row for the end of a try, if a plain one will do."""
    journey, outcome, at = record.journey, record.outcome, record.at
    if type(outcome) is not Delivered or journey.attempt != 1 or journey.replays or not record.fresh or record.outbox:
        return None
    return PlainRow(
        storable(record.shop or ""),
        storable(record.order or ""),
        at,
        at,
        outcome.status,
        record.milliseconds,
        at,
        record.digest,
        journey.first_seen,
        plain(record.event, 200) if record.event else None,
        _trace(record),
    )


def order_row(record: Record) -> OrderRow:
    """The row for the end of a try."""
    outcome, journey, at = record.outcome, record.journey, record.at
    name = word(outcome)
    reached = name == "delivered" or (name == "duplicate" and getattr(outcome, "status", None) is not None)
    return OrderRow(
        storable(record.shop or ""),
        storable(record.order or ""),
        _failed_tries(outcome, journey.attempt),
        plain(outcome.detail) if isinstance(outcome, Retry | Dead) else None,
        at,
        at if reached else None,
        name,
        outcome.reason.value if isinstance(outcome, Retry | Dead) else None,
        getattr(outcome, "status", None),
        journey.attempt,
        journey.replays,
        record.milliseconds,
        at,
        at + (outcome.after or 0.0) if isinstance(outcome, Retry) else None,
        record.digest,
        journey.first_seen,
        plain(record.event, 200) if record.event else None,
        at if name == "unattributed" else None,
        OUTBOX if record.outbox else None,
        name,
        _trace(record),
        int(not record.fresh),
        1,
        int(name == "delivered"),
        int(name == "duplicate"),
        int(name == "unattributed"),
        int(name in {"waiting", "held"}),
        int(name == "dead"),
    )


def note_row(note: Note) -> NoteRow:
    """The row for a deed."""
    received, waiting, dead, discarded = _DEEDS[note.deed]
    outcome = {Deed.REPLAYED: "waiting", Deed.DISCARDED: "discarded", Deed.IMPORTED: "dead"}[note.deed]
    key = storable(note.shop or ""), storable(note.order or "")
    return NoteRow(*key, note.at, outcome, note.at, received, waiting, dead, discarded)


# What each deed adds to received, waiting, dead and discarded.
_DEEDS = {Deed.REPLAYED: (0, 1, -1, 0), Deed.DISCARDED: (0, 0, -1, 1), Deed.IMPORTED: (1, 0, 1, 0)}


def happening_row(line: Record | Note) -> HappeningRow | None:
    """What is told of beside the order's own row; None for an ordinary end, and where no order is known."""
    if not line.order:
        return None
    shop, order = storable(line.shop or ""), storable(line.order)
    if isinstance(line, Note):
        who, detail = plain(line.who, 200), plain(line.detail)
        return HappeningRow(shop, order, line.deed.value, 0, 0, "", 0, who, line.at, line.at, None, None, detail)
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


def word(outcome: Outcome) -> str:
    """Where an outcome leaves the order."""
    if isinstance(outcome, Retry):
        return "held" if outcome.reason is RetryReason.HELD else "waiting"
    return type(outcome).__name__.lower()


def _failed_tries(outcome: Outcome, attempt: int) -> int:
    match outcome:
        case Retry():
            return outcome.next_attempt - 1
        case Dead():
            return attempt
        case _:
            return attempt - 1


def _trace(record: Record) -> int:
    """A checksum of the message's id, so that a message that comes again is not counted again; -1 - it for that one.

    Without an id only this very record, written once more, can be recognised.
    """
    identity = repr(record.at) if record.message is None else record.message
    checksum = zlib.crc32(identity.encode("utf-8", "surrogatepass"))
    return -1 - checksum if record.redelivered else checksum


T = TypeVar("T", bound=tuple[Any, ...])


def waves(rows: Iterable[T], key: Callable[[T], tuple[Any, ...]]) -> list[list[T]]:
    """The rows in as many statements as needed for none to have two rows of one key, those of one key in their order.

    Each is sorted by key, so that two writers lock rows in the same order and never wait for each other in a ring.
    """
    found: list[dict[tuple[Any, ...], T]] = []
    seen: dict[tuple[Any, ...], int] = {}
    for row in rows:
        identity = key(row)
        number = seen[identity] = seen.get(identity, -1) + 1
        if number == len(found):
            found.append({})
        found[number][identity] = row
    return [[wave[identity] for identity in sorted(wave)] for wave in found]


def _kind(row: tuple[Any, ...]) -> str:
    return type(row).__name__


def tables(lines: Sequence[Record | Note]) -> list[list[Any]]:
    """The rows of all lines in the order in which they are to be written; each list has rows of one kind.

    Rows of different orders may change places, so that a batch takes few statements.
    """
    rows: list[Any] = [
        plain_row(line) or order_row(line) if isinstance(line, Record) else note_row(line) for line in lines
    ]
    if len({row[:2] for row in rows}) == len(rows):
        rows.sort(key=_kind)
    runs: list[list[Any]] = [list(run) for _, run in groupby(rows, type)]
    happenings = [row for line in lines if (row := happening_row(line)) is not None]
    return [*runs, happenings] if happenings else runs


def read_entry(row: Sequence[Any]) -> Entry:
    """The entry in a row of what `Entry` has, in the order of its fields."""
    shop, order, *rest = row
    return Entry(readable(shop), readable(order), *rest)


def read_happening(row: Sequence[Any]) -> Happening:
    """The happening in a row of `statements.HAPPENING_COLUMNS`."""
    event, first_at, last_at, times, attempt, replays, reason, status, *rest = row
    return Happening(event, first_at, last_at, times, attempt, replays, reason, status or None, *rest)
