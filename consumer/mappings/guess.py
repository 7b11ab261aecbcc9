"""Which built-in mapping an event seems to be made for."""

from dataclasses import dataclass

from consumer.core.delivery import Delivery
from consumer.core.order import OrderPaid, Refund
from consumer.mappings.explain import Explanation, explain
from consumer.mappings.library import builtin_names, load_mapping
from consumer.mappings.mapping import Mapping, Result


@dataclass(frozen=True, slots=True)
class Fit:
    """How well one mapping does. `found`: the share of its keys that found something."""

    mapping: str
    result: Result
    found: float

    @property
    def fits(self) -> bool:
        """Whether it makes an order of the event."""
        return isinstance(self.result, OrderPaid)


def guess(document: object, delivery: Delivery) -> list[Fit]:
    """All built-in mappings, the best first: those that make an order of the event or know it for a refund."""
    fits = [_fit(load_mapping(name), document, delivery) for name in builtin_names()]
    return sorted(fits, key=lambda fit: (not fit.fits, not isinstance(fit.result, Refund), -fit.found))


def _fit(mapping: Mapping, document: object, delivery: Delivery) -> Fit:
    return Fit(mapping.name, mapping.read(document, delivery), _share(mapping, explain(mapping, document, delivery)))


def _share(mapping: Mapping, explanation: Explanation) -> float:
    """Of the keys that an order has to have, and of its first line, those that found something."""
    keys = [f"order.{name}" for name in mapping.order] + [f"line[0].{name}" for name in mapping.line.fields]
    return sum(explanation.used(key) is not None for key in keys) / len(keys)
