"""The canonical event needs no mapping. Only when it cannot be read is it looked at for an envelope around it."""

from dataclasses import replace

from consumer.core.delivery import Delivery
from consumer.core.order import Malformed, read
from consumer.mappings.mapping import Mapping, Result


class CanonicalReader:
    """Reads as `mapping`, which is canonical.toml, does, and costs nothing where there is nothing to map."""

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping

    @property
    def name(self) -> str:
        """As in CONSUMER_MAPPING."""
        return self.mapping.name

    @property
    def about(self) -> str:
        """What it is for, in a line."""
        return self.mapping.about

    @property
    def hints_at_shop(self) -> bool:
        """No: a canonical event's shop id is Neuroon's, or an alias."""
        return False

    def read(self, document: object, delivery: Delivery) -> Result:
        """The order in a decoded event; never an exception, whatever it holds."""
        order = read(document)
        if not isinstance(order, Malformed):
            return order
        message = self.mapping.open(document, delivery)
        if not message.peeled:
            return self._explained(order)
        inside = read(message.order)
        return self._explained(inside) if isinstance(inside, Malformed) else inside

    def _explained(self, order: Malformed) -> Malformed:
        return replace(order, detail=f"{order.detail}; mapping {self.name}")
