"""Orders whose fates are known beforehand, drawn from a seed."""

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from consumer.sandbox import SandboxShop
from tests.support.events import order, payload
from tests.support.odd_messages import KINDS, OddMessage

SHOPS = ("shop_a", "shop_b", "shop_c")
REFUSED, FAILING = "REFUSED", "FAILING"
# What the sandbox does throughout: these orders it never accepts.
STANDING_FAULTS = (f"422:order={REFUSED}-*", f"503:order={FAILING}-*")
# So few that they cannot look like an API that is down: that takes ten different failing orders.
FAILING_ORDERS = 3


class Fate(StrEnum):
    """Where an order must be found when all is over; for the dead, the word is the reason."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"  # delivered, although the shop publishes it twice
    UNATTRIBUTED = "unattributed"
    MALFORMED = "malformed"
    REFUND = "refund"
    UNKNOWN_SHOP = "unknown_shop"
    REFUSED = "refused"
    EXHAUSTED = "exhausted"


_SHARES = {
    Fate.DELIVERED: 80,
    Fate.DUPLICATE: 8,
    Fate.UNATTRIBUTED: 6,
    Fate.MALFORMED: 2,
    Fate.REFUND: 1,
    Fate.UNKNOWN_SHOP: 1,
    Fate.REFUSED: 2,
}
DEAD = frozenset({Fate.MALFORMED, Fate.REFUND, Fate.UNKNOWN_SHOP, Fate.REFUSED, Fate.EXHAUSTED})
_PREFIXES = {Fate.REFUSED: REFUSED, Fate.EXHAUSTED: FAILING}


@dataclass(frozen=True, slots=True)
class Order:
    """An event as the shop publishes it; its body is like no other's."""

    id: str
    shop: str
    fate: Fate
    body: bytes
    odd: OddMessage | None = None  # as what it is published, if not as a usual message

    @property
    def times(self) -> int:
        """How often the shop publishes it."""
        return 2 if self.fate is Fate.DUPLICATE else 1

    @property
    def payload(self) -> bytes:
        """What must arrive at Neuroon, to the byte."""
        return payload(self.id).encode()


def first_key(shop: str) -> SandboxShop:
    """A shop as it is before any rotation."""
    return SandboxShop(shop, key(shop, 0))


def key(shop: str, rotation: int) -> str:
    """The shop's API key after so many rotations."""
    return f"sk_{shop[-1] * 8}{rotation:024d}"


def draw(rng: Random, count: int) -> list[Order]:
    """`count` orders, of which three always fail."""
    fates = rng.choices(list(_SHARES), list(_SHARES.values()), k=count)
    for index in rng.sample(range(count), FAILING_ORDERS):
        fates[index] = Fate.EXHAUSTED
    return [one(rng, number, fate) for number, fate in enumerate(fates)]


def odd_ones(rng: Random) -> list[Order]:
    """One order of every kind of odd message whose body can be told from the others', in any order."""
    orders = []
    for number, (kind, message) in enumerate(KINDS.items()):
        fate = Fate(message.end)
        if message.body == order("ODD"):
            order_id, shop = f"ODD-{number}", rng.choice(SHOPS)
            message = replace(message, body=order(order_id, shopId=shop))  # noqa: PLW2901 - the same, of its own id
            orders.append(Order(order_id, shop, fate, message.body, message))
        elif fate is Fate.MALFORMED:
            orders.append(Order(f"ODD: {kind}", SHOPS[0], fate, message.body, message))
    rng.shuffle(orders)
    return orders


def one(rng: Random, number: int, fate: Fate) -> Order:
    """An order of this fate; `number` makes it unlike the others."""
    shop = "shop_nowhere" if fate is Fate.UNKNOWN_SHOP else rng.choice(SHOPS)
    order_id = f"{_PREFIXES.get(fate, fate.name)}-{number}"
    return Order(order_id, shop, fate, _body(order_id, shop, fate))


def _body(order_id: str, shop: str, fate: Fate) -> bytes:
    match fate:
        case Fate.UNATTRIBUTED:
            return order(order_id, shopId=shop, neuroonClicks={})
        case Fate.MALFORMED:
            return order(order_id, shopId=shop)[:-1]
        case Fate.REFUND:
            return order(order_id, shopId=shop, orderValue=-24.99)
        case _:
            return order(order_id, shopId=shop)
