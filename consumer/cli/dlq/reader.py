"""What reads the events of dead letters: the mapping that the consumer uses, without asking anybody else."""

from collections.abc import Callable

from consumer.app import open_intake
from consumer.core.delivery import Delivery
from consumer.core.order import Malformed, OrderPaid, Refund
from consumer.core.reading import Ignored
from consumer.core.shop import Shops
from consumer.settings import Settings


def letter_reader(settings: Settings, shops: Shops) -> Callable[[Delivery], OrderPaid | Malformed | Refund]:
    """A reader of one order per letter; SettingsError when the mapping cannot be used.

    The shop's own function that completes events is not called: a look at a letter asks nothing of the shop.
    """
    intake = open_intake(settings.model_copy(update={"consumer_enrich": None}), lambda: shops)

    def read(delivery: Delivery) -> OrderPaid | Malformed | Refund:
        reading = intake(delivery)
        match reading:
            case OrderPaid() | Malformed() | Refund():
                return reading
            case Ignored(why):
                return Malformed(f"would be ignored now: {why}", reading.order_id, reading.shop_id)
            case _:
                return Malformed("an array of orders, which would be taken apart now")

    return read
