"""Records and notes as rows of the orders' table, and rows as what is told of them, without any database.

An ordinary order is one row. What else happens to an order (a retry, a death, a duplicate, a deed) is a row of its
own; see `happening`.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from consumer.adapters.ledger import Deed, Entry, Note, Record
from consumer.adapters.ledger.key import plain, readable, storable
from consumer.adapters.ledger.moment import EARLIEST, LATEST, moment
from consumer.core.outcome import Dead, Delivered, Outcome, Retry, RetryReason

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


class LeavingRow(NamedTuple):
    """A message leaves the key under which it was counted, and is received under another; the first two are the old.

    `trace`: of the message, if the broker delivers it again; 0 otherwise.
    """

    shop_id: str
    order_id: str
    new_shop_id: str
    new_order_id: str
    trace: int


class NoteRow(NamedTuple):
    """One deed; the counts are what it changes."""

    shop_id: str
    order_id: str
    created_at: float
    outcome: str
    outcome_at: float
    replays: int
    received: int
    waiting: int
    dead: int
    discarded: int


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
        int(not record.fresh and record.formerly is None),
        1,
        int(name == "delivered"),
        int(name == "duplicate"),
        int(name == "unattributed"),
        int(name in {"waiting", "held"}),
        int(name == "dead"),
    )


def leaving_row(record: Record) -> LeavingRow | None:
    """What the end of a try takes away elsewhere."""
    if record.formerly is None:
        return None
    old_shop, old_order, shop, order = map(storable, (*record.formerly, record.shop or "", record.order or ""))
    return LeavingRow(old_shop, old_order, shop, order, min(_trace(record), 0))


def note_row(note: Note) -> NoteRow:
    """The row for a deed."""
    received, waiting, dead, discarded = _DEEDS[note.deed]
    outcome = {Deed.REPLAYED: "waiting", Deed.DISCARDED: "discarded", Deed.IMPORTED: "dead"}[note.deed]
    key = storable(note.shop or ""), storable(note.order or "")
    return NoteRow(*key, note.at, outcome, note.at, note.replays, received, waiting, dead, discarded)


# What each deed adds to received, waiting, dead and discarded. A replay only takes from the dead what is still there:
# its message may have come back, and been counted, before the deed was noted.
_DEEDS = {Deed.REPLAYED: (0, 0, 0, 0), Deed.DISCARDED: (0, 0, -1, 1), Deed.IMPORTED: (1, 0, 1, 0)}


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


def read_entry(row: Sequence[Any]) -> Entry:
    """The entry in a row of what `Entry` has, in the order of its fields."""
    shop, order, *rest = row
    return dated(Entry(readable(shop), readable(order), *rest))


def dated(entry: Entry) -> Entry:
    """The entry with times that can be shown; see `moment`."""
    times = (entry.created_at, entry.outcome_at, entry.received_at, entry.unattributed_at, entry.due_at)
    if all(each is None or EARLIEST <= each <= LATEST for each in times):  # nearly always
        return entry
    return replace(
        entry,
        created_at=moment(entry.created_at),
        outcome_at=moment(entry.outcome_at),
        received_at=moment(entry.received_at),
        unattributed_at=moment(entry.unattributed_at),
        due_at=moment(entry.due_at),
    )
