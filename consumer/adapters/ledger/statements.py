"""The SQL that SQLite and PostgreSQL share: all that writes, and parts of what reads.

Where an order's row exists, these expressions say what a further end of a try makes of it:

* what it was delivered with stays, whatever comes later;
* a message that the broker delivers again (`_SAME`) replaces what was recorded of it, and is not counted twice;
* a message that came from one of our queues leaves there what it was counted as: waiting, or dead where a replay was
  not noted; one that was counted nowhere (a crash made two of it, or its first record is lost) is received now.

A message that comes back under another key than it was counted under (its shop was unknown, and is configured now) is
taken out there by `leave`, and received here.
"""

from collections.abc import Callable

from consumer.adapters.ledger.happening import HappeningRow
from consumer.adapters.ledger.row import PLAIN, NoteRow, OrderRow, PlainRow

TABLE = "neuroon_conversion_outbox"
HAPPENINGS = "neuroon_order_happenings"

_FINAL = "t.outcome IN ('delivered', 'duplicate')"
_SAME = "(excluded.trace < 0 AND (t.trace = excluded.trace OR t.trace = -1 - excluded.trace))"
_ONLY_ACK_LOST = f"({_SAME} AND excluded.last_outcome = 'duplicate' AND t.last_outcome IN ('delivered', 'duplicate'))"


def _kept(column: str) -> str:
    return f"{column} = CASE WHEN {_FINAL} THEN t.{column} ELSE excluded.{column} END"


def _first(column: str) -> str:
    return f"{column} = COALESCE(t.{column}, excluded.{column})"


def _last(column: str) -> str:
    return f"{column} = COALESCE(excluded.{column}, t.{column})"


def _counted(column: str, *words: str, left: str) -> str:
    """`column` counts the messages whose end is one of `words`; `left`: a travelled message was counted there."""
    inside = ", ".join(f"'{word}'" for word in words)
    added = f"CASE WHEN excluded.last_outcome IN ({inside}) THEN 1 ELSE 0 END"
    replaced = f"CASE WHEN t.last_outcome IN ({inside}) THEN 1 ELSE 0 END"
    came_from = f"CASE WHEN excluded.returns > 0 AND {left} THEN 1 ELSE 0 END"
    change = f"{added} - CASE WHEN {_SAME} THEN {replaced} ELSE {came_from} END"
    return f"{column} = t.{column} + CASE WHEN {_ONLY_ACK_LOST} THEN 0 ELSE {change} END"


_NOWHERE = "1 = 0"

_UPDATE_ORDER = ",\n".join(
    (
        "attempts = CASE WHEN t.attempts > excluded.attempts THEN t.attempts ELSE excluded.attempts END",
        _last("last_error"),
        _first("synced_at"),
        *map(_kept, ("outcome", "reason", "status", "attempt", "milliseconds", "outcome_at", "due_at")),
        "replays = CASE WHEN t.replays > excluded.replays THEN t.replays ELSE excluded.replays END",
        (
            f"digest = CASE WHEN {_FINAL} THEN COALESCE(t.digest, excluded.digest) "
            "ELSE COALESCE(excluded.digest, t.digest) END"
        ),
        _first("received_at"),
        _first("event_id"),
        _first("unattributed_at"),
        _last("source"),
        f"last_outcome = CASE WHEN {_ONLY_ACK_LOST} THEN t.last_outcome ELSE excluded.last_outcome END",
        "trace = excluded.trace",
        "returns = t.returns + excluded.returns",
        (
            f"received = t.received + CASE WHEN {_SAME} OR (excluded.returns > 0 AND (t.waiting > 0 OR t.dead > 0)) "
            "THEN 0 ELSE 1 END"
        ),
        _counted("delivered", "delivered", left=_NOWHERE),
        _counted("duplicate", "duplicate", left=_NOWHERE),
        _counted("unattributed", "unattributed", left=_NOWHERE),
        _counted("waiting", "waiting", "held", left="t.waiting > 0"),
        _counted("dead", "dead", left="t.waiting <= 0 AND t.dead > 0"),
    )
)

_BROUGHT_BACK = "(excluded.received > 0 AND t.discarded > 0)"  # an import of what had been exported and discarded

# The replayed message was quicker than the note of its replay, and has told itself what became of it.
_LATE = (
    "(excluded.outcome = 'waiting' AND "
    "(t.outcome = 'moved' OR (excluded.replays > 0 AND t.replays >= excluded.replays)))"
)
_REPLAYED = f"CASE WHEN excluded.outcome = 'waiting' AND t.dead > 0 AND NOT {_LATE} THEN 1 ELSE 0 END"

_UPDATE_BY_NOTE = f"""outcome = CASE WHEN {_FINAL} OR {_LATE} THEN t.outcome ELSE excluded.outcome END,
outcome_at = CASE WHEN {_FINAL} OR {_LATE} THEN t.outcome_at ELSE excluded.outcome_at END,
due_at = CASE WHEN {_LATE} THEN t.due_at END,
received = t.received + CASE WHEN {_BROUGHT_BACK} THEN 0 ELSE excluded.received END,
waiting = t.waiting + {_REPLAYED},
dead = t.dead + excluded.dead - {_REPLAYED},
discarded = t.discarded + excluded.discarded - CASE WHEN {_BROUGHT_BACK} THEN 1 ELSE 0 END"""

_UPDATE_HAPPENING = """times = t.times + 1,
last_at = excluded.last_at,
milliseconds = excluded.milliseconds,
due_at = excluded.due_at,
detail = excluded.detail"""


def _insert(table: str, columns: tuple[str, ...], values: str, key: str, update: str) -> str:
    return f"INSERT INTO {table} AS t ({', '.join(columns)})\n{values}\nON CONFLICT ({key}) DO UPDATE SET\n{update}"


_KEY = "shop_id, order_id"


def insert_orders(values: str) -> str:
    """Insert `values` (rows of `OrderRow`), or bring the rows that exist up to date."""
    return _insert(TABLE, OrderRow._fields, values, _KEY, _UPDATE_ORDER)


def insert_plain(values: str) -> str:
    """The same for rows of `PlainRow`, each followed by the values of `PLAIN`."""
    return _insert(TABLE, (*PlainRow._fields, *PLAIN), values, _KEY, _UPDATE_ORDER)


def insert_notes(values: str) -> str:
    """The same for rows of `NoteRow`."""
    return _insert(TABLE, NoteRow._fields, values, _KEY, _UPDATE_BY_NOTE)


def leave(p: Callable[[int], str]) -> str:
    """A row of `LeavingRow` taken out of where it was counted; `p(n)` is how the dialect writes parameter n.

    Where nothing is left, the order is moved: it is told of under its new key alone; `reason` is its shop. The row
    stays, because a deed of which the note comes late finds its place by it.
    """
    again = (
        f"{p(5)} < 0 AND EXISTS (SELECT 1 FROM {TABLE} AS n WHERE n.shop_id = {p(3)} AND n.order_id = {p(4)} "
        f"AND (n.trace = {p(5)} OR n.trace = -1 - {p(5)}))"
    )
    open_ = "outcome IN ('waiting', 'held', 'dead')"
    last = f"{open_} AND order_id <> '' AND payload IS NULL AND received <= 1"
    others_dead = f"{open_} AND ((waiting = 1 AND dead > 0) OR (waiting <= 0 AND dead > 1))"
    return f"""UPDATE {TABLE} SET
outcome = CASE WHEN {last} THEN 'moved' WHEN {others_dead} THEN 'dead' ELSE outcome END,
reason = CASE WHEN {last} THEN CASE WHEN order_id = {p(4)} THEN {p(3)} END ELSE reason END,
received = received - CASE WHEN waiting > 0 OR dead > 0 THEN 1 ELSE 0 END,
dead = dead - CASE WHEN waiting <= 0 AND dead > 0 THEN 1 ELSE 0 END,
waiting = waiting - CASE WHEN waiting > 0 THEN 1 ELSE 0 END
WHERE shop_id = {p(1)} AND order_id = {p(2)} AND NOT ({again})"""


# Told of under its own key; see `moved`.
PRESENT = "(t.outcome IS NULL OR t.outcome <> 'moved')"


def told_of(p: Callable[[int], str]) -> str:
    """Which happenings are those of order p(1) of shop p(2): its own, and those from before it was moved there."""
    return (
        f"order_id = {p(1)} AND (shop_id = {p(2)} OR shop_id IN "
        f"(SELECT shop_id FROM {TABLE} WHERE order_id = {p(1)} AND outcome = 'moved' AND reason = {p(2)}))"
    )


def insert_happenings(values: str) -> str:
    """Insert rows of `HappeningRow`; one that happened before is counted."""
    key = f"{_KEY}, event, replays, attempt, reason, status, who"
    return _insert(HAPPENINGS, HappeningRow._fields, values, key, _UPDATE_HAPPENING)


HAPPENING_COLUMNS = (
    "event, first_at, last_at, times, attempt, replays, reason, status, milliseconds, due_at, detail, who"
)


def counts(p: Callable[[int], str]) -> str:
    """The sums of a `Tally`; p(1) and p(2) are the first and the last moment of what moves."""
    queued = "COALESCE(source, '') <> 'outbox'"
    ended = f"outcome_at BETWEEN {p(1)} AND {p(2)}"
    due = f"due_at BETWEEN {p(1)} AND {p(2)}"
    return ", ".join(
        (
            "SUM(received), SUM(delivered), SUM(duplicate), SUM(unattributed), SUM(waiting), SUM(dead), SUM(discarded)",
            "SUM(CASE WHEN source = 'outbox' THEN waiting ELSE 0 END)",
            "SUM(CASE WHEN source = 'outbox' THEN dead ELSE 0 END)",
            f"SUM(CASE WHEN {queued} AND ({ended} OR {due}) THEN waiting ELSE 0 END)",
            f"SUM(CASE WHEN {queued} AND {ended} THEN dead ELSE 0 END)",
        )
    )


COUNTED = "SUM(received + delivered + duplicate + unattributed + ABS(waiting) + ABS(dead) + discarded)"

# At an end, and nothing of them in a queue or an outbox any more.
PRUNABLE = (
    "outcome IN ('delivered', 'duplicate', 'unattributed', 'discarded', 'moved') AND waiting <= 0 AND dead <= 0 "
    "AND order_id <> '' AND outcome_at <"
)
