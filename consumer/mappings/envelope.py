"""Envelopes, which frameworks put around events, and how they are taken off."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from consumer.mappings.expression import is_true
from consumer.mappings.message import Message
from consumer.mappings.path import Getter, Paths, compile_path, compile_paths

AUTO = "auto"

# An event in an outbox row in a change in a schema in a text: five. One more is a loop in somebody's data.
LAYERS = 8


@dataclass(frozen=True, slots=True)
class Envelope:
    """One kind. Without `body` it only tells the event's type. `key`: one that it always has."""

    name: str
    about: str
    key: str | None
    when: Getter | None
    body: Getter | None
    type: Paths

    def fits(self, message: Message) -> bool:
        """Whether what is left of the body is such an envelope."""
        event = message.event
        if self.key is not None and not (isinstance(event, dict) and self.key in event):
            return False
        return self.when is not None and is_true(self.when(message))

    def take_off(self, message: Message) -> None:
        """Leave what is inside, and remember the type it tells; the outermost type that is told counts."""
        if message.type is None:
            message.type = self.type.find(message)
        if self.body is not None:
            message.event = self.body(message)
            message.peeled.append(self.name)


@dataclass(frozen=True, slots=True)
class Peel:
    """The envelopes of one mapping, from the outermost to the innermost; `auto`: whichever are there."""

    envelopes: tuple[Envelope, ...] = ()
    auto: bool = False

    def take_off(self, message: Message) -> None:
        """Bring `message.event` from the whole body to what is inside."""
        if self.auto:
            _take_all_off(message)
        for envelope in self.envelopes:
            if envelope.body is None or envelope.fits(message):
                envelope.take_off(message)


def _take_all_off(message: Message) -> None:
    known = known_envelopes().values()
    for _ in range(LAYERS):
        if isinstance(message.event, list) and len(message.event) == 1:
            message.event = message.event[0]
        fitting = next((each for each in known if each.fits(message)), None)
        if fitting is None:
            break
        fitting.take_off(message)
    if message.type is None:
        for each in known:
            if each.body is None:
                each.take_off(message)


@cache
def known_envelopes() -> dict[str, Envelope]:
    """By name, in the order in which they are tried."""
    text = resources.files(__package__).joinpath("envelopes.toml").read_text("utf-8")
    return {name: _envelope(name, table) for name, table in tomllib.loads(text).items()}


def _envelope(name: str, table: dict[str, str | list[str]]) -> Envelope:
    def getter(key: str) -> Getter | None:
        text = table.get(key)
        return compile_path(text, "event") if isinstance(text, str) else None

    types = table.get("type", ())
    texts = (types,) if isinstance(types, str) else tuple(types)
    key = table.get("key")
    return Envelope(
        name,
        str(table["about"]),
        key if isinstance(key, str) else None,
        getter("when"),
        getter("body"),
        compile_paths(texts, "event"),
    )
