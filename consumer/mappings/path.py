"""Paths: where in a message something stands. JMESPath, and where it begins.

total_price                 from where the paths of its table begin: the order, the line, the event
$event.source.shopId        from the event without its envelopes
$order.currency             from the order, for the paths of a line
$body | data[0].id          from the body as it came
$header.X-Shopify-Topic     a header; its name is taken as it stands, in any case
$routing_key                also $exchange, $type (what the envelope calls the event), $property.app_id
$message | headers."x-a"    from an object of all of these, to compare one with another
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from consumer.mappings.expression import Expression, compile_expression
from consumer.mappings.message import PROPERTIES, Message

Getter = Callable[[Message], object]

_SCOPED = re.compile(r"\$(?P<scope>\w*)(?:\s*\|\s*(?P<piped>.+)|\.(?P<field>.+)|(?P<index>\[.+))?", re.DOTALL)


class PathError(ValueError):
    """The path cannot be compiled; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Paths:
    """One path or several; the first that finds something counts. Null and blank text are nothing."""

    texts: tuple[str, ...] = ()
    getters: tuple[Getter, ...] = ()

    def find(self, message: Message) -> object:
        """What the first path with something finds; None if none does."""
        for getter in self.getters:
            if (value := getter(message)) is not None and not is_blank(value):
                return value
        return None

    def find_all(self, message: Message) -> list[object]:
        """What each path finds, where it finds something."""
        return [value for getter in self.getters if (value := getter(message)) is not None and not is_blank(value)]

    def __bool__(self) -> bool:
        return bool(self.texts)


NOWHERE = Paths()


def is_blank(value: object) -> bool:
    """Whether it is a text with nothing in it: what many shops write for null."""
    return isinstance(value, str) and (not value or value.isspace())


def compile_paths(texts: tuple[str, ...], base: str) -> Paths:
    """Paths that begin at `base` (event, order or line) where they name no other place. PathError if one is wrong."""
    return Paths(texts, tuple(compile_path(text, base) for text in texts))


def compile_path(text: str, base: str) -> Getter:
    """See `compile_paths`; ExpressionError (a ValueError too) where the JMESPath is wrong."""
    found = _SCOPED.fullmatch(text.strip())
    if found is None:
        return _BASES[base](compile_expression(text))
    scope, rest = found["scope"], found["piped"] or found["field"] or found["index"]
    if scope in _BASES:
        if scope == "line" and base != "line":
            raise PathError("$line is known in [line] only")
        if scope == "order" and base == "event":
            raise PathError("$order is not known yet where the event's type is looked for")
        return _BASES[scope](compile_expression("@" if rest is None else rest))
    if scope in _NAMED:
        return _named(scope, found["field"])
    if scope in _PLAIN and rest is None:
        return _PLAIN[scope]
    raise PathError(f"expected one of {SCOPES}")


SCOPES = "$event, $order, $line, $body, $message, $header.NAME, $property.NAME, $routing_key, $exchange or $type"


def _body(expression: Expression) -> Getter:
    return lambda message: expression(message.body)


def _event(expression: Expression) -> Getter:
    return lambda message: expression(message.event)


def _order(expression: Expression) -> Getter:
    return lambda message: expression(message.order)


def _line(expression: Expression) -> Getter:
    return lambda message: expression(message.line)


def _message(expression: Expression) -> Getter:
    return lambda message: expression(message.as_object())


_BASES: dict[str, Callable[[Expression], Getter]] = {
    "body": _body,
    "event": _event,
    "order": _order,
    "line": _line,
    "message": _message,
}


def _named(scope: str, name: str | None) -> Getter:
    if name is None:
        raise PathError(f"expected a name, such as ${scope}.{'X-Shop' if scope == 'header' else 'app_id'}")
    if scope == "header":
        key = name.strip().strip('"').lower()
        if _NOT_IN_A_NAME.search(key):
            example = f"$message | headers.\"{key.split()[0]}\" == '...'"
            raise PathError(f"expected a header's name and nothing after it; to compare it: {example}")
        return lambda message: message.carrier.headers.get(key)
    if name not in {*PROPERTIES, "message_id"}:
        raise PathError(f"expected a property out of {', '.join(PROPERTIES)}, message_id")
    return lambda message: message.carrier.properties[name]


_NOT_IN_A_NAME = re.compile(r"[\s=|&\[\]()]")
_NAMED = frozenset({"header", "property"})

_PLAIN: dict[str, Getter] = {
    "routing_key": lambda message: message.carrier.routing_key,
    "exchange": lambda message: message.carrier.exchange,
    "type": lambda message: message.type,
}
