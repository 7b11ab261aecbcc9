"""The recipe's outbox table: rows to send are claimed, sent by somebody else, and marked as the recipe marks them.

    synced_at IS NULL AND attempts < 5, oldest first, 100 at a time; then synced_at, or attempts + 1 and last_error.

A claim lasts for as long as its context. In PostgreSQL, MySQL and MariaDB the rows stay locked, and other workers pass
them over. SQLite locks no rows, and the shop must be able to write meanwhile: there the workers of one host take turns
by a lock on a file beside the database. Either way a worker that dies lets go of its claim.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

RECIPE_TABLE = "neuroon_conversion_outbox"
MAX_ATTEMPTS = 5
BATCH = 100
ERROR_LENGTH = 1024
CONNECT_SECONDS = 10.0


class OutboxError(Exception):
    """The table cannot be used; the message says why, and names no secret."""


class OutboxUsageError(OutboxError):
    """What was asked for cannot be: a URL, a name or an installation that has to be put right first."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One row to send. `shop` is None where the table has no such column, or nothing in it."""

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
        """Write what became of them, at once; OutboxError."""


class OutboxTable(Protocol):
    """A table of the recipe's shape."""

    def claim(self, after: OutboxRow | None) -> AbstractAsyncContextManager[Claim]:
        """The next rows, behind `after` if given, so that what has just failed is not tried again; OutboxError."""

    async def adopt(self, shop: str) -> None:
        """In a table of our own, give rows that name no shop to `shop`, unless it has that order already."""

    async def close(self) -> None:
        """Close the connection."""
