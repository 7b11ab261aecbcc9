"""Identifiers as every database can keep and index them.

PostgreSQL's text has no NUL, UTF-8 has no lone surrogates, and a B-tree key of PostgreSQL ends at 2,704 bytes, while an
event's ids may have 512 characters of any kind. No two identifiers become one text: an order must never be taken for
another.
"""

import hashlib

# A character that Unicode promises never to assign, so that ordinary identifiers do not begin with it.
_MARK = "\ufdd0"

# Two of these fit into one key, with room for what an index adds.
LONGEST = 1000


def storable(identifier: str) -> str:
    """The text under which an identifier is kept: itself, but for NUL, surrogates and great length."""
    if identifier.isascii() and "\0" not in identifier:  # and so at most 512 bytes: see `to_identifier`
        return identifier if len(identifier) <= LONGEST else _shortened(identifier.encode())
    raw = identifier.encode("utf-8", "surrogatepass")
    if len(raw) > LONGEST:
        return _shortened(raw)
    if "\0" in identifier or identifier.startswith(_MARK) or any("\ud800" <= each <= "\udfff" for each in identifier):
        return _MARK + identifier.encode("unicode_escape").decode()
    return identifier


def readable(kept: str) -> str:
    """The identifier that was kept; of a long one only its beginning and a hash are left."""
    if not kept.startswith(_MARK) or kept.startswith(f"{_MARK}#"):
        return kept.removeprefix(f"{_MARK}#")
    return kept[1:].encode().decode("unicode_escape")


def plain(text: str, limit: int = 1024) -> str:
    """A text for people as every database keeps it, at most `limit` characters."""
    return text[:limit].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _shortened(raw: bytes) -> str:
    beginning = raw[:100].decode("utf-8", "ignore").replace("\0", "\ufffd")
    return f"{_MARK}#{beginning}…{hashlib.sha256(raw).hexdigest()}"
