"""Events in a file: one JSON document, an array of them, or one per line; each kept byte for byte."""

import json

from consumer.core.array import array_elements


def split_events(data: bytes) -> list[bytes]:
    """The events in `data`. What is no JSON at all is one event, so that rubbish can be sent and looked at too."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return [data]
    whole = array_elements(text)
    if whole is not None:
        return whole
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and not _is_document(text) and any(_is_document(line) for line in lines):
        return [line.encode() for line in lines]
    return [data] if text.strip() else []


def _is_document(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False
