"""An edited event in place of a dead letter's own: it must be the same order of the same shop, and readable."""

from dataclasses import dataclass, field, replace

from consumer.core.delivery import Delivery
from consumer.core.order import OrderPaid
from consumer.deadletters.letter import Letter, Read


class RepairError(Exception):
    """The edited event cannot go in place of the original; the message says why, and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Repair:
    """An edited event that has been checked against its original."""

    body: bytes = field(repr=False)


def repair(original: Delivery, letter: Letter, body: bytes, read: Read) -> Repair:
    """The edited event `body`, checked; raises RepairError.

    What the original does not tell, because it cannot be read, is not compared.
    """
    edited = replace(original, body=body, properties=replace(original.properties, content_encoding=None))
    order = read(edited)
    if not isinstance(order, OrderPaid):
        raise RepairError(f"the edited event cannot be read either: {order.detail}")
    before = read(original)
    _same("orderId", before.order_id or letter.order, order.order_id)
    if before.shop_id is not None:
        _same("shopId", before.shop_id, order.shop_id)
    elif order.shop_id is not None:
        _same("shopId", letter.shop, order.shop_id)
    return Repair(body)


def _same(name: str, before: str | None, after: str | None) -> None:
    if before is not None and before != after:
        raise RepairError(f"{name} cannot change: it is {before!r}, and {after!r} in the edited event")
