"""Where `dlq` writes: pipes that close or stall, full disks, and what is no regular file."""

import asyncio
import json
import os
import pty
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumer.devbroker import PrivateBroker
from tests.conftest import Names
from tests.support.dead_letter_desk import bury, ids
from tests.support.eventually import eventually
from tests.support.operator import Operator, an_operator, some
from tests.support.program import ROOT


@pytest.fixture
async def operator(broker: PrivateBroker, names: Names, tmp_path: Path) -> AsyncIterator[Operator]:
    async with an_operator(broker, names, tmp_path) as somebody:
        yield somebody


@pytest.mark.parametrize("arguments", ["list", "list --json", "list --newest", "summary", "summary --watch 1"])
async def test_a_reader_that_goes_away_ends_it_quietly(operator: Operator, arguments: str) -> None:
    """`| head -1`: status 0, not a word on stderr, and every letter back in its place."""
    letters = some(600)
    await bury(operator.desk, *letters)
    async with operator.starts(*arguments.split()) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert await process.stdout.readline()
        process.stdout._transport.close()  # type: ignore[attr-defined]  # the one way to close our end of the pipe
        assert await process.stderr.read() == b""
        assert await process.wait() == 0
    assert await ids(operator.desk) == [f"letter-ORD-{n}" for n in range(600)]


@pytest.mark.parametrize("arguments", ["list", "export"])
async def test_a_reader_that_stalls_keeps_no_letter_held(operator: Operator, arguments: str) -> None:
    """`| less`: the letters are back while nobody reads on, and the reader gets all of them in the end."""
    await bury(operator.desk, *some(1500))
    async with operator.starts(arguments, *(("--audit", "/dev/null") if arguments == "export" else ())) as process:
        assert process.stdout is not None
        transport = process.stdout._transport  # type: ignore[attr-defined]
        transport.pause_reading()
        await eventually(lambda: operator.link.accepted == 1 and not operator.link.connections, timeout=40)
        assert await operator.dead() == 1500
        assert process.returncode is None
        transport.resume_reading()
        out, err = await process.communicate()
        assert await process.wait() == 0
    assert (len(out.splitlines()), err) == (1500, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("arguments", ["list", "export"])
async def test_a_signal_ends_what_writes_to_a_stalled_reader(
    operator: Operator, arguments: str, number: signal.Signals
) -> None:
    """One is enough: status 1 at once, though nothing is read any more."""
    await bury(operator.desk, *some(1500))
    async with operator.starts(arguments, *(("--audit", "/dev/null") if arguments == "export" else ())) as process:
        assert process.stdout is not None
        transport = process.stdout._transport  # type: ignore[attr-defined]
        transport.pause_reading()
        writing = Path(f"/proc/{process.pid}/syscall")  # its number, 1 for write
        await eventually(lambda: writing.read_text().startswith("1 ") and not operator.link.connections, timeout=40)
        process.send_signal(number)
        await eventually(lambda: process.returncode == 1)
        transport.resume_reading()


async def test_an_export_goes_through_a_fifo_and_leaves_it_one(operator: Operator) -> None:
    """It is no file to be replaced: its reader gets all lines, and as long as nobody reads no letter is held."""
    await bury(operator.desk, *some(20))
    fifo = operator.folder / "fifo"
    os.mkfifo(fifo)
    async with operator.starts("export", str(fifo), "--audit", str(operator.audit)) as process:
        await eventually(lambda: operator.link.accepted == 1 and not operator.link.connections, timeout=40)
        assert await operator.dead() == 20  # nobody reads yet
        lines = (await asyncio.to_thread(fifo.read_text)).splitlines()
        assert await process.wait() == 0
    assert [json.loads(line)["orderId"] for line in lines] == [f"ORD-{n}" for n in range(20)]
    assert fifo.is_fifo()


async def test_a_signal_ends_an_export_that_nobody_reads(operator: Operator) -> None:
    """A FIFO without a reader would block it for ever: status 1, and the audit says that it was not completed."""
    await bury(operator.desk, *some(2))
    os.mkfifo(operator.folder / "fifo")
    async with operator.starts("export", str(operator.folder / "fifo"), "--audit", str(operator.audit)) as process:
        await eventually(lambda: operator.link.accepted == 1 and not operator.link.connections, timeout=40)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 1
    assert json.loads(operator.audit.read_text().splitlines()[-1])["stopped"] == "not completed"


async def test_an_export_goes_through_a_device_and_leaves_it_one(operator: Operator) -> None:
    """A terminal, by its name under /dev."""
    await bury(operator.desk, *some(1))
    ours, theirs = pty.openpty()
    try:
        status, _, err = await operator.types("export", os.ttyname(theirs), "--audit", str(operator.audit))
        assert status == 0, err
        assert b'"orderId":"ORD-0"' in await asyncio.to_thread(os.read, ours, 65536)
        assert os.isatty(theirs)
    finally:
        os.close(ours)
        os.close(theirs)


async def test_an_export_to_a_symbolic_link_replaces_what_it_leads_to(operator: Operator) -> None:
    """The link stays a link; a folder or a link that leads nowhere is refused, and nothing is looked at."""
    await bury(operator.desk, *some(2))
    target, link = operator.folder / "target", operator.folder / "link"
    target.write_text("old\n")
    link.symlink_to(target)
    chosen = ("--force", "--audit", str(operator.audit))
    status, _, err = await operator.types("export", str(link), *chosen)
    assert (status, link.is_symlink(), target.is_symlink()) == (0, True, False), err
    assert len(target.read_text().splitlines()) == 2
    target.unlink()
    status, _, err = await operator.types("export", str(link), *chosen)
    assert (status, "a symbolic link that leads nowhere" in err) == (2, True)
    assert link.is_symlink()


@pytest.mark.parametrize("through", [False, True])
async def test_an_export_that_does_not_fit_says_so_and_leaves_no_half(operator: Operator, through: bool) -> None:
    """A full disk and a full device: status 1, the file as it was, nothing beside it, and no letter held."""
    await bury(operator.desk, *some(60))
    file = operator.folder / "letters.jsonl"
    if through:
        file.symlink_to("/dev/full")
    else:
        file.write_text("old\n")
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # noqa: E731
    async with operator.starts("export", str(file), "--force", "--audit", str(operator.audit), before=full) as process:
        out, err = await process.communicate()
    why = "No space left on device" if through else "File too large"
    assert (process.returncode, out) == (1, b"")
    assert err.decode() == f"{file} cannot be written: {why}: the export is not complete\n"
    assert {each.name for each in operator.folder.iterdir()} == {"audit.jsonl", "letters.jsonl"}
    assert file.is_symlink() if through else file.read_text() == "old\n"
    assert await ids(operator.desk) == [f"letter-ORD-{n}" for n in range(60)]


async def test_an_export_whose_reader_goes_away_is_not_complete(operator: Operator) -> None:
    """`export | head -1`: unlike a list it is not done: status 1, one line, and the audit says so."""
    await bury(operator.desk, *some(600))
    async with operator.starts("export", "--audit", str(operator.audit)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert await process.stdout.readline()
        process.stdout._transport.close()  # type: ignore[attr-defined]
        assert await process.stderr.read() == b"stdout was closed before all was written: the export is not complete\n"
        assert await process.wait() == 1
    assert json.loads(operator.audit.read_text().splitlines()[-1])["stopped"] == "not completed"


async def test_stdout_on_a_full_disk_is_named(operator: Operator) -> None:
    """Not the broker: status 1 and one line."""
    await bury(operator.desk, *some(1))
    full = os.open("/dev/full", os.O_WRONLY)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "consumer", "dlq", "list"),
        cwd=ROOT, env=operator.environ, stdout=full, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(full)
    _, err = await process.communicate()
    assert (process.returncode, err) == (1, b"stdout cannot be written: No space left on device\n")


async def test_an_import_reads_a_pipe_by_its_name(operator: Operator) -> None:
    """`<(zcat letters.gz)` cannot be read twice: it is put aside first."""
    file = operator.folder / "letters.jsonl"
    await operator.exported(file, 3)
    status, _, err = await operator.types(
        "import", "/dev/stdin", "--yes", "--audit", str(operator.audit), stdin=file.read_bytes()
    )
    assert status == 0, err
    assert await operator.dead() == 3
