"""Rows into SQLite: as few statements as may be, because each hands the interpreter lock over."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from consumer.adapters.ledger import Note, Record
from consumer.adapters.ledger import statements as sql
from consumer.adapters.ledger.grouping import tables
from consumer.adapters.ledger.happening import HappeningRow
from consumer.adapters.ledger.row import PLAIN, LeavingRow, NoteRow, OrderRow, PlainRow

# Rows of one statement: SQLite takes 32,766 parameters, and each number of rows is a statement of its own to prepare.
ROWS = 48

# Written as CURRENT_TIMESTAMP would be.
_TEXT_TIMES = {"created_at", "synced_at"}


@dataclass(frozen=True)
class _Kind:
    """How rows of one kind are written."""

    insert: Callable[[str], str]
    template: str
    width: int
    times: tuple[int, ...]

    @classmethod
    def of(cls, row: type[Any], insert: Callable[[str], str], constants: Iterable[str] = ()) -> "_Kind":
        names = row._fields
        template = f"({', '.join([*('?' * len(names)), *constants])})"
        return cls(insert, template, len(names), tuple(i for i, name in enumerate(names) if name in _TEXT_TIMES))


_KINDS = {
    PlainRow.__name__: _Kind.of(PlainRow, sql.insert_plain, PLAIN.values()),
    OrderRow.__name__: _Kind.of(OrderRow, sql.insert_orders),
    NoteRow.__name__: _Kind.of(NoteRow, sql.insert_notes),
    HappeningRow.__name__: _Kind.of(HappeningRow, sql.insert_happenings),
}


def write_lines(connection: sqlite3.Connection, lines: Sequence[Record | Note]) -> None:
    """Write all in one transaction, in this order. Raises sqlite3.Error."""
    parts = [part for rows in tables(lines) for part in _portions(rows)]
    if len(parts) == 1:  # a statement is a transaction of its own, and spares two hand-overs of the interpreter lock
        _insert(connection, parts[0])
        return
    connection.execute("BEGIN IMMEDIATE")
    for part in parts:
        _insert(connection, part)
    connection.execute("COMMIT")


def _portions(rows: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (rows[start : start + ROWS] for start in range(0, len(rows), ROWS))


def _insert(connection: sqlite3.Connection, rows: Sequence[Any]) -> None:
    """One statement for all rows: a statement for each would hand the interpreter lock over as often."""
    if isinstance(rows[0], LeavingRow):
        connection.executemany(_LEAVE, rows)
        return
    kind = type(rows[0]).__name__
    values = [value for row in rows for value in row]
    for column in _KINDS[kind].times:
        for index in range(column, len(values), _KINDS[kind].width):
            if values[index] is not None:
                values[index] = _text_time(int(values[index]))
    connection.execute(_statement(kind, len(rows)), values)


_LEAVE = sql.leave("?{}".format)


@cache
def _statement(kind: str, rows: int) -> str:
    return _KINDS[kind].insert("VALUES " + ", ".join([_KINDS[kind].template] * rows))


@lru_cache(16)
def _text_time(second: int) -> str:
    """Unix seconds as CURRENT_TIMESTAMP writes them; a batch has one or two different ones."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")
