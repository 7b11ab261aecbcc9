"""The program as its users run it: a process with an environment, whose log lines are read."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from consumer.sandbox import DEFAULT_SHOP, Sandbox
from tests.conftest import Names
from tests.support.eventually import eventually

ROOT = Path(__file__).parents[2]


def environment(url: str, names: Names, sandbox: Sandbox | None = None, **more: str) -> dict[str, str]:
    """Settings for the sandbox's own shop, with short delays and no port for probes."""
    ours = {
        "AMQP_URL": url,
        "NEUROON_API_URL": sandbox.url if sandbox else "http://127.0.0.1:9",
        "NEUROON_SHOP_ID": DEFAULT_SHOP.id,
        "NEUROON_API_KEY": DEFAULT_SHOP.api_key,
        "CONSUMER_EXCHANGE": names.exchange,
        "CONSUMER_QUEUE": names.queue,
        "CONSUMER_RETRY_DELAYS": "200ms,400ms",
        "CONSUMER_HOLD_DELAY": "300ms",
        "CONSUMER_HTTP_ADDR": "off",
        "CONSUMER_REQUEST_TIMEOUT": "2s",
        "CONSUMER_SHUTDOWN_GRACE": "5s",
        "LEDGER_URL": "memory://",
        "LOG_FORMAT": "json",
    }
    path = {name: os.environ[name] for name in ("PATH", "HOME", "SSL_CERT_FILE", "TMPDIR") if name in os.environ}
    return path | ours | more


async def command(
    environ: dict[str, str], *arguments: str, stdin: bytes = b"", encoding: str = "utf-8", root: Path = ROOT
) -> tuple[int, str, str]:
    """Run one command to its end: exit status, stdout, stderr. `root`: where the program lies."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "consumer",
        *arguments,
        cwd=root,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = await process.communicate(stdin)
    finally:
        if process.returncode is None:  # it hangs, and the test's time is up
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(encoding), err.decode(encoding)


class Consumer:
    """`neuroon-consumer run`, as a process of its own. An async context manager that leaves nothing running."""

    def __init__(self, environ: dict[str, str], root: Path = ROOT) -> None:
        self._environ, self._root = environ, root
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.lines: list[dict[str, Any]] = []
        self.text = ""

    async def start(self) -> None:
        """Start it, or start it again."""
        # It says nothing on stdout; should it outlive us, it must not keep whoever reads ours waiting for its end.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "consumer",
            "run",
            cwd=self._root,
            env=self._environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self._process.stderr is not None
        self._reading = asyncio.create_task(self._read(self._process.stderr))

    async def consuming(self, times: int = 1) -> None:
        """Wait until it has said so `times` times since the first start."""
        await eventually(lambda: len(self.events("consuming")) >= times, timeout=40, what="the consumer consumes")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one name."""
        return [line for line in self.lines if line.get("event") == name]

    def outcomes(self, order: str) -> list[str]:
        """How the tries of one order ended, in the order of time."""
        return [line["outcome"] for line in self.events("settled") if line["order"] == order]

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def wait(self, timeout: float = 30.0) -> int:
        """Its exit status."""
        assert self._process is not None
        assert self._reading is not None
        async with asyncio.timeout(timeout):
            status = await self._process.wait()
            await self._reading
        return status

    async def __aenter__(self) -> Self:
        await self.start()
        await self.consuming()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self.wait()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for raw in stream:
            self.text += raw.decode()
            try:
                self.lines.append(json.loads(raw))
            except ValueError:
                continue  # a line for people
