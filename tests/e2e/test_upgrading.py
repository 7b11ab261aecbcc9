"""The previous release and this one, on one queue and one ledger; and ledgers that come back from a backup."""

import io
import os
import shutil
import signal
import sqlite3
import subprocess
import tarfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.contract.test_ledger_store import empty_database
from tests.e2e.test_ledger import told
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.postgres import PrivatePostgres
from tests.support.program import ROOT, Consumer, environment

pytestmark = pytest.mark.long

# The commit of the release before this one.
PREVIOUS = "ead5374e20570fc338300d3f09a0ab47d0282f5f"


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program of the release before this one, out of the history."""
    folder = tmp_path_factory.mktemp("previous")
    archived = subprocess.run(["git", "archive", PREVIOUS, "consumer"], cwd=ROOT, capture_output=True, check=False)
    assert archived.returncode == 0, f"this clone lacks the last release: git fetch --unshallow ({archived.stderr!r})"
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(params=["sqlite", "postgres"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return await empty_database(request.getfixturevalue("postgres_url"))


async def test_both_versions_share_a_queue_and_a_ledger_in_either_order(
    broker: PrivateBroker, names: Names, ledger: str, previous: Path
) -> None:
    """Old, both, new, both, old: each order is posted once, though its event comes twice, and the account closes."""
    faults = ["400:order=BAD-*", "503:order=SLOW-*,times=2"]
    rounds: list[list[bytes]] = []
    for number in range(5):
        kinds = {"ORD": 10, "BAD": 3, "SLOW": 2}
        ids = [f"{kind}-{number}-{index}" for kind, count in kinds.items() for index in range(count)]
        rounds.append([order(each) for each in ids])
    async with Sandbox(faults=faults) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=ledger)
        old, new = Consumer(environ, previous), Consumer(environ)

        async def publish(number: int) -> None:
            """A round, and the good orders of the one before it once more."""
            again = [each for each in rounds[number - 1] if b"ORD-" in each] if number else []
            await at_broker.publish(*rounds[number], *again)
            good = 12 * (number + 1)
            await eventually(lambda: len(sandbox.orders) == good, timeout=60, what=f"{good} orders are delivered")
            await eventually(lambda: at_broker.is_empty(names.queue), timeout=60)

        async def stop(consumer: Consumer) -> None:
            consumer.send(signal.SIGTERM)
            assert await consumer.wait() == 0

        async with old:
            await publish(0)
            async with new:
                await publish(1)
                await stop(old)
                await publish(2)
                await old.start()
                await old.consuming(2)
                await publish(3)
                await stop(new)
                await publish(4)
                await stop(old)
        posts = Counter(each.posts for each in sandbox.orders)
        assert posts == {1: 60}
        for root in (ROOT, previous):
            account = await told(environ, "ledger", "balance", root=root)
            found = [account[name] for name in ("received", "delivered", "duplicate", "dead")]
            assert found == [115, 60, 40, 15]
            assert (account["difference"], account["disagreements"]) == (0, {})


async def test_a_backup_of_a_ledger_knows_what_was_delivered_before_it(
    broker: PrivateBroker, names: Names, ledger: str, postgres: PrivatePostgres, tmp_path: Path
) -> None:
    """Taken while a consumer writes, restored as docs/upgrading.md says: only what came after it is posted again."""
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=ledger)
        async with Consumer(environ) as consumer:
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(50)))
            await eventually(lambda: len(consumer.events("settled")) == 50)
            backup(ledger, postgres, tmp_path)
            await at_broker.publish(order("LATER"))
            await eventually(lambda: len(consumer.events("settled")) == 51)
            consumer.send(signal.SIGTERM)
            assert await consumer.wait() == 0
            restore(ledger, postgres, tmp_path)
            await consumer.start()
            await consumer.consuming(2)
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(50)), order("LATER"))
            await eventually(lambda: len(consumer.events("settled")) == 102)
        assert {each.order_id: each.posts for each in sandbox.orders if each.posts > 1} == {"LATER": 2}
        assert len(sandbox.orders) == 51


def backup(ledger: str, postgres: PrivatePostgres, folder: Path) -> None:
    if ledger.startswith("sqlite"):
        with closing(sqlite3.connect(ledger.removeprefix("sqlite:///"))) as connection:
            connection.execute("VACUUM INTO ?", (str(folder / "ledger.bak"),))
        return
    run(postgres, "pg_dump", "--format=custom", f"--file={folder / 'ledger.dump'}", ledger)


def restore(ledger: str, postgres: PrivatePostgres, folder: Path) -> None:
    if ledger.startswith("sqlite"):
        for each in folder.glob("ledger.db*"):
            each.unlink()
        shutil.copy(folder / "ledger.bak", folder / "ledger.db")
        return
    run(postgres, "pg_restore", "--clean", "--if-exists", f"--dbname={ledger}", str(folder / "ledger.dump"))


def run(postgres: PrivatePostgres, name: str, *arguments: str) -> None:
    done = subprocess.run(
        [postgres.programs / name, *arguments], capture_output=True, text=True, check=False, env={"PATH": os.defpath}
    )
    assert done.returncode == 0, done.stderr
