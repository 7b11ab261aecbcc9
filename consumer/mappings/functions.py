"""JMESPath's functions, with exact numbers and a few of our own for the ways in which shops write things down.

JMESPath knows floats only. Here its functions take the exact numbers that a body is decoded to, and none makes a float.
"""

import base64
import binascii
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from jmespath import functions
from jmespath.functions import signature

from consumer.core.body import Unreadable, decode_json
from consumer.core.money import NotAnAmount, to_amount

ANY: dict[str, list[str]] = {"types": []}


class ExactFunctions(functions.Functions):  # type: ignore[misc]  # the library has no types
    """The built-in functions, `to_number` made exact, and the functions that docs/mappings.md lists."""

    def _get_allowed_pytypes(self, types: list[str]) -> tuple[list[str], list[tuple[str, ...]]]:
        allowed, of_elements = super()._get_allowed_pytypes(types)
        if "float" in allowed:
            allowed = [*allowed, "Decimal"]
        return allowed, [(*each, "Decimal") if "float" in each else each for each in of_elements]

    @signature(ANY)  # type: ignore[untyped-decorator]
    def _func_to_number(self, value: object) -> object:
        """An exact number from a number or a decimal text; null from anything else."""
        if isinstance(value, int | Decimal):
            return None if isinstance(value, bool) else value
        amount = to_amount(value)
        return None if isinstance(amount, NotAnAmount) else amount

    @signature(ANY)  # type: ignore[untyped-decorator]
    def _func_last_segment(self, value: object) -> object:
        """See `last_segment`."""
        return last_segment(value)

    @signature(ANY)  # type: ignore[untyped-decorator]
    def _func_from_json(self, value: object) -> object:
        """The document that a text of JSON holds; null if it holds none; anything but text as it is."""
        if not isinstance(value, str):
            return value
        document = decode_json(value.encode(errors="replace"))
        return None if isinstance(document, Unreadable) else document

    @signature(ANY)  # type: ignore[untyped-decorator]
    def _func_from_base64(self, value: object) -> object:
        """The text behind base64, or base64url; null if there is none."""
        if not isinstance(value, str):
            return None
        try:
            raw = base64.b64decode(value.translate(_URL_SAFE) + "=" * (-len(value) % 4), validate=True)
            return raw.decode()
        except (binascii.Error, ValueError):
            return None

    @signature(ANY)  # type: ignore[untyped-decorator]
    def _func_entries(self, value: object) -> object:
        """The members of an object as a list of {key, value}: for lines that are kept by product id."""
        if not isinstance(value, dict):
            return None
        return [{"key": key, "value": member} for key, member in value.items()]

    @signature(ANY)  # type: ignore[untyped-decorator]
    def _func_type(self, value: object) -> object:
        """What JSON calls the value."""
        return "number" if isinstance(value, Decimal) else super()._func_type(value)

    @signature(ANY, {"types": ["string"]})  # type: ignore[untyped-decorator]
    def _func_has(self, value: object, key: str) -> bool:
        """Whether an object has this key, whatever is behind it."""
        return has(value, key)

    @signature({"types": ["number"]}, {"types": ["number"]})  # type: ignore[untyped-decorator]
    def _func_subtract(self, left: int | Decimal, right: int | Decimal) -> object:
        """The first number less the second."""
        return left - right


_URL_SAFE = str.maketrans("-_", "+/")

# What each function is called, and what it takes.
FUNCTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    name: entry["signature"] for name, entry in ExactFunctions.FUNCTION_TABLE.items()
}


def last_segment(value: object) -> str | None:
    """What follows the last slash or colon: MUG_BLUE of /api/v2/shop/product-variants/MUG_BLUE."""
    if not isinstance(value, str):
        return None
    return value.rstrip("/").replace(":", "/").rpartition("/")[2].partition("?")[0]


def has(value: object, key: object) -> bool:
    """Whether an object has this key, whatever is behind it."""
    return isinstance(value, dict) and key in value


def _contains(subject: object, search: object) -> bool | None:
    if isinstance(subject, str):
        return search in subject if isinstance(search, str) else None
    return search in subject if isinstance(subject, list) else None


def _length(value: object) -> int | None:
    return len(value) if isinstance(value, str | list | dict) else None


def _keys(value: object) -> list[object] | None:
    return list(value) if isinstance(value, dict) else None


def _values(value: object) -> list[object] | None:
    return list(value.values()) if isinstance(value, dict) else None


_TYPES = {bool: "boolean", str: "string", list: "array", dict: "object", int: "number", Decimal: "number"}


def _type(value: object) -> str:
    return _TYPES.get(type(value), "null")


# The functions that envelopes and built-in mappings use at every order, without the checks of the library.
QUICK: dict[str, Callable[..., Any]] = {
    "contains": _contains,
    "has": has,
    "keys": _keys,
    "last_segment": last_segment,
    "length": _length,
    "type": _type,
    "values": _values,
}
