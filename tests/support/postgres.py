"""A PostgreSQL of one's own, for tests that a shared or running one must not see."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from consumer.devbroker.apt import apt_install
from consumer.devbroker.guard import Guard
from consumer.devbroker.ports import free_ports

_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
_START_SECONDS = 60
_STOP_SECONDS = 30
# SIGQUIT, unlike SIGKILL, lets it give its shared memory back; "$2" is the server, "$3" its folder. Bounded, because in
# a container nobody may collect a dead process.
_CLEAN_UP = 'kill -QUIT "$2"; for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$2" && sleep 0.2; done; rm -rf "$3"'
_NONE = (
    "PostgreSQL is not installed, and this user may not install it. Do one of these and try again:\n"
    "  Debian, Ubuntu:  sudo apt-get install postgresql\n"
    "  macOS:           brew install postgresql"
)


class PrivatePostgres:
    """A server on 127.0.0.1 with one superuser `postgres` who needs no password. Its data survive `stop` and `kill`.

    PostgreSQL refuses to run as root, so root lends it to another user. Writes are not forced to disk: killing the
    process loses nothing for that, only a power cut would.
    """

    def __init__(self) -> None:
        self.programs = _programs()
        self._user = _unprivileged_user()
        self.folder = Path(tempfile.mkdtemp(prefix="neuroon-postgres-"))
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        settings = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        if self._spawn("initdb", f"--pgdata={self._data}", *settings).wait() != 0:
            printed = self._log.read_text()
            self.close()
            raise RuntimeError(f"initdb failed:\n{printed}")

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start, or start again on the same data; returns when it takes queries."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            # After a kill, a new server gives up until the old one's children have noticed and left.
            if self._process is None or self._process.poll() is not None:
                self._launch()
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not come up. Its log ends:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """In good order: sessions are told and ended (SIGINT)."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """At once (SIGKILL)."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it, and remove its data."""
        self._end(signal.SIGQUIT)
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
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _launch(self) -> None:
        settings = (f"--port={self.port}", "--listen_addresses=127.0.0.1", "--unix_socket_directories=", "--fsync=off")
        self._process = self._spawn("postgres", "-D", str(self._data), *settings)
        self._dismiss_guard()
        self._guard = Guard(_CLEAN_UP, str(self._process.pid), str(self.folder))

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self.programs / program, *arguments],
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

    def _is_ready(self) -> bool:
        asked = [str(self.programs / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        return self._process is not None and subprocess.run(asked, check=False).returncode == 0


def _unprivileged_user() -> str | None:
    """Who runs the server: ourselves (None), unless we are root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _programs() -> Path:
    """The folder of the newest installed server; raises RuntimeError where there is none and none can be installed."""
    found = _installed()
    if found is None:
        apt_install("postgresql", lambda text: print(text, file=sys.stderr))
        found = _installed()
    if found is None:
        raise RuntimeError(_NONE)
    return found


def _installed() -> Path | None:
    folders = [folder for pattern in _FOLDERS for folder in Path("/").glob(pattern.removeprefix("/"))]
    servers = [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]
    if servers:
        return max(servers, key=lambda folder: [int(part) for part in folder.parent.name.split("-") if part.isdigit()])
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent
