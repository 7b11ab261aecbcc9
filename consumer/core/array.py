"""A JSON array taken apart: its elements byte for byte, numbers spelled as the shop spelled them."""

import json
import re
from collections.abc import Iterator

_WHITESPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


def array_elements(text: str) -> list[bytes] | None:
    """The elements of a JSON array, each as it is written; None if `text` is something else."""
    if not text.lstrip().startswith("["):
        return None
    try:
        if not isinstance(json.loads(text), list):
            return None
        return [text[start:end].encode() for start, end in _elements(text)]
    except (ValueError, RecursionError):
        return None


def _elements(text: str) -> Iterator[tuple[int, int]]:
    at = _skip(text, text.index("[") + 1)
    while text[at] != "]":
        _, end = _decode(text, at)
        yield at, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _WHITESPACE.match(text, at)
    return match.end() if match else at
