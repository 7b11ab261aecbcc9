"""A PgBouncer of one's own, in transaction mode, before a PostgreSQL."""

import signal
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.debian import program
from tests.support.ownserver import OwnServer

# Fewer connections than its clients have: transactions of one client run in changing sessions.
_POOL_SIZE = 2


class PrivatePgbouncer(OwnServer):
    """Leads each of its databases to the one of the same name in the server at `server`, a postgresql:// URL."""

    name = "PgBouncer"
    lend_to = "postgres"
    gentle = signal.SIGINT
    quick = signal.SIGTERM

    def __init__(self, server: str) -> None:
        self._program = program("pgbouncer", "pgbouncer")
        self._server = urlsplit(server)
        super().__init__()

    def address(self, server: str) -> str:
        """The URL by which the database at `server` is reached through the pooler."""
        return urlsplit(server)._replace(netloc=f"postgres@127.0.0.1:{self.port}").geturl()

    def _prepare(self) -> None:
        (self.folder / "pgbouncer.ini").write_text(
            f"""[databases]
* = host=127.0.0.1 port={self._server.port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {_POOL_SIZE}
max_client_conn = 100
"""
        )

    def _command(self) -> list[str | Path]:
        return [self._program, self.folder / "pgbouncer.ini"]

    def _takes_queries(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False
