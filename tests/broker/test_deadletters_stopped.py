"""What stops a `dlq` command: signals, a lost link, a full disk, another operator. It ends with an account."""

import asyncio
import json
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from consumer.deadletters.letter import lasting_headers
from consumer.devbroker import PrivateBroker
from tests.conftest import Names
from tests.support.dead_letter_desk import bury, ids
from tests.support.eventually import eventually
from tests.support.operator import Operator, Reader, an_operator, some

pytestmark = pytest.mark.long

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
async def operator(broker: PrivateBroker, names: Names, tmp_path: Path) -> AsyncIterator[Operator]:
    async with an_operator(broker, names, tmp_path) as somebody:
        yield somebody


# What is done letter by letter, by its name in the audit.
ACTIONS = {
    "replay": ("replay", "--all", "--yes"),
    "discard": ("discard", "--all", "--yes", "--why", "test"),
    "import": ("import", "{file}", "--yes"),
}


@asynccontextmanager
async def in_the_middle(
    operator: Operator, action: str, count: int, before: Callable[[], object] | None = None
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Reader]]:
    """An operation on `count` letters that has begun, and waits for the reader of its audit."""
    file = operator.folder / "letters.jsonl"
    if action == "import":
        await operator.exported(file, count)
    else:
        await bury(operator.desk, *some(count))
    reader = Reader(operator.folder / "audit.fifo")
    arguments = [each.format(file=file) for each in ACTIONS[action]]
    audit = ("--audit", str(operator.folder / "audit.fifo"))
    async with operator.starts(*arguments, *audit, "--json", before=before) as process:
        await eventually(reader.has_begun, timeout=40)
        yield process, reader


@pytest.mark.parametrize(
    ("action", "number"),
    [*(("replay", each) for each in SIGNALS), ("discard", signal.SIGTERM), ("import", signal.SIGHUP)],
)
async def test_a_signal_in_the_middle_ends_an_operation_in_good_order(
    operator: Operator, action: str, number: signal.Signals
) -> None:
    """Status 1, what was done and what is left on stdout and in the audit, nothing held; though a pipe is stalled."""
    async with in_the_middle(operator, action, 300) as (process, reader):
        process.send_signal(number)
        lines = await reader.everything(process)
        out, err = await process.communicate()
    told = json.loads(out)
    assert (process.returncode, len(err.splitlines())) == (1, 3)  # the plan, and nothing else
    assert (told["matched"], told["stopped"]) == (300, "stopped by the operator")
    assert 0 < told["done"] < 300
    assert told["left"] == 300 - told["done"]
    assert (lines[-1]["event"], lines[-1]["done"], lines[-1]["stopped"]) == ("ended", told["done"], told["stopped"])
    assert await operator.dead() == (told["done"] if action == "import" else told["left"])
    assert await operator.sent() == (told["done"] if action == "replay" else 0)


async def test_a_second_signal_leaves_at_once(operator: Operator) -> None:
    """Though nobody ever reads on from the pipe that it writes to; the broker takes back what was held."""
    async with in_the_middle(operator, "discard", 300) as (process, reader):
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 1
        lines = await reader.everything(process)
    recorded = len([line for line in lines if line["event"] == "letter"])

    async def returned() -> bool:
        return await operator.dead() >= 300 - recorded > 0

    await eventually(returned)


async def test_a_hangup_that_is_ignored_stays_ignored(operator: Operator) -> None:
    """Under nohup an operation goes on though the terminal is gone."""
    ignored = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    async with in_the_middle(operator, "discard", 100, ignored) as (process, reader):
        process.send_signal(signal.SIGHUP)
        lines = await reader.everything(process)
    assert (process.returncode, lines[-1]["done"]) == (0, 100)


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_link_that_is_lost_in_the_middle_leaves_an_account(operator: Operator, action: str) -> None:
    """Status 1, and what was done, in the audit too; another run goes on, and no order is lost."""
    async with in_the_middle(operator, action, 300) as (process, reader):
        operator.link.cut()
        lines = await reader.everything(process)
        out, err = await process.communicate()
    told = json.loads(out)
    assert (process.returncode, len(err.splitlines())) == (1, 3)
    assert told["stopped"].startswith(("the broker cannot be used: ", "the broker takes nothing: "))
    assert told["done"] + told["failed"] + told["left"] == 300
    assert told["done"] < 300
    assert (lines[-1]["event"], lines[-1]["stopped"]) == ("ended", told["stopped"])
    rest = [each.format(file=operator.folder / "letters.jsonl") for each in ACTIONS[action]]
    status, _, err_again = await operator.types(*rest, "--audit", str(operator.audit))
    assert status == 0, err_again
    if action == "import":
        assert sorted(await ids(operator.desk)) == sorted(f"letter-ORD-{n}" for n in range(300))
    else:
        assert await operator.dead() == 0
        assert await operator.sent() in ({300, 301} if action == "replay" else {0})


async def test_an_audit_that_fills_the_disk_ends_a_replay_with_an_account(operator: Operator) -> None:
    """Status 1 and the numbers; the half line that it left does not spoil the record of the next operation."""
    await bury(operator.desk, *some(60))
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # noqa: E731
    chosen = ("replay", "--all", "--yes", "--audit", str(operator.audit))
    async with operator.starts(*chosen, "--json", before=full) as process:
        out, err = await process.communicate()
    told = json.loads(out)
    assert (process.returncode, len(err.splitlines())) == (1, 3)
    assert "cannot be written: File too large" in told["stopped"]
    assert told["left"] == 60 - told["done"] == await operator.dead()
    assert await operator.sent() in {told["done"], told["done"] + 1}
    torn = len(operator.audit.read_bytes().splitlines())
    assert (await operator.types(*chosen))[0] == 0
    assert await operator.dead() == 0
    after = [json.loads(line) for line in operator.audit.read_bytes().splitlines()[torn:]]
    assert [after[0]["event"], after[-1]["event"]] == ["started", "ended"]


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_watch_ends_with_a_signal(operator: Operator, number: signal.Signals) -> None:
    """That is its proper end: status 0, and nothing is said."""
    await bury(operator.desk, *some(3))
    async with operator.starts("summary", "--watch", "600", "--json") as process:
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(number)
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (0, b"", b"")
    assert await operator.dead() == 3


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_during_a_scan_lets_go_of_everything(operator: Operator, number: signal.Signals) -> None:
    """An export that waits for an answer of the broker: status 1, one line, no file, and no letter is held."""
    await bury(operator.desk, *some(5))
    file = operator.folder / "letters.jsonl"
    async with operator.desk.queue.hold(lasting_headers) as other:  # a scan waits for another one for three seconds
        await other.take()
        async with operator.starts("export", str(file), "--audit", str(operator.audit)) as process:
            await eventually(lambda: operator.link.connections, timeout=40)
            await eventually(operator.audit.exists)
            process.send_signal(number)
            out, err = await process.communicate()
    assert (process.returncode, out, err) == (1, b"", b"stopped: nothing was changed\n")
    assert await operator.dead() == 5
    assert {each.name for each in operator.folder.iterdir()} == {"audit.jsonl"}
    assert json.loads(operator.audit.read_text().splitlines()[-1])["event"] == "ended"


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_before_an_import_begins_ends_it_quietly(operator: Operator, number: signal.Signals) -> None:
    """While it waits for its stdin: status 1 and nothing else."""
    async with operator.starts("import", "-", "--yes", stdin=subprocess.PIPE) as process:
        reading = Path(f"/proc/{process.pid}/syscall")  # its number, 0 for read, and the file's, 0 for stdin
        await eventually(lambda: reading.read_text().startswith("0 0x0 "), timeout=40)
        process.send_signal(number)
        assert await process.wait() == 1
        assert process.stderr is not None
        assert await process.stderr.read() == b""


async def test_what_another_operator_holds_is_neither_exported_nor_imported_in_silence(operator: Operator) -> None:
    """An export says that letters are missing; an import, which cannot see them, brings in nothing: status 1."""
    file = operator.folder / "letters.jsonl"
    await operator.exported(file, 4)
    await bury(operator.desk, *some(4))
    audit = ("--audit", str(operator.audit))
    async with operator.desk.queue.hold(lasting_headers) as other:
        await other.take()
        status, out, err = await operator.types("export", str(operator.folder / "part.jsonl"), *audit)
        assert (status, out.startswith("0 orders exported")) == (1, True)
        assert err.startswith("somebody else holds some of the dead letters")
        status, _, err = await operator.types("import", str(file), "--yes", *audit)
        assert (status, err.startswith("nothing was imported")) == (1, True)
    assert await operator.dead() == 4
