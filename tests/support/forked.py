"""Commands in processes that are forked from one that has imported the program: 30 ms instead of a second."""

import asyncio
import atexit
import contextlib
import multiprocessing
import os
import sys
import tempfile
import threading
import tty
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.eventually import eventually

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["consumer.cli"])


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. At a terminal, stdout and stderr are one."""

    status: int
    out: str
    err: str = ""


class Forked:
    """A command that runs, in `folder`; its output goes to files, or to a terminal of 80 columns."""

    def __init__(
        self, environ: Mapping[str, str], arguments: tuple[str, ...], folder: Path, *, stdin: bytes, terminal: bool
    ) -> None:
        self._streams = Path(tempfile.mkdtemp(dir=folder))
        (self._streams / "in").write_bytes(stdin)
        self._terminal = _Terminal() if terminal else None
        names = [self._terminal.name] * 2 if self._terminal else [str(self._streams / name) for name in ("out", "err")]
        files = (str(self._streams / "in"), *names)
        self._process = _CONTEXT.Process(target=_child, args=({**environ}, arguments, files, str(folder)))
        self._process.start()

    @property
    def out(self) -> str:
        """What has been written so far."""
        return self._terminal.text if self._terminal else _text(self._streams / "out")

    @property
    def err(self) -> str:
        """What has been written to stderr so far, if that is not the terminal."""
        return "" if self._terminal else _text(self._streams / "err")

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    async def ended(self, timeout: float = 60.0) -> Ended:
        """Wait for its end; a command that outlives `timeout` is killed, and the wait fails."""
        try:
            await eventually(lambda: self._process.exitcode is not None, timeout=timeout)
        finally:
            if self._process.exitcode is None:
                self._process.kill()
            await asyncio.to_thread(self._process.join)
            if self._terminal:
                self._terminal.close()
        status = self._process.exitcode
        self._process.close()
        assert status is not None
        return Ended(status, self.out, self.err)


class _Terminal:
    """A pseudo-terminal that passes everything on as it is, and what was written to it."""

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.name = os.ttyname(self._slave)
        self._written = bytearray()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    @property
    def text(self) -> str:
        return self._written.decode()

    def close(self) -> None:
        """Read what is left; the last one that has it open must be this process."""
        os.close(self._slave)
        self._reading.join()
        os.close(self._master)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # nobody has the other end open any more
            while data := os.read(self._master, 65_536):
                self._written += data


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _child(environ: dict[str, str], arguments: tuple[str, ...], files: tuple[str, str, str], folder: str) -> None:
    for number, path in enumerate(files):
        opened = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_NOCTTY)
        os.dup2(opened, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["neuroon-consumer", *arguments]
    # Those that were forked remember what kind of file they had.
    with open(0, closefd=False) as sys.stdin, open(1, "w", closefd=False) as sys.stdout:
        from consumer.__main__ import main

        try:
            main()
        finally:
            atexit._run_exitfuncs()  # a process of multiprocessing leaves without
