"""A ledger that forgets at the end of the process: for tests, and for those who want no file.

What a further end of a try makes of an order is said here once more, in Python; the conformance suite holds it and the
SQL of `statements.py` to the same answers.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from consumer.adapters.ledger import (
    NOTHING_MOVES,
    Claimed,
    Condition,
    Entry,
    Happening,
    History,
    Key,
    Known,
    Note,
    Record,
    Span,
    Standing,
    Tally,
    Wanted,
)
from consumer.adapters.ledger.happening import happening_row, read_happening
from consumer.adapters.ledger.moment import moment
from consumer.adapters.ledger.moved import MOVED, followed, new_keys
from consumer.adapters.ledger.row import OUTBOX, OrderRow, dated, note_row, order_row

# About 100 MB; the oldest are forgotten first.
MAX_ORDERS = 100_000

_FINAL = frozenset({"delivered", "duplicate"})
_KEPT_ONCE_FINAL = ("outcome", "reason", "status", "attempt", "milliseconds", "outcome_at", "due_at")
_FIRST = ("synced_at", "received_at", "event_id", "unattributed_at")
_LAST = ("last_error", "source")
_COUNTED = {
    "delivered": "delivered",
    "duplicate": "duplicate",
    "unattributed": "unattributed",
    "waiting": "waiting",
    "held": "waiting",
    "dead": "dead",
}

Row = dict[str, Any]


class MemoryLedger:
    """A `Ledger` and a `Store` of the orders seen last, `limit` of them at most."""

    def __init__(self, limit: int = MAX_ORDERS) -> None:
        self._limit = limit
        self._rows: dict[Key, Row] = {}
        self._happenings: dict[Key, dict[tuple[Any, ...], Happening]] = {}

    @property
    def condition(self) -> Condition:
        """See `Ledger`."""
        return Condition(True, "in memory, forgotten at the end")

    async def delivered_before(self, shop: str, order: str) -> Known | None:
        """See `Ledger`."""
        return (await self.delivered([(shop, order)])).get((shop, order))

    def let_go(self, shop: str, order: str) -> None:
        """See `Ledger`. No other process looks in here."""

    async def record(self, record: Record) -> None:
        """See `Ledger`."""
        await self.write([record])

    async def note(self, note: Note) -> None:
        """See `Ledger`."""
        await self.write([note])

    async def sightings(self, orders: Sequence[Key]) -> Sequence[Standing | None]:
        """See `Ledger`."""
        known = await self.standings(orders)
        return [known.get(key) for key in orders]

    async def open(self) -> None:
        """See `Store`."""

    async def migrate(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """See `Store`."""

    async def close(self) -> None:
        """See `Store`."""

    async def write(self, lines: Sequence[Record | Note]) -> None:
        """See `Store`."""
        for line in lines:
            key = (line.shop or "", line.order or "")
            before = self._rows.get(key)
            if isinstance(line, Record):
                if line.formerly is not None and line.formerly in self._rows:
                    self._leave(line.formerly, line)
                self._rows[key] = _recorded(before, order_row(line)._asdict())
            else:
                self._rows[key] = _noted(before, note_row(line)._asdict())
            self._tell(key, line)
        while len(self._rows) > self._limit:
            oldest = next(iter(self._rows))
            del self._rows[oldest]
            self._happenings.pop(oldest, None)

    def _leave(self, old: Key, line: Record) -> None:
        there = self._rows.get((line.shop or "", line.order or ""))
        if there is None or not _again(there, order_row(line).trace):
            self._rows[old] = _left(self._rows[old], line.shop or "", known=bool(old[1]), same=old[1] == line.order)

    def _tell(self, key: Key, line: Record | Note) -> None:
        row = happening_row(line)
        if row is not None:
            happenings = self._happenings.setdefault(key, {})
            new = read_happening((row.event, row.first_at, row.last_at, 1, row.attempt, row.replays, row.reason,
                                  row.status, row.milliseconds, row.due_at, row.detail, row.who))  # fmt: skip
            old = happenings.get(row[2:8])
            happenings[row[2:8]] = new if old is None else replace(new, first_at=old.first_at, times=old.times + 1)

    async def delivered(self, keys: Sequence[Key]) -> dict[Key, Known]:
        """See `Store`."""
        return {
            key: Known(row["digest"]) for key in keys if (row := self._rows.get(key)) and row["synced_at"] is not None
        }

    async def claim(self, keys: Sequence[Key], done: Sequence[Key] = ()) -> Claimed:
        """See `Store`."""
        return Claimed(await self.delivered(keys))

    async def standings(self, keys: Sequence[Key]) -> dict[Key, Standing]:
        """See `Store`."""
        rows = {key: row for key in keys if (row := self._rows.get(key))}
        found = {key: _entry(key, row).standing for key, row in rows.items()}
        moved = {key: row["reason"] for key, row in rows.items() if not _present(row)}
        return followed(found, moved, await self.standings(list(new_keys(moved))) if moved else {})

    async def histories(self, order: str, shop: str | None = None) -> list[History]:
        """See `Store`."""
        found = sorted(
            key for key, row in self._rows.items() if key[1] == order and shop in {None, key[0]} and _present(row)
        )
        return [History(_entry(key, self._rows[key]), self._story(key)) for key in found]

    def _story(self, key: Key) -> tuple[Happening, ...]:
        shop, order = key
        before = [
            each for each, row in self._rows.items()
            if each[1] == order and row["outcome"] == MOVED and row["reason"] == shop
        ]  # fmt: skip
        happenings = [told for each in {key, *before} for told in self._happenings.get(each, {}).values()]
        return tuple(sorted(happenings, key=lambda each: (each.first_at, each.replays, each.attempt)))

    async def entries(self, wanted: Wanted, limit: int) -> list[Entry]:
        """See `Store`."""
        found = [_entry(key, row) for key, row in self._rows.items() if key[1] and _matches(wanted, key, row)]
        return sorted(found, key=lambda each: (-(each.outcome_at or 0.0), each.order))[:limit]

    async def tallies(self, moving: Span = NOTHING_MOVES) -> list[Tally]:
        """See `Store`."""
        sums: dict[Key, Counter[str]] = {}
        for (shop, _), row in self._rows.items():
            if not any(row[name] for name in ("received", *_COUNTS)):
                continue
            seen = moment(row["created_at"] if row["received_at"] is None else row["received_at"])
            day = datetime.fromtimestamp(seen, UTC).date().isoformat()
            sums.setdefault((shop, day), Counter()).update(_counted(row, moving))
        return [Tally(shop, day, **counts) for (shop, day), counts in sorted(sums.items())]

    async def prune(self, before: float, *, dry_run: bool = False) -> int:
        """See `Store`."""
        ended = {"delivered", "duplicate", "unattributed", "discarded", MOVED}
        old = [
            key
            for key, row in self._rows.items()
            if key[1]
            and row["outcome"] in ended
            and max(row["waiting"], row["dead"]) <= 0
            and row["outcome_at"] < before
        ]
        for key in [] if dry_run else old:
            del self._rows[key]
            self._happenings.pop(key, None)
        return len(old)


_COUNTS = ("delivered", "duplicate", "unattributed", "waiting", "dead", "discarded")


def _counted(row: Row, moving: Span) -> dict[str, int]:
    counts = {name: row[name] for name in ("received", *_COUNTS)}
    if row["source"] == OUTBOX:
        return counts | {"outbox_waiting": row["waiting"], "outbox_dead": row["dead"]}
    first, last = moving
    ended, due = (row[name] is not None and first <= row[name] <= last for name in ("outcome_at", "due_at"))
    return counts | {
        "moving_waiting": row["waiting"] if ended or due else 0,
        "moving_dead": row["dead"] if ended else 0,
    }


def _recorded(before: Row | None, new: Row) -> Row:
    """An order's row after a further end of a try; see `statements.py`."""
    if before is None:
        return new | {"discarded": 0}
    final = before["outcome"] in _FINAL
    row = dict(before)
    row |= {name: max(before[name], new[name]) for name in ("attempts", "replays")}
    row |= {name: new[name] for name in _KEPT_ONCE_FINAL if not final}
    row |= {name: new[name] for name in _FIRST if before[name] is None}
    row |= {name: new[name] for name in _LAST if new[name] is not None}
    if new["digest"] is not None and (not final or before["digest"] is None):
        row["digest"] = new["digest"]
    trace = new["trace"]
    again = _again(before, trace)
    row["trace"] = trace
    row["returns"] += new["returns"]
    if again and new["last_outcome"] == "duplicate" and before["last_outcome"] in _FINAL:
        return row
    row["last_outcome"] = new["last_outcome"]
    row[_COUNTED[new["last_outcome"]]] += 1
    if again:
        left = _COUNTED.get(before["last_outcome"])
        if left is not None:
            row[left] -= 1
        return row
    came_from = next((place for place in ("waiting", "dead") if before[place] > 0), None) if new["returns"] else None
    row["received" if came_from is None else came_from] += 1 if came_from is None else -1
    return row


def _again(before: Row, trace: int) -> bool:
    """Whether the message is the one that was recorded last."""
    return trace < 0 and bool(before["trace"] in {trace, -1 - trace})


def _left(before: Row, shop: str, *, known: bool, same: bool) -> Row:
    """A row after a message has gone to another, of `shop`; `known`: it is one order's, `same`: and the other's id."""
    row = dict(before)
    place = next((place for place in ("waiting", "dead") if before[place] > 0), None)
    if place is not None:
        row[place] -= 1
        row["received"] -= 1
    if before["outcome"] in {"waiting", "held", "dead"}:
        if known and before["received"] <= 1:
            row |= {"outcome": MOVED, "reason": shop if same else None}
        elif row["dead"] > 0 and row["waiting"] <= 0:
            row["outcome"] = "dead"
    return row


def _present(row: Row) -> bool:
    return bool(row["outcome"] != MOVED)


def _noted(before: Row | None, new: Row) -> Row:
    """An order's row after a deed."""
    if before is None:
        return dict.fromkeys(OrderRow._fields) | _NOTHING | new
    replayed = new["outcome"] == "waiting"
    late = replayed and (before["outcome"] == MOVED or 0 < new["replays"] <= before["replays"])
    row = dict(before) if late else before | {"due_at": None}
    if before["outcome"] not in _FINAL and not late:
        row |= {name: new[name] for name in ("outcome", "outcome_at")}
    if replayed and not late and before["dead"] > 0:
        row["dead"] -= 1
        row["waiting"] += 1
    brought_back = int(bool(new["received"]) and before["discarded"] > 0)
    for name in ("waiting", "dead", "discarded", "received"):
        row[name] += new[name]
    row["received"] -= brought_back
    row["discarded"] -= brought_back
    return row


_NOTHING = dict.fromkeys(("attempts", "attempt", "replays", "returns", "received", *_COUNTS), 0)


def _entry(key: Key, row: Row) -> Entry:
    names = [each.name for each in fields(Entry)][2:]
    return dated(Entry(*key, **{name: row[name] for name in names}))


def _matches(wanted: Wanted, key: Key, row: Row) -> bool:
    return (
        _present(row)
        and wanted.shop in {None, key[0]}
        and wanted.state in {None, row["outcome"]}
        and wanted.reason in {None, row["reason"]}
        and (wanted.since is None or row["outcome_at"] >= wanted.since)
        and (wanted.until is None or row["outcome_at"] <= wanted.until)
    )
