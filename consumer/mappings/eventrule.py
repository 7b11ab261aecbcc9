"""Which events are orders, which are passed over on purpose, and which are refunds."""

import fnmatch
import re
from dataclasses import dataclass, field

from consumer.core.order import Refund
from consumer.core.reading import Ignored
from consumer.mappings.expression import is_true
from consumer.mappings.message import Message
from consumer.mappings.path import NOWHERE, Paths

# An event's type is put into logs and headers; a longer one is a mistake in the mapping.
SHOWN = 80


@dataclass(frozen=True, slots=True)
class Patterns:
    """Words with * and ?, compared without regard to case. None at all matches nothing."""

    texts: tuple[str, ...] = ()
    _match: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        union = "|".join(fnmatch.translate(text) for text in self.texts)
        object.__setattr__(self, "_match", re.compile(union or r"(?!)", re.IGNORECASE))

    def match(self, text: str) -> bool:
        """Whether one of them matches the whole text."""
        return self._match.match(text) is not None


@dataclass(frozen=True, slots=True)
class EventRule:
    """`take`, `ignore` and `refund` are about the event's type; `..._when` about what it holds."""

    type: Paths
    take: Patterns = Patterns()
    ignore: Patterns = Patterns()
    refund: Patterns = Patterns()
    ignore_when: Paths = NOWHERE
    refund_when: Paths = NOWHERE

    def judge(self, message: Message, mapping: str) -> Ignored | Refund | None:
        """What the event is instead of an order; None if it counts as one.

        An event that tells no type is judged by what it holds: files and replays have lost their headers.
        """
        kind = self.type.find(message)
        if isinstance(kind, str):
            shown = f'event type "{kind[:SHOWN]}"'
            if self.refund.match(kind):
                return Refund(f"{shown} is a refund; mapping {mapping}")
            if self.ignore.match(kind):
                return Ignored(f"{shown} is ignored by mapping {mapping}")
            if self.take.texts and not self.take.match(kind):
                return Ignored(f"{shown} is not one that mapping {mapping} takes")
        if (when := _first_true(self.refund_when, message)) is not None:
            return Refund(f'a refund, since "{when}"; mapping {mapping}')
        if (when := _first_true(self.ignore_when, message)) is not None:
            return Ignored(f'ignored by mapping {mapping}, since "{when}"')
        return None


def _first_true(conditions: Paths, message: Message) -> str | None:
    for text, getter in zip(conditions.texts, conditions.getters, strict=True):
        if is_true(getter(message)):
            return " ".join(text.split())
    return None
