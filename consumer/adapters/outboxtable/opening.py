"""From a URL to the outbox table behind it."""

import asyncio
import re
from pathlib import Path

from consumer.adapters.outboxtable import RECIPE_TABLE, OutboxTable, OutboxUsageError
from consumer.adapters.outboxtable.postgres import PostgresOutbox
from consumer.adapters.outboxtable.sqlite import SqliteOutbox

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")
_MYSQL = ("mysql://", "mariadb://")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")


async def open_outbox(url: str, table: str = RECIPE_TABLE) -> OutboxTable:
    """The table at a sqlite:///, postgresql://, mysql:// or mariadb:// URL. Raises OutboxError."""
    if not _NAME.fullmatch(table):
        raise OutboxUsageError(f"expected the name of a table, such as {RECIPE_TABLE} or shop.{RECIPE_TABLE}")
    if url.startswith(_SQLITE):
        return await asyncio.to_thread(SqliteOutbox, Path(url.removeprefix(_SQLITE)), table)
    if url.startswith(_POSTGRES):
        return await PostgresOutbox.open(url, table)
    if url.startswith(_MYSQL):
        return await _mysql(url, table)
    raise OutboxUsageError(
        "expected an outbox in sqlite:///path, postgresql://user@host/database or mysql://user@host/database"
    )


async def _mysql(url: str, table: str) -> OutboxTable:
    try:
        from consumer.adapters.outboxtable.mysql import MysqlOutbox  # noqa: PLC0415 - its driver is an extra
    except ModuleNotFoundError as error:
        raise OutboxUsageError(
            f"{url.partition('://')[0]}:// needs a driver that is not installed: pip install 'neuroon-consumer[mysql]'"
        ) from error
    return await MysqlOutbox.open(url, table)
