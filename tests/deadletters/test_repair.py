"""An edited event must be the same order of the same shop."""

import pytest

from consumer.core import delivery as header
from consumer.core.delivery import Delivery
from consumer.deadletters.letter import read_letter
from consumer.deadletters.repair import RepairError, repair
from tests.support.events import order
from tests.support.letters import letter, read


def attempt(original: Delivery, body: bytes) -> bytes:
    return repair(original, read_letter(original, read), body, read).body


def test_a_repaired_event_of_the_same_order_is_taken() -> None:
    """Amounts and lines may change, and the bytes are kept as they were written."""
    edited = order("ORD-1", shopId="shop_a", orderValue="1.00")
    assert attempt(letter("ORD-1"), edited) == edited


@pytest.mark.parametrize(
    ("edited", "why"),
    [
        (order("ORD-2", shopId="shop_a"), "orderId cannot change"),
        (order("ORD-1", shopId="shop_b"), "shopId cannot change"),
        (order("ORD-1"), "shopId cannot change"),
        (b"{}", "orderId: required"),
        (b"not JSON", "not JSON"),
        (order("ORD-1", shopId="shop_a", orderValue=-1), "negative"),
    ],
)
def test_another_order_or_an_unreadable_one_is_refused(edited: bytes, why: str) -> None:
    """It says what is wrong with the edited event."""
    with pytest.raises(RepairError, match=why):
        attempt(letter("ORD-1"), edited)


def test_an_unreadable_original_is_compared_as_far_as_it_is_known() -> None:
    """What the headers tell of order and shop still cannot change; what nobody knows can be anything."""
    known = letter("ORD-1", b"rubbish")
    with pytest.raises(RepairError, match="orderId"):
        attempt(known, order("ORD-2"))
    assert attempt(known, order("ORD-1"))
    unknown = letter("ORD-1", b"rubbish", **{header.ORDER: None, header.SHOP: None})
    assert attempt(unknown, order("ORD-7", shopId="shop_x"))
