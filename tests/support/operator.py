"""An operator of `dlq`: commands as processes of their own, which can be met in the middle of what they do."""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.core.delivery import Delivery
from consumer.deadletters.browse import Desk
from consumer.devbroker import PrivateBroker
from tests.conftest import Names
from tests.support import letters as invented
from tests.support.dead_letter_desk import a_desk, bury
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.program import ROOT, command, environment
from tests.support.proxy import Proxy


@dataclass(frozen=True)
class Operator:
    """Somebody at a terminal, with a desk to see what they did, and a link to the broker that can be cut."""

    environ: dict[str, str]
    desk: Desk
    link: Proxy
    folder: Path

    @property
    def audit(self) -> Path:
        return self.folder / "audit.jsonl"

    async def types(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """Run `dlq ...`: exit status, stdout, stderr."""
        return await command(self.environ, "dlq", *arguments, stdin=stdin)

    @asynccontextmanager
    async def starts(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, before: Callable[[], object] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start `dlq ...`, which is gone afterwards. `before` is called in the new process."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "consumer", "dlq", *arguments), cwd=ROOT, env=self.environ, preexec_fn=before,
            stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, limit=2**24,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def dead(self) -> int:
        """How many letters are in the queue and held by nobody."""
        return (await self.desk.queue.state(self.desk.queue.queues.dead)).messages

    async def sent(self) -> int:
        """How many orders are in the main queue."""
        return (await self.desk.queue.state(self.desk.queue.queues.main)).messages

    async def exported(self, file: Path, count: int) -> None:
        """Put `count` letters into `file`, and leave the queue empty."""
        await bury(self.desk, *some(count))
        nowhere = ("--audit", str(self.folder / "before.jsonl"))
        assert (await self.types("export", str(file), *nowhere))[0] == 0
        assert (await self.types("discard", "--all", "--yes", "--why", "moved", *nowhere))[0] == 0


@asynccontextmanager
async def an_operator(broker: PrivateBroker, names: Names, folder: Path) -> AsyncIterator[Operator]:
    """One with queues as the consumer declares them, and no ledger."""
    async with a_desk(broker.url, names) as desk, Proxy(("127.0.0.1", broker.port)) as link:
        url = broker.url.replace(str(broker.port), str(link.port))
        yield Operator(environment(url, names, LEDGER_URL="none"), desk, link, folder)


def some(count: int) -> list[Delivery]:
    return [invented.letter(f"ORD-{n}", order(f"ORD-{n}")) for n in range(count)]


class Reader:
    """A FIFO of 4 KiB that is read on request: whoever writes the audit of many letters to it stops in the middle."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._file, fcntl.F_SETPIPE_SZ, 4096)
        self.text = b""

    def read(self) -> bool:
        """Read what is there; whether there was anything."""
        try:
            chunk = os.read(self._file, 4096)
        except BlockingIOError:
            return False
        self.text += chunk
        return bool(chunk)

    def has_begun(self) -> bool:
        """Read on; whether a letter has been dealt with."""
        self.read()
        return b'"letter"' in self.text

    async def everything(self, process: asyncio.subprocess.Process) -> list[dict[str, Any]]:
        """Read on until `process` has ended; all lines."""

        async def ended() -> bool:
            while self.read():
                pass
            return process.returncode is not None

        waiting = asyncio.create_task(process.wait())
        await eventually(ended, timeout=60)
        await waiting
        while self.read():
            pass
        os.close(self._file)
        return [json.loads(line) for line in self.text.splitlines(keepends=True) if line.endswith(b"\n")]
