"""What was sent, remembered: the key that makes a second event for one order a duplicate, and what happened to each.

`Ledger` is what the consumer speaks to; no method of it raises, because a ledger never decides whether an order lives.
`Store` is a place where it is kept; there, every method raises `LedgerDownError` when the place cannot be used.
"""

import math
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from consumer.core.delivery import Journey
from consumer.core.outcome import Outcome
from consumer.core.value import value

# Shop id and order id.
Key = tuple[str, str]

# Unix seconds of the first and the last moment.
Span = tuple[float, float]
NOTHING_MOVES: Final[Span] = (math.inf, -math.inf)


class LedgerDownError(Exception):
    """The ledger cannot be reached, read or written; the message says why, and names no secret."""


class LedgerRefusedError(Exception):
    """The ledger works, but will not take one of these entries."""


class Record(NamedTuple):
    """The end of one try. `at` is in Unix seconds, `milliseconds` is what the try took.

    One is made for every order, and a frozen dataclass of twelve fields takes 3 us to make instead of 1.

    `digest`: SHA-256 of the payload that was, or would have been, posted. `message` is the id under which the broker
    delivered this hop; with `redelivered` it tells a message that comes again from a second one. `fresh`: it came from
    the exchange, and from none of our queues. `outbox`: it came from an outbox table, and from no queue at all.
    `formerly`: under which key the message was counted before it came back under this one, because its shop or its
    order is known by now; None if under the same.
    """

    shop: str | None
    order: str | None
    journey: Journey
    outcome: Outcome
    at: float
    milliseconds: float
    digest: bytes | None = None
    event: str | None = None
    message: str | None = None
    redelivered: bool = False
    fresh: bool = True
    outbox: bool = False
    formerly: Key | None = None


class Deed(StrEnum):
    """What a person did to a dead letter."""

    REPLAYED = "replayed"
    DISCARDED = "discarded"
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True)
class Note:
    """A deed and who did it (user@host), at `at` in Unix seconds; `detail` is free text, such as why.

    `replays`: which replay of the letter it was, counted from 1; 0 for other deeds.
    """

    shop: str | None
    order: str | None
    deed: Deed
    at: float
    who: str
    detail: str = ""
    replays: int = 0


@value
class Known:
    """An order that has reached Neuroon before; `digest` as in `Record`, None when it was not kept."""

    digest: bytes | None


@value
class Claimed:
    """Orders looked up.

    `known` have reached Neuroon before; `taken` are in this store's hand now, known ones among them; `elsewhere` are
    unknown, and in another one's hand.
    """

    known: dict[Key, Known] = field(default_factory=dict)
    taken: AbstractSet[Key] = frozenset()
    elsewhere: AbstractSet[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an order is: an outcome's word, waiting, held, discarded; since `at` (Unix seconds), until `due`."""

    state: str
    at: float
    due: float | None = None


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing, or several of the same kind, in an order's life. Times are Unix seconds.

    `event`: retry, held, dead, duplicate, conflict, replayed, discarded or imported.
    """

    event: str
    first_at: float
    last_at: float
    times: int = 1
    attempt: int = 0
    replays: int = 0
    reason: str = ""
    status: int | None = None
    milliseconds: float | None = None
    due: float | None = None
    detail: str = ""
    who: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """All that is known of one order but its happenings; times are Unix seconds. See the SQL files for each column.

    `outcome` is None for a row that a shop put into the table and that was not tried yet.
    """

    shop: str
    order: str
    outcome: str | None
    reason: str | None = None
    status: int | None = None
    attempt: int = 0
    attempts: int = 0
    milliseconds: float | None = None
    last_error: str | None = None
    created_at: float = 0.0
    outcome_at: float | None = None
    received_at: float | None = None
    unattributed_at: float | None = None
    due_at: float | None = None
    event_id: str | None = None
    delivered: int = 0
    duplicate: int = 0

    @property
    def standing(self) -> Standing:
        """Where the order is."""
        return Standing(self.outcome or "waiting", self.outcome_at or self.created_at, self.due_at)


@dataclass(frozen=True, slots=True)
class History:
    """An order and what happened to it, the oldest first."""

    entry: Entry
    happenings: tuple[Happening, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Orders that match all that is given; `since` and `until` are times of the last outcome, both included."""

    shop: str | None = None
    state: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Messages of one shop and day (of the order's first event, UTC, as YYYY-MM-DD) by where they are.

    `waiting` and `dead` include those of the outbox, which are in no queue: `outbox_waiting` and `outbox_dead`; and
    those that may be on their way between a queue and a consumer: `moving_waiting` and `moving_dead`.
    """

    shop: str
    day: str
    received: int = 0
    delivered: int = 0
    duplicate: int = 0
    unattributed: int = 0
    waiting: int = 0
    dead: int = 0
    discarded: int = 0
    outbox_waiting: int = 0
    outbox_dead: int = 0
    moving_waiting: int = 0
    moving_dead: int = 0


@dataclass(frozen=True, slots=True)
class Condition:
    """How the ledger does: `pending` entries wait to be written, `lost` were more than memory may hold."""

    ok: bool
    message: str
    pending: int = field(default=0)
    lost: int = field(default=0)


class Ledger(Protocol):
    """Remembers orders by (shop id, order id). It never decides whether an order lives: no method raises."""

    async def open(self) -> None:
        """Open what there is to open; one that cannot be opened now is opened when it can."""

    async def delivered_before(self, shop: str, order: str) -> Known | None:
        """What is known of an order that has reached Neuroon; None if it has not, or that cannot be found out.

        From then on the order is in the caller's hand, until `let_go`: another process that asks for it meanwhile is
        told only then, or after a second.
        """

    def let_go(self, shop: str, order: str) -> None:
        """The order is not in hand any more, its end on record or not. To be called after each `delivered_before`."""

    async def record(self, record: Record) -> None:
        """Remember the end of a try. A ledger that works has it on disk when this returns."""

    async def note(self, note: Note) -> None:
        """Remember what a person did to a dead letter."""

    async def sightings(self, orders: Sequence[Key]) -> Sequence[Standing | None]:
        """Where each order is; None where nothing is known, or it cannot be found out."""

    @property
    def condition(self) -> Condition:
        """How the ledger does."""

    async def close(self) -> None:
        """Write what is left and close."""


class Store(Protocol):
    """A place where the ledger is kept. All methods raise LedgerDownError."""

    async def open(self) -> None:
        """Connect, and bring the tables up to date. Harmless when it is open."""

    async def migrate(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Bring the tables up to date, however long it takes; `tell` is called with each step."""

    async def write(self, lines: Sequence[Record | Note]) -> None:
        """Write all in one transaction, in this order. Raises LedgerRefusedError when one of them cannot be kept."""

    async def delivered(self, keys: Sequence[Key]) -> dict[Key, Known]:
        """Those of `keys` that have reached Neuroon."""

    async def claim(self, keys: Sequence[Key], done: Sequence[Key] = ()) -> Claimed:
        """Let go of `done`, take those of `keys` that nobody else has, and look all up, in this order.

        What is taken ends with the process, however that ends, and with this store's connection. An order may be taken
        several times, and is then let go of as often. A store that cannot keep others away takes nothing, and works.
        One call at a time.
        """

    async def standings(self, keys: Sequence[Key]) -> dict[Key, Standing]:
        """Where those of `keys` are that are known."""

    async def histories(self, order: str, shop: str | None = None) -> list[History]:
        """Everything about an order; about one for each shop that has an order of this id."""

    async def entries(self, wanted: Wanted, limit: int) -> list[Entry]:
        """At most `limit` orders, the latest outcome first."""

    async def tallies(self, moving: Span = NOTHING_MOVES) -> list[Tally]:
        """The counts of all shops and days. An order moves if its last try ended, or its next was due, in `moving`."""

    async def prune(self, before: float, *, dry_run: bool = False) -> int:
        """Forget orders that came to their end before `before`; those that still rest in a queue are kept."""

    async def close(self) -> None:
        """Close; it may be opened again."""
