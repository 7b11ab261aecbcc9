"""Rows into PostgreSQL: one statement for all rows of a kind, an array for each column."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from consumer.adapters.ledger import Note, Record
from consumer.adapters.ledger import statements as sql
from consumer.adapters.ledger.grouping import tables, waves
from consumer.adapters.ledger.happening import HappeningRow
from consumer.adapters.ledger.row import PLAIN, LeavingRow, NoteRow, OrderRow, PlainRow
from consumer.adapters.ledger.session import transaction

_TYPES = {str: "text", int: "bigint", float: "double precision", bytes: "bytea"}
_TIME = "to_timestamp({})::timestamp"


def _rows(kind: type[Any]) -> str:
    """A SELECT that turns one array for each column into rows."""
    names = kind._fields
    types = [_column_type(kind, name) for name in names]
    arrays = ", ".join(f"${number}::{each}[]" for number, each in enumerate(types, 1))
    columns = ", ".join(_TIME.format(name) if name in {"created_at", "synced_at"} else name for name in names)
    constants = "".join(f", {value}" for value in PLAIN.values()) if kind is PlainRow else ""
    return f"SELECT {columns}{constants} FROM unnest({arrays}) AS new ({', '.join(names)})"


def _column_type(kind: type[Any], name: str) -> str:
    annotation = kind.__annotations__[name]
    return next(text for each, text in _TYPES.items() if annotation in (each, each | None))


_INSERT = {
    PlainRow: sql.insert_plain(_rows(PlainRow)),
    OrderRow: sql.insert_orders(_rows(OrderRow)),
    NoteRow: sql.insert_notes(_rows(NoteRow)),
    HappeningRow: sql.insert_happenings(_rows(HappeningRow)),
}

_KEYS = {kind: itemgetter(0, 1) for kind in (PlainRow, OrderRow, NoteRow)} | {
    HappeningRow: itemgetter(*range(8)),
    LeavingRow: itemgetter(*range(5)),
}
_LEAVE = sql.leave(lambda number: f"${number}::{'bigint' if number == 5 else 'text'}")  # noqa: PLR2004 - see `LeavingRow`


async def write_lines(connection: Any, lines: Sequence[Record | Note]) -> None:
    """Write all in one transaction, in this order. Raises what asyncpg and the network raise."""
    parts = [wave for rows in tables(lines) for wave in waves(rows, _KEYS[type(rows[0])])]
    if len(parts) == 1:  # a statement is a transaction of its own, and spares two round trips
        await _insert(connection, parts[0])
        return
    async with transaction(connection):
        for part in parts:
            await _insert(connection, part)


async def _insert(connection: Any, rows: Sequence[Any]) -> None:
    if isinstance(rows[0], LeavingRow):
        await connection.executemany(_LEAVE, rows)
        return
    await connection.execute(_INSERT[type(rows[0])], *zip(*rows, strict=True))
