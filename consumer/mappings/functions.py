"""JMESPath's functions, with exact numbers and a few of our own for the ways in which shops write things down.

JMESPath knows floats only. Here its functions take the exact numbers that a body is decoded to, and none makes a float.
"""

import base64
import binascii
import json
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, Inexact, InvalidOperation
from functools import reduce
from typing import Any

from jmespath import functions
from jmespath.functions import signature

from consumer.core.body import Unreadable, decode_json
from consumer.core.money import AMOUNT_DIGITS, NotAnAmount, to_amount

ANY: dict[str, list[str]] = {"types": []}
NUMBER = {"types": ["number"]}
NUMBERS = {"types": ["array-number"]}

# A sum that would have to be rounded, of 1e300 and 0.01 for example, raises, and so has found nothing. Not the context
# of the thread, which rounds to 28 digits.
_EXACT = Context(prec=2 * AMOUNT_DIGITS, traps=[Inexact, InvalidOperation])
_DIVIDING = Context(prec=AMOUNT_DIGITS, traps=[InvalidOperation])


class ExactFunctions(functions.Functions):  # type: ignore[misc]  # the library has no types
    """The built-in functions, `to_number` made exact, and the functions that docs/mappings.md lists."""

    def _get_allowed_pytypes(self, types: list[str]) -> tuple[list[str], list[tuple[str, ...]]]:
        allowed, of_elements = super()._get_allowed_pytypes(types)
        if "float" in allowed:
            allowed = [*allowed, "Decimal"]
        return allowed, [(*each, "Decimal") if "float" in each else each for each in of_elements]

    def _convert_to_jmespath_type(self, pyobject: str) -> str:
        kind: str = super()._convert_to_jmespath_type("float" if pyobject == "Decimal" else pyobject)
        return kind

    @signature(NUMBER)  # type: ignore[untyped-decorator]
    def _func_abs(self, number: int | Decimal) -> object:
        """The number without its sign."""
        return abs(number) if isinstance(number, int) else number.copy_abs()

    @signature(NUMBER)  # type: ignore[untyped-decorator]
    def _func_ceil(self, number: int | Decimal) -> object:
        """The next whole number, upwards."""
        return _whole(number, ROUND_CEILING)

    @signature(NUMBER)  # type: ignore[untyped-decorator]
    def _func_floor(self, number: int | Decimal) -> object:
        """The next whole number, downwards."""
        return _whole(number, ROUND_FLOOR)

    @signature(NUMBERS)  # type: ignore[untyped-decorator]
    def _func_sum(self, numbers: list[int | Decimal]) -> object:
        """All of them together; 0 of none."""
        return _sum(numbers)

    @signature(NUMBERS)  # type: ignore[untyped-decorator]
    def _func_avg(self, numbers: list[int | Decimal]) -> object:
        """Their sum, divided by how many they are, to as many digits as an amount may have; null of none."""
        return _DIVIDING.divide(Decimal(_sum(numbers)), len(numbers)) if numbers else None

    @signature(ANY)  # type: ignore[untyped-decorator]
    def _func_to_string(self, value: object) -> object:
        """Text as it is, and anything else as JSON spells it."""
        return value if isinstance(value, str) else _json(value)

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
    def _func_has(self, value: object, key: str) -> bool | None:
        """Whether an object has this key, whatever is behind it."""
        return has(value, key)

    @signature(NUMBER, NUMBER)  # type: ignore[untyped-decorator]
    def _func_subtract(self, left: int | Decimal, right: int | Decimal) -> object:
        """The first number less the second."""
        return _sum([left, -right if isinstance(right, int) else right.copy_negate()])


def _sum(numbers: list[int | Decimal]) -> int | Decimal:
    if all(isinstance(number, int) for number in numbers):
        return sum(numbers)
    return reduce(_EXACT.add, numbers, Decimal(0))


def _whole(number: int | Decimal, rounding: str) -> int | None:
    """None of a number with more digits than an amount has: one of a billion digits takes 12 characters to write."""
    if isinstance(number, int):
        return number
    return int(number.to_integral_value(rounding)) if number.adjusted() < AMOUNT_DIGITS else None


def _json(value: object) -> str:
    match value:
        case Decimal():
            return str(value)
        case dict():
            return "{" + ",".join(f"{json.dumps(key)}:{_json(member)}" for key, member in value.items()) + "}"
        case list():
            return "[" + ",".join(map(_json, value)) + "]"
        case _:
            return json.dumps(value, default=str)


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


def has(value: object, key: object) -> bool | None:
    """Whether an object has this key, whatever is behind it; None if the key is no text."""
    return isinstance(value, dict) and key in value if isinstance(key, str) else None


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
