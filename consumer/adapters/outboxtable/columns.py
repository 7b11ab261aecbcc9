"""Which columns a shop's table may have: those of the recipe, in the types that shops give them.

A type that a mark could not be written to, or by which a row could not be found again, is refused by name before
anything is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from consumer.adapters.outboxtable import ERROR_LENGTH, OutboxUsageError


class Kind(StrEnum):
    """What a type holds, whatever a database calls it."""

    TEXT = "text"
    NUMBER = "a whole number"
    UUID = "a UUID"
    BYTES = "bytes"
    JSON = "JSON"
    TIME = "a time"
    OTHER = "something else"


@dataclass(frozen=True, slots=True)
class Column:
    """Its type in the database's words, what that holds, and how many characters at most (None: no such limit)."""

    type: str
    kind: Kind
    length: int | None = None


_ID = (Kind.TEXT, Kind.NUMBER, Kind.UUID, Kind.BYTES)
_EXPECTED = {
    "order_id": _ID,
    "payload": (Kind.JSON, Kind.TEXT, Kind.BYTES),
    "attempts": (Kind.NUMBER,),
    "last_error": (Kind.TEXT,),
    "created_at": (Kind.TIME, Kind.NUMBER),
    "synced_at": (Kind.TIME,),
}
_OPTIONAL = {"shop_id": _ID}


@dataclass(frozen=True, slots=True)
class Shape:
    """What the statements need to know of a table that will do."""

    has_shop: bool
    error_length: int


def shape(table: str, columns: Mapping[str, Column]) -> Shape:
    """The shape of `table` with these columns. Raises OutboxUsageError, which names all that will not do."""
    problems = [f"it has no column {name}" for name in _EXPECTED if name not in columns]
    for name, kinds in (_EXPECTED | _OPTIONAL).items():
        column = columns.get(name)
        if column is not None and column.kind not in kinds:
            problems.append(f"{name} is {column.type}; expected {' or '.join(kinds)}")
    if problems:
        raise OutboxUsageError(f"{table} cannot be flushed: {'; '.join(problems)}")
    length = columns["last_error"].length
    return Shape("shop_id" in columns, ERROR_LENGTH if length is None else min(length, ERROR_LENGTH))
