"""What reading a message can give, besides an order."""

from dataclasses import dataclass, field

from consumer.core.order import Malformed, OrderPaid, Refund


@dataclass(frozen=True, slots=True)
class Ignored:
    """The mapping passes this event over on purpose. `why` quotes at most the event's type."""

    why: str
    order_id: str | None = None
    shop_id: str | None = None


@dataclass(frozen=True, slots=True)
class Several:
    """The message is an array: the bytes of each element, as they stand in it."""

    bodies: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unready:
    """What the event lacks could not be fetched this time; it may be had later. `why` quotes nothing."""

    why: str


Reading = OrderPaid | Malformed | Refund | Ignored | Several | Unready
