"""Events in a file: one JSON document, an array of them, or one per line; each kept byte for byte."""

import json
import re
from collections.abc import Iterator

_WHITESPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


def split_events(data: bytes) -> list[bytes]:
    """The events in `data`. What is no JSON at all is one event, so that rubbish can be sent and looked at too."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return [data]
    whole = _array(text)
    if whole is not None:
        return whole
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and not _is_document(text) and any(_is_document(line) for line in lines):
        return [line.encode() for line in lines]
    return [data] if text.strip() else []


def _array(text: str) -> list[bytes] | None:
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


def _is_document(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False
