"""What all targets draw from: awkward JSON values, valid documents with something wrong in them, damaged bytes."""

import copy
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

# Stands for a customer's data. No detail of an error, and no text that is logged, may have it.
CANARY = "c4naryJaneDoe"

INTEGERS = st.integers(-3, 3) | st.integers() | st.sampled_from((10**9, 10**15, -(10**15), 2**64, 10**511, 10**4000))
DECIMALS = st.sampled_from(
    ("0.1", "12.50", "1.005", "-0.0", "0E-8", "1e400", "1e-400", "1E+999999", "1e-999999", "1e99999999", "9" * 101)
).map(Decimal) | st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**6), max_value=10**6)
TEXTS = (
    st.sampled_from(
        (
            "",
            " ",
            "EUR",
            "eur ",
            "JPY",
            "12.50",
            "-1",
            "1e5",
            "0E-8",
            "true",
            "null",
            "\0",
            "\x1b[31m",
            "\u202e",
            "\ufeff",
        )
    )
    | st.sampled_from((CANARY, f"{CANARY} {CANARY}", f'{{"{CANARY}": "{CANARY}"}}', "x" * 512, "x" * 513, "é😀"))
    | st.text(max_size=12)
)
SCALARS = st.none() | st.booleans() | INTEGERS | DECIMALS | TEXTS
KEYS = st.sampled_from(("id", "value", "amount", "data", "payload", "type", "lines", "items", CANARY)) | st.text(
    max_size=6
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def mostly(usual: st.SearchStrategy[Any], awkward: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The usual in nine cases of ten: of many values in one document, one that is wrong hides all others."""
    return st.integers(0, 9).flatmap(lambda number: awkward if number == 9 else usual)


def spelled(value: object) -> str:
    """JSON text with numbers digit by digit, which `json.dumps` has no way to write."""
    match value:
        case Decimal():
            return str(value)
        case dict():
            return "{" + ",".join(f"{json.dumps(key)}:{spelled(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ",".join(map(spelled, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def exactly(text: str | bytes) -> Any:
    """JSON as Python's own decoder reads it, numbers exact. ValueError where it reads none."""
    return json.loads(text, parse_float=Decimal)


def size(value: object) -> int:
    """How many values a document is made of."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(size, inner))


def steps(function: Callable[[], T]) -> tuple[T, int]:
    """What a function returns, and how many calls it made of functions in Python and in C: time without a clock.

    The first call of a function may import and compile more than the later ones.
    """
    count = 0

    def step(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(step)
    try:
        found = function()
    finally:
        sys.setprofile(before)
    return found, count


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The bytes in pieces, cut anywhere, none of them empty."""
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=6)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]


@st.composite
def damaged(draw: st.DrawFn, valid: st.SearchStrategy[bytes], tokens: Sequence[bytes] = (b"\0",)) -> bytes:
    """Valid bytes with up to four places written over, taken out, doubled, cut off, or filled with a token."""
    data = draw(valid)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        new = draw(
            st.sampled_from((b"", data[at:end] * 2)) | st.binary(min_size=1, max_size=3) | st.sampled_from(list(tokens))
        )
        data = data[:at] + new + (b"" if draw(st.integers(0, 9)) == 0 else data[end:])
    return data


@st.composite
def altered(draw: st.DrawFn, valid: st.SearchStrategy[Any]) -> Any:
    """A valid document in which up to four values are others, missing, doubled, wrapped, renamed or made text."""
    holder = [copy.deepcopy(draw(valid))]
    for _ in range(draw(st.sampled_from((0, 0, 1, 1, 2, 4)))):
        container, key = draw(st.sampled_from(list(_places(holder))))
        _alter(draw, container, key, holder)
    return holder[0] if holder else None


def _places(container: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(container) if isinstance(container, dict) else range(len(container)):
        yield container, key
        if isinstance(container[key], dict | list):
            yield from _places(container[key])


def _alter(draw: st.DrawFn, container: Any, key: Any, holder: list[Any]) -> None:
    value = container[key]
    match draw(st.sampled_from(("other", "other", "missing", "doubled", "wrapped", "renamed", "text", "moved"))):
        case "missing" if container is not holder:
            del container[key]
        case "doubled" if isinstance(container, list) and container is not holder:
            container.insert(key, copy.deepcopy(value))
        case "wrapped":
            container[key] = draw(st.sampled_from(([value], {"data": value}, {CANARY: value})))
        case "renamed" if isinstance(container, dict):
            container[draw(KEYS)] = container.pop(key)
        case "text":
            container[key] = spelled(value)
        case "moved":
            other, place = draw(st.sampled_from(list(_places(holder))))
            container[key] = copy.deepcopy(other[place])
        case _:
            container[key] = draw(VALUES)
