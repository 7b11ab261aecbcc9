"""The recipe's outbox table: rows to send are claimed, sent by somebody else, and marked as the recipe marks them.

    synced_at IS NULL AND attempts < 5, oldest first, 100 at a time; then synced_at, or attempts + 1 and last_error.

A claim holds no transaction open while its rows are sent: a server may end one that is idle, and a shop's own writes
would wait for it. In PostgreSQL, MySQL and MariaDB the claimed rows are named by locks of the session, and other
workers pass them over. SQLite has no such locks: there the workers of one host take turns by a lock on a file beside
the database. Either way a worker that dies lets go of its claim.

Before a claim's rows are sent, both marks are written to one of them and rolled back: a table that would refuse them
afterwards is refused while nothing has been sent.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

RECIPE_TABLE = "neuroon_conversion_outbox"
MAX_ATTEMPTS = 5
BATCH = 100
ERROR_LENGTH = 1024
CONNECT_SECONDS = 10.0
# A statement takes milliseconds; one that takes longer ends its connection.
STATEMENT_SECONDS: Final = 10.0
# What the end of a claim waits for, before it hangs up.
UNLOCK_SECONDS: Final = 2.0


class OutboxError(Exception):
    """The table cannot be used; the message says why, and names no secret."""


class OutboxUsageError(OutboxError):
    """What was asked for cannot be: a URL, a name, a table or an installation that has to be put right first."""


# Values of the columns order_id and, where there is one, shop_id, as the driver gives and takes them.
RowKey = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One row to send. `order` is the text of its order_id, "" for bytes that are no text.

    `shop` is None where the table has no such column, or nothing in it.
    """

    key: RowKey
    order: str
    payload: bytes
    attempts: int
    created_at: Any
    shop: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of a row: synced (`error` None), or not, and why."""

    row: OutboxRow
    error: str | None


class Claim(Protocol):
    """Rows that are ours for a while."""

    @property
    def rows(self) -> Sequence[OutboxRow]:
        """The oldest first."""

    async def mark(self, marks: Sequence[Mark]) -> None:
        """Write what became of them, in one transaction, on a new connection if need be; OutboxError.

        Marks whose writing failed may be written again: none counts twice.
        """


class OutboxTable(Protocol):
    """A table of the recipe's shape."""

    def claim(self, after: OutboxRow | None) -> AbstractAsyncContextManager[Claim]:
        """The next rows, behind `after` if given, so that what has just failed is not tried again; OutboxError."""

    async def adopt(self, shop: str) -> None:
        """In a table of our own, give rows that name no shop to `shop`, unless it has that order already."""

    async def close(self) -> None:
        """Close the connection."""
