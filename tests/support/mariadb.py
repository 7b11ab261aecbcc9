"""A MariaDB of one's own, as a shop has it."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from consumer.devbroker.apt import apt_install, one_at_a_time
from tests.support.ownserver import OwnServer
from tests.support.papers import Papers

# Where servers live that no PATH leads to.
_FOLDERS = ("/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/opt/homebrew/bin")
_PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb-admin")
_NONE = (
    "MariaDB is not installed, and this user may not install it. Do one of these and try again:\n"
    "  Debian, Ubuntu:  sudo apt-get install mariadb-server\n"
    "  macOS:           brew install mariadb"
)
# Signs that mean something in URLs, one that is not ASCII.
PASSWORD = "p@ss/w\u00f6rd:%"


class PrivateMariadb(OwnServer):
    """A server with a user `shop` who may do everything, and a user `certified` who must show a certificate.

    With `papers` it takes nobody without TLS; without, it offers none.
    """

    name = "MariaDB"
    lend_to = "mysql"
    gentle = signal.SIGTERM
    quick = signal.SIGKILL

    def __init__(self, papers: Papers | None = None) -> None:
        self.programs = _programs()
        super().__init__()
        self.settings: tuple[str, ...] = ("--skip-ssl",)  # since 11.4 it would make a certificate by itself
        if papers is not None:
            lent = papers.lent(self.folder / "papers", self._user)
            certificate, key = lent.pair("server")
            self.settings = (f"--ssl-cert={certificate}", f"--ssl-key={key}", f"--ssl-ca={lent.ca}",
                             "--require-secure-transport=ON")  # fmt: skip

    @property
    def url(self) -> str:
        return self.address("mysql")

    def address(self, database: str, *, user: str = "shop", host: str = "127.0.0.1") -> str:
        """URL of one of its databases."""
        return f"mysql://{user}:{quote(PASSWORD, safe='')}@{host}:{self.port}/{database}"

    def _prepare(self) -> None:
        first = self.folder / "first.sql"
        first.write_text(
            f"CREATE USER IF NOT EXISTS shop@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO shop@'%';\n"
            f"CREATE USER IF NOT EXISTS certified@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE X509;\n"
            "GRANT ALL ON *.* TO certified@'%';\n",
            encoding="utf-8",
        )
        made = (
            "--no-defaults",
            f"--datadir={self._data}",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        )
        self._run(self.programs["mariadb-install-db"], *made)

    def _command(self) -> list[str | Path]:
        return [
            self.programs["mariadbd"],
            "--no-defaults",
            f"--datadir={self._data}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self._socket}",
            f"--init-file={self.folder / 'first.sql'}",
            "--character-set-server=utf8mb4",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-buffer-pool-size=32M",
            *self.settings,
        ]

    def _takes_queries(self) -> bool:
        """Whether it answers at all: the admin program takes "access denied" for an answer, too."""
        admin = str(self.programs["mariadb-admin"])
        asked = [admin, "--no-defaults", "--skip-ssl", f"--socket={self._socket}", "--silent", "ping"]
        return subprocess.run(asked, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"


def _programs() -> dict[str, str]:
    """Where they are; raises RuntimeError where they are not and cannot be installed."""
    with one_at_a_time():
        found = _installed()
        if found is None:
            apt_install("mariadb-server", lambda text: print(text, file=sys.stderr))
            found = _installed()
    if found is None:
        raise RuntimeError(_NONE)
    return found


def _installed() -> dict[str, str] | None:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_FOLDERS])
    found = {name: place for name in _PROGRAMS if (place := shutil.which(name, path=path)) is not None}
    return found if len(found) == len(_PROGRAMS) else None
