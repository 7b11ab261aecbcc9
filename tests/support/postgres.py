"""A PostgreSQL of one's own, for tests that a shared or running one must not see."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from consumer.devbroker.apt import apt_install, one_at_a_time
from tests.support.ownserver import OwnServer

_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
_NONE = (
    "PostgreSQL is not installed, and this user may not install it. Do one of these and try again:\n"
    "  Debian, Ubuntu:  sudo apt-get install postgresql\n"
    "  macOS:           brew install postgresql"
)


class PrivatePostgres(OwnServer):
    """A server with one superuser `postgres` who needs no password.

    Writes are not forced to disk: killing the process loses nothing for that, only a power cut would.
    """

    name = "PostgreSQL"
    lend_to = "postgres"
    gentle = signal.SIGINT
    quick = signal.SIGQUIT  # unlike SIGKILL, it lets it give its shared memory back

    def __init__(self) -> None:
        self.programs = _programs()
        super().__init__()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _prepare(self) -> None:
        settings = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        self._run(self.programs / "initdb", f"--pgdata={self._data}", *settings)

    def _command(self) -> list[str | Path]:
        settings = (f"--port={self.port}", "--listen_addresses=127.0.0.1", "--unix_socket_directories=", "--fsync=off")
        return [self.programs / "postgres", "-D", self._data, *settings]

    def _takes_queries(self) -> bool:
        asked = [str(self.programs / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        return subprocess.run(asked, check=False).returncode == 0


def _programs() -> Path:
    """The folder of the newest installed server; raises RuntimeError where there is none and none can be installed."""
    with one_at_a_time():
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
