"""Outbox tables whose columns have other types than the recipe's: flushed, or refused by name."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from consumer.adapters.outboxtable import Mark, OutboxError, OutboxUsageError
from consumer.adapters.outboxtable.opening import open_outbox
from tests.support.shopdatabase import KINDS, Shop, shop_database

UUID = "0b39f2a4-2a4c-4d39-8a0e-7c6a4f3b2a10"
COLUMNS = {
    "order_id": "VARCHAR(64) PRIMARY KEY",
    "payload": "JSON NOT NULL",
    "attempts": "INT NOT NULL DEFAULT 0",
    "last_error": "VARCHAR(1024)",
    "created_at": "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
    "synced_at": "TIMESTAMP NULL",
}


@pytest.fixture(params=KINDS)
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_database(request.param, request, tmp_path) as found:
        yield found


async def table_of(shop: Shop, **types: str) -> None:
    """Replace the recipe's table by one with other types."""
    await shop.execute("DROP TABLE neuroon_conversion_outbox")
    columns = ", ".join(f"{name} {kind}" for name, kind in (COLUMNS | types).items())
    await shop.execute(f"CREATE TABLE neuroon_conversion_outbox ({columns})")


ORDER_IDS = {
    "sqlite": ["BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY", "UUID PRIMARY KEY", "BLOB PRIMARY KEY"],
    "postgres": ["BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY", "UUID PRIMARY KEY", "BYTEA PRIMARY KEY",
                 "CHAR(40) PRIMARY KEY", "NUMERIC(20) PRIMARY KEY", "TEXT PRIMARY KEY"],
    "mariadb": ["BIGINT UNSIGNED PRIMARY KEY", "INTEGER PRIMARY KEY", "UUID PRIMARY KEY", "BINARY(16) PRIMARY KEY",
                "CHAR(40) PRIMARY KEY", "DECIMAL(20) PRIMARY KEY", "VARBINARY(40) PRIMARY KEY"],
}  # fmt: skip


def first_order(kind: str) -> tuple[str, str]:
    """An order_id of a type, as SQL and as text."""
    name = kind.split(maxsplit=1)[0]
    if name in {"UUID", "CHAR(40)", "TEXT"}:
        return f"'{UUID}'", UUID
    if name in {"BYTEA", "BLOB", "BINARY(16)"}:
        return (r"'\x00ff10'" if name == "BYTEA" else "x'00ff10'"), ""
    if name == "VARBINARY(40)":
        return "'SO-1'", "SO-1"
    return ("41", "41") if name == "INTEGER" else ("9007199254740993", "9007199254740993")


@pytest.mark.parametrize(
    ("shop", "kind"), [(db, kind) for db, kinds in ORDER_IDS.items() for kind in kinds], indirect=["shop"]
)
async def test_an_order_id_of_another_type_is_claimed_and_marked(shop: Shop, kind: str) -> None:
    """Found again by the value that the database gave; bytes that are no text name no order."""
    await table_of(shop, order_id=kind)
    value, text = first_order(kind)
    await shop.execute(f"INSERT INTO neuroon_conversion_outbox (order_id, payload) VALUES ({value}, '{{}}')")  # noqa: S608
    table = await open_outbox(shop.url)
    async with table.claim(None) as claim:
        (row,) = claim.rows
        assert row.order == text
        await claim.mark([Mark(row, "no")])
    async with table.claim(None) as claim:
        assert claim.rows[0].attempts == 1
        last = claim.rows[0]
    async with table.claim(last) as claim:
        assert not claim.rows
    async with table.claim(None) as claim:
        await claim.mark([Mark(claim.rows[0], None)])
    async with table.claim(None) as claim:
        assert not claim.rows
    await table.close()


VARIANTS = {
    "sqlite": [{"attempts": "SMALLINT NOT NULL DEFAULT 0"}, {"payload": "TEXT"}, {"created_at": "INTEGER DEFAULT 7"}],
    "postgres": [
        {"attempts": "SMALLINT NOT NULL DEFAULT 0"},
        {"last_error": "VARCHAR(8)"},
        {"last_error": "TEXT"},
        {"payload": "JSONB"},
        {"payload": "TEXT"},
        {"payload": "BYTEA"},
        {"created_at": "TIMESTAMPTZ DEFAULT NOW()", "synced_at": "TIMESTAMPTZ"},
        {"created_at": "BIGINT DEFAULT 7"},
        {"shop_id": "BIGINT"},
    ],
    "mariadb": [
        {"attempts": "TINYINT UNSIGNED NOT NULL DEFAULT 0"},
        {"last_error": "VARCHAR(8)"},
        {"last_error": "TEXT"},
        {"payload": "LONGTEXT"},
        {"payload": "LONGBLOB"},
        {"created_at": "DATETIME(6) DEFAULT NOW(6)", "synced_at": "DATETIME"},
        {"shop_id": "BIGINT"},
    ],
}


@pytest.mark.parametrize(
    ("shop", "types"), [(db, types) for db, found in VARIANTS.items() for types in found], indirect=["shop"]
)
async def test_columns_of_other_types_are_read_and_marked(shop: Shop, types: dict[str, str]) -> None:
    """An error is cut to what its column holds; times come back as they were, with a zone or without."""
    await table_of(shop, **types)
    for order in ("ORD-1", "ORD-2"):
        await shop.execute(
            f"INSERT INTO neuroon_conversion_outbox (order_id, payload) VALUES ('{order}', '{{\"a\": 1}}')"  # noqa: S608
        )
    if "shop_id" in types:
        await shop.execute("UPDATE neuroon_conversion_outbox SET shop_id = 17 WHERE order_id = 'ORD-1'")
    table = await open_outbox(shop.url)
    async with table.claim(None) as claim:
        one, two = claim.rows
        assert (one.payload, one.shop, two.shop) == (b'{"a": 1}', "17" if "shop_id" in types else None, None)
        await claim.mark([Mark(one, None), Mark(two, "503: no answer")])
    async with table.claim(one) as claim:
        assert [row.order for row in claim.rows] == ["ORD-2"]
    await table.close()
    rows = await shop.rows()
    assert rows["ORD-1"][2]
    assert rows["ORD-2"] == (1, "503: no " if types.get("last_error") == "VARCHAR(8)" else "503: no answer", False)


UNUSABLE = {
    "sqlite": [("synced_at", "BIGINT"), ("order_id", "REAL"), ("attempts", "TEXT")],
    "postgres": [("synced_at", "bigint"), ("synced_at", "boolean"), ("order_id", "double precision"),
                 ("attempts", "text"), ("last_error", "bytea"), ("payload", "xml"), ("shop_id", "integer[]")],
    "mariadb": [("synced_at", "bigint(20)"), ("order_id", "double"), ("attempts", "varchar(3)"), ("payload", "int(11)"),
                ("last_error", "enum('a')")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("shop", "column", "kind"), [(db, *each) for db, found in UNUSABLE.items() for each in found], indirect=["shop"]
)
async def test_a_type_that_will_not_do_is_refused_by_name(shop: Shop, column: str, kind: str) -> None:
    """Column and type are in the message, before anything is claimed."""
    await table_of(shop, **{column: kind})
    with pytest.raises(OutboxUsageError) as error:
        await open_outbox(shop.url)
    assert f"{column} is {kind}; expected" in str(error.value)


async def test_a_column_that_is_missing_is_refused_by_name(shop: Shop) -> None:
    """The recipe's six are needed."""
    await shop.execute("ALTER TABLE neuroon_conversion_outbox DROP COLUMN last_error")
    with pytest.raises(OutboxUsageError, match="no column last_error"):
        await open_outbox(shop.url)


REFUSING = {
    "sqlite": "CREATE TRIGGER no BEFORE UPDATE ON neuroon_conversion_outbox BEGIN SELECT RAISE(ABORT, 'not here'); END",
    "postgres": "ALTER TABLE neuroon_conversion_outbox ADD CHECK (attempts = 0)",
    "mariadb": "ALTER TABLE neuroon_conversion_outbox ADD CHECK (synced_at IS NULL)",
}


async def test_a_table_that_refuses_a_mark_is_refused_with_its_first_claim(shop: Shop) -> None:
    """Both marks are tried on a row and rolled back, so that nothing is sent that could never be marked."""
    await shop.put("ORD-1", "{}")
    await shop.execute(REFUSING[shop.kind])
    table = await open_outbox(shop.url)
    with pytest.raises(OutboxError):
        async with table.claim(None):
            pytest.fail("the row is claimed")
    await table.close()
    assert (await shop.rows())["ORD-1"] == (0, None, False)


async def test_an_order_id_that_names_several_rows_is_refused(shop: Shop) -> None:
    """A mark would be written to all of them."""
    await table_of(shop, order_id="VARCHAR(64)")
    for _ in range(2):
        await shop.put("ORD-1", "{}")
    table = await open_outbox(shop.url)
    with pytest.raises(OutboxError, match="2 rows instead of one"):
        async with table.claim(None):
            pytest.fail("the rows are claimed")
    await table.close()


@pytest.mark.parametrize("shop", ["postgres"], indirect=True)
async def test_letters_that_a_database_does_not_have_keep_no_row_from_being_marked(shop: Shop) -> None:
    """A database in Latin-1 refuses the rest of Unicode."""
    await shop.execute("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    url = f"{shop.url.rpartition('/')[0]}/latin"
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "CREATE TABLE outbox (order_id TEXT, payload TEXT, attempts INT DEFAULT 0, last_error TEXT, "
            "created_at TIMESTAMP DEFAULT NOW(), synced_at TIMESTAMP)"
        )
        await connection.fetch("INSERT INTO outbox (order_id, payload) VALUES ('ORD-1', '{}')")
        table = await open_outbox(url, "outbox")
        async with table.claim(None) as claim:
            await claim.mark([Mark(claim.rows[0], "Łódź \U0001f600")])
        await table.close()
        assert [tuple(row) for row in await connection.fetch("SELECT attempts, last_error FROM outbox")] == [
            (1, "??d? ?")
        ]
    finally:
        await connection.close()
    await shop.execute("DROP DATABASE latin WITH (FORCE)")
