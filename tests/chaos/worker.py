"""A consumer process whose log goes to a file: it may be killed and frozen, and there may be a million lines."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.program import ROOT

# Until the handler for SIGTERM stands: an interpreter's start, on a machine that is busy.
NEWBORN_SECONDS = 1.0


class Worker:
    """`neuroon-consumer run`. `faults_of_ours` tells of exits that should not have been."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self._environ, self.log = environ, log
        self._process: asyncio.subprocess.Process | None = None
        self._started = self._frozen = 0.0
        self.faults_of_ours: list[str] = []

    async def start(self) -> None:
        """Start it, or start it again; the log goes on."""
        with self.log.open("ab") as log:
            self._started = time.monotonic()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "consumer", "run", cwd=ROOT, env=self._environ, stderr=log, stdout=log
            )

    async def kill(self) -> None:
        """End it at once."""
        self._check()
        await self._end(signal.SIGKILL)

    async def terminate(self, within: float) -> None:
        """Let it drain; it is to be gone within so many seconds, with status 0.

        In its first moments it may be an interpreter that has not come to our first line, and dies of the signal.
        """
        self._check()
        newborn = time.monotonic() - self._started < NEWBORN_SECONDS
        begun = time.monotonic()
        try:
            async with asyncio.timeout(within):
                status = await self._end(signal.SIGTERM)
        except TimeoutError:
            self._fault(f"still there {within:.0f} s after SIGTERM")
            await self._end(signal.SIGKILL)
            return
        if status != 0 and not (newborn and status == -signal.SIGTERM):
            self._fault(f"status {status} after SIGTERM, {time.monotonic() - begun:.1f} s")

    def freeze(self) -> None:
        """Stop it without its knowing (SIGSTOP)."""
        self._check()
        self._frozen = time.monotonic()
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT). One that slept in its first moments has not grown older."""
        self._started += time.monotonic() - self._frozen
        self._send(signal.SIGCONT)

    @property
    def ended(self) -> bool:
        """Whether there is no process any more."""
        return self._process is None or self._process.returncode is not None

    async def close(self) -> None:
        """Leave nothing running."""
        if self._process is not None and self._process.returncode is None:
            await self._end(signal.SIGKILL)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Its log. What is no JSON, such as a traceback, comes as the event "not JSON"."""
        if not self.log.exists():
            return
        with self.log.open(encoding="utf-8", errors="replace") as log:
            for raw in log:
                try:
                    line = json.loads(raw)
                except ValueError:
                    line = None
                yield line if isinstance(line, dict) else {"event": "not JSON", "text": raw.rstrip()}

    def _check(self) -> None:
        if self.ended:
            self._fault(f"ended by itself with status {self._process.returncode if self._process else None}")

    def _fault(self, text: str) -> None:
        self.faults_of_ours.append(f"{self.log.stem} at {time.strftime('%H:%M:%S', time.gmtime())}: {text}")

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._send(number)
        return await self._process.wait()
