"""What is written at once: the rows of many lines, in as few statements as may be."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, TypeVar

from consumer.adapters.ledger import Note, Record
from consumer.adapters.ledger.happening import happening_row
from consumer.adapters.ledger.row import leaving_row, note_row, order_row, plain_row

T = TypeVar("T", bound=tuple[Any, ...])


def waves(rows: Iterable[T], key: Callable[[T], tuple[Any, ...]]) -> list[list[T]]:
    """The rows in as many statements as needed for none to have two rows of one key, those of one key in their order.

    Each is sorted by key, so that two writers lock rows in the same order and never wait for each other in a ring.
    """
    found: list[dict[tuple[Any, ...], T]] = []
    seen: dict[tuple[Any, ...], int] = {}
    for row in rows:
        identity = key(row)
        number = seen[identity] = seen.get(identity, -1) + 1
        if number == len(found):
            found.append({})
        found[number][identity] = row
    return [[wave[identity] for identity in sorted(wave)] for wave in found]


def _kind(row: tuple[Any, ...]) -> str:
    return type(row).__name__


def tables(lines: Sequence[Record | Note]) -> list[list[Any]]:
    """The rows of all lines in the order in which they are to be written; each list has rows of one kind.

    Rows of different orders may change places, so that a batch takes few statements.
    """
    rows: list[Any] = []
    for line in lines:
        if isinstance(line, Note):
            rows.append(note_row(line))
            continue
        if line.formerly is not None:
            rows.append(leaving_row(line))
        rows.append(plain_row(line) or order_row(line))
    if len({row[:2] for row in rows}) == len(rows):
        rows.sort(key=_kind)
    runs: list[list[Any]] = [list(run) for _, run in groupby(rows, type)]
    happenings = [row for line in lines if (row := happening_row(line)) is not None]
    return [*runs, happenings] if happenings else runs
