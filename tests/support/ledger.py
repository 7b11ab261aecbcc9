"""Invented ends of tries."""

from consumer.adapters.ledger import Deed, Key, Note, Record
from consumer.core.delivery import Journey
from consumer.core.outcome import Outcome

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z


def record(  # noqa: PLR0913 - all but the first two have a usual value
    order: str | None,
    outcome: Outcome,
    *,
    shop: str | None = "shop_a",
    at: float = NOON,
    attempt: int = 1,
    replays: int = 0,
    fresh: bool = True,
    digest: bytes | None = b"d" * 32,
    message: str | None = None,
    redelivered: bool = False,
    outbox: bool = False,
    formerly: Key | None = None,
) -> Record:
    """The end of one try, a second after the event came in."""
    journey = Journey(attempt, at - 1, "order.paid", "order.paid", message, replays)
    event = None if order is None else f"evt-{order}"
    return Record(shop, order, journey, outcome, at, 12.5, digest, event, message, redelivered, fresh, outbox, formerly)


def note(
    order: str | None,
    deed: Deed,
    *,
    shop: str | None = "shop_a",
    at: float = NOON,
    who: str = "ada@desk",
    replays: int = 0,
) -> Note:
    """A deed of Ada's."""
    return Note(shop, order, deed, at, who, "", replays)
