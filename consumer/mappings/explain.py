"""What a mapping met in an event, path by path: for the person who writes it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from consumer.core.delivery import Delivery
from consumer.mappings.expression import is_true
from consumer.mappings.linerule import NOTHING_BOUGHT
from consumer.mappings.mapping import Mapping
from consumer.mappings.message import Message
from consumer.mappings.path import Paths, is_blank


@dataclass(frozen=True, slots=True)
class Step:
    """One path and what it met. `used`: it is the one of its key whose value counts (of a condition: it is true)."""

    key: str
    path: str
    value: object
    used: bool

    def as_dict(self) -> dict[str, object]:
        """For JSON: the value as `spelled` tells it."""
        return {"key": self.key, "path": self.path, "found": spelled(self.value), "used": self.used}


@dataclass(frozen=True, slots=True)
class Explanation:
    """All of it. `envelopes`: those that were taken off, the outermost first; `type`: what they call the event."""

    mapping: str
    envelopes: tuple[str, ...]
    type: object
    steps: tuple[Step, ...]

    def used(self, key: str) -> Step | None:
        """The step whose value counts for a key such as "order.id"."""
        return next((step for step in self.steps if step.key == key and step.used), None)


def explain(mapping: Mapping, document: object, delivery: Delivery) -> Explanation:
    """What each path of `mapping` meets in a decoded event."""
    message = mapping.open(document, delivery)
    steps = (*_event_steps(mapping, message), *_order_steps(mapping, message), *_line_steps(mapping, message))
    return Explanation(mapping.name, tuple(message.peeled), message.type, steps)


def spelled(value: object) -> str | None:
    """A value as JSON spells it, numbers exact; None for nothing, and only the size of what is large."""
    match value:
        case None:
            return None
        case list() if len(value) > 0 and isinstance(value[0], dict | list):
            return f"a list of {len(value)}"
        case dict() if len(value) > SHOWN_MEMBERS:
            return f"an object of {len(value)}"
        case _:
            return _json(value)


# Members of an object that are shown; a map of clicks has a few, an order dozens.
SHOWN_MEMBERS = 6


def _json(value: object) -> str:
    match value:
        case Decimal():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{json.dumps(str(key))}: {_json(each)}" for key, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_json, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False, default=str)


def _event_steps(mapping: Mapping, message: Message) -> Iterator[Step]:
    yield from _steps("at", mapping.at, message)
    rule = mapping.rule
    if rule.take.texts or rule.ignore.texts or rule.refund.texts:
        yield from _steps("event.type", rule.type, message)
    for name, conditions in (("refund_when", rule.refund_when), ("ignore_when", rule.ignore_when)):
        yield from _conditions(f"event.{name}", conditions, message)


def _order_steps(mapping: Mapping, message: Message) -> Iterator[Step]:
    for name, paths in mapping.order.items():
        yield from _steps(f"order.{name}", paths, message)
    yield from _steps("order.shop_hint", mapping.shop_hint, message)
    yield from _steps("amounts", mapping.amounts.at_order, message)


def _line_steps(mapping: Mapping, message: Message) -> Iterator[Step]:
    rows = mapping.order["lines"].find(message)
    for number, message.line in enumerate(rows if isinstance(rows, list) else ()):
        name = f"line[{number}]"
        yield from _conditions(f"{name}.skip", mapping.line.skip, message)
        if mapping.line.reason_to_skip(message) == NOTHING_BOUGHT:
            yield Step(f"{name}.skip", NOTHING_BOUGHT, True, used=True)
        for field, paths in mapping.line.fields.items():
            yield from _steps(f"{name}.{field}", paths, message)
        yield from _steps(f"{name}.clicks", mapping.line.clicks, message)


def _steps(key: str, paths: Paths, message: Message) -> Iterator[Step]:
    found = False
    for text, getter in zip(paths.texts, paths.getters, strict=True):
        value = getter(message)
        used = not found and value is not None and not is_blank(value)
        found = found or used
        yield Step(key, text, value, used)


def _conditions(key: str, conditions: Paths, message: Message) -> Iterator[Step]:
    for text, getter in zip(conditions.texts, conditions.getters, strict=True):
        value = getter(message)
        yield Step(key, " ".join(text.split()), value, is_true(value))
