"""The files of a SQLite ledger: read by nobody else, and used where they are."""

from pathlib import Path

import pytest

from consumer.adapters.ledger import LedgerDownError
from consumer.adapters.ledger.lane import MOVED_AWAY
from consumer.adapters.ledger.sqlite import SqliteStore
from consumer.core.outcome import Delivered
from consumer.doctor.finding import Level
from consumer.doctor.ledger import check_ledger
from tests.contract.test_ledger_migration import released_file
from tests.support.ledger import record


def modes(path: Path) -> dict[str, int]:
    return {each.name: each.stat().st_mode & 0o777 for each in sorted(path.parent.glob("ledger.db*"))}


@pytest.mark.parametrize(("before", "after"), [(None, 0o600), (0o644, 0o600), (0o664, 0o660), (0o640, 0o640)])
async def test_a_file_of_orders_is_read_by_nobody_else(tmp_path: Path, before: int | None, after: int) -> None:
    """Nor are the files beside it. A group that was let in stays in; what everybody may read was never meant."""
    path = tmp_path / "ledger.db"
    if before is not None:
        released_file(path)
        path.chmod(before)
    if before is not None:
        findings = [each.level for each in await check_ledger(f"sqlite:///{path}")]
        assert findings == [Level.OK, Level.WARNING] if before & 0o007 else [Level.OK]
    store = SqliteStore(path)
    await store.write([record("ORD-1", Delivered(200))])
    assert modes(path) == {"ledger.db": after, "ledger.db-shm": after, "ledger.db-wal": after}
    await store.close()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_was_moved_is_written_to_no_more(tmp_path: Path, replaced: bool) -> None:
    """SQLite would go on writing where nobody looks: it is told once, and then the place counts."""
    path = tmp_path / "ledger.db"
    store = SqliteStore(path)
    await store.write([record("ORD-1", Delivered(200))])
    assert await store.delivered([("shop_a", "ORD-1")])
    for end in ("", "-wal", "-shm"):
        (tmp_path / f"ledger.db{end}").rename(tmp_path / f"elsewhere.db{end}")
    if replaced:
        released_file(path)
    for work in (store.write([record("ORD-2", Delivered(200))]), store.delivered([("shop_a", "ORD-1")])):
        with pytest.raises(LedgerDownError, match=MOVED_AWAY):
            await work
    await store.write([record("ORD-2", Delivered(200))])
    assert set(await store.delivered([("shop_a", "ORD-1"), ("shop_a", "ORD-2")])) == {("shop_a", "ORD-2")}
    await store.close()


async def test_a_file_of_locks_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    """A process that kept the deleted one would keep nobody away any more."""
    one, two = SqliteStore(tmp_path / "ledger.db"), SqliteStore(tmp_path / "ledger.db")
    await one.claim([("shop_a", "ORD-1")])
    (tmp_path / "ledger.db-claims").unlink()
    other = ("shop_a", "ORD-2")
    assert (await two.claim([other])).taken == {other}
    assert (await one.claim([other])).elsewhere == {other}
    await one.close()
    await two.close()
