"""A PostgreSQL of one's own. Asked with psql, which comes with it: the driver is chosen elsewhere."""

import subprocess
from pathlib import Path

from consumer.devbroker.ports import answers
from tests.support.postgres import PrivatePostgres


def _ask(server: PrivatePostgres, query: str) -> str:
    command = [
        str(server.programs / "psql"),
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--command",
        query,
        server.url,
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_shared_server_takes_queries(postgres: PrivatePostgres, postgres_url: str) -> None:
    """The URL that tests get leads to a server in UTF-8 which this run has started itself."""
    assert postgres_url == postgres.url
    assert _ask(postgres, "show server_encoding") == "UTF8"
    assert Path(_ask(postgres, "show data_directory")).parent == postgres.folder


def test_data_survive_a_kill_and_a_stop_and_go_with_close() -> None:
    """`kill` and `stop` end the process alone; `close` leaves nothing behind."""
    with PrivatePostgres() as server:
        _ask(server, "create table paid (id int)")
        _ask(server, "insert into paid values (1)")
        server.kill()
        assert not answers(server.port)
        server.start()
        assert _ask(server, "select count(*) from paid") == "1"
        server.stop()
        assert not answers(server.port)
        server.start()
        assert _ask(server, "select count(*) from paid") == "1"
    assert not answers(server.port)
    assert not server.folder.exists()
