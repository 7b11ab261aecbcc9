"""The canonical event needs no mapping. Only when it cannot be read is it looked at for an envelope around it."""

from dataclasses import replace

from consumer.core.delivery import Delivery
from consumer.core.order import Malformed, read
from consumer.mappings.mapping import FOREIGN_NUMBERS, Mapping, Result


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
        max_lines = self.mapping.max_lines
        order = read(document, max_lines)
        if not isinstance(order, Malformed):
            return order
        message = self.mapping.open(document, delivery)
        inside = read(message.order, max_lines) if message.peeled else order
        if isinstance(inside, Malformed):
            return replace(inside, detail=self.mapping.explained(inside.detail, message, FOREIGN_NUMBERS))
        return inside
