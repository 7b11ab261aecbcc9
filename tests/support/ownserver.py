"""What the private database servers of the tests have in common: a folder, a port, a process, and an end."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from consumer.devbroker.guard import Guard
from consumer.devbroker.ports import free_ports

_START_SECONDS = 60
_STOP_SECONDS = 30
# "$3" is the server, "$4" its folder. Bounded, because in a container nobody may collect a dead process.
_CLEAN_UP = 'kill -"$2" "$3"; for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$3" && sleep 0.2; done; rm -rf "$4"'


class OwnServer:
    """A server on 127.0.0.1:`port` whose data survive `stop` and `kill`. A context manager that leaves nothing.

    Neither PostgreSQL nor MariaDB runs as root, so root lends them to another user: `lend_to`, or else nobody.
    """

    name: str
    lend_to: str
    # Signals: sessions are told and ended; and at once, but in a way that gives back what the kernel lends.
    gentle: signal.Signals
    quick: signal.Signals

    def __init__(self) -> None:
        self._user = _unprivileged_user(self.lend_to)
        self.folder = Path(tempfile.mkdtemp(prefix=f"neuroon-{self.name.lower()}-"))
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        """Make the data folder."""
        raise NotImplementedError

    def _command(self) -> list[str | Path]:
        """What starts the server."""
        raise NotImplementedError

    def _takes_queries(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Start, or start again on the same data; returns when it takes queries."""
        deadline = time.monotonic() + _START_SECONDS
        while self._process is None or not self._takes_queries():
            # After a kill, a new server gives up until the old one's children have noticed and left.
            if self._process is None or self._process.poll() is not None:
                self._launch()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not come up. Its log ends:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """In good order: sessions are told and ended."""
        self._end(self.gentle)

    def kill(self) -> None:
        """At once (SIGKILL)."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it, and remove its data."""
        self._end(self.quick)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def process_id(self) -> int:
        """Of the server, and of its process group."""
        assert self._process is not None
        return self._process.pid

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _run(self, *command: str | Path) -> None:
        """To its end; raises RuntimeError with what it printed."""
        if self._spawn(*command).wait() != 0:
            raise RuntimeError(f"{command[0]} failed:\n{self._log.read_text()}")

    def _launch(self) -> None:
        self._process = self._spawn(*self._command())
        self._dismiss_guard()
        self._guard = Guard(_CLEAN_UP, str(int(self.quick)), str(self._process.pid), str(self.folder))

    def _spawn(self, *command: str | Path) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                user=self._user,
                group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
                extra_groups=None if self._user is None else [],
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_STOP_SECONDS)
            self._process = None
        self._dismiss_guard()

    def _dismiss_guard(self) -> None:
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None


def _unprivileged_user(wanted: str) -> str | None:
    """Who runs the server: ourselves (None), unless we are root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return wanted if wanted in names else "nobody"
