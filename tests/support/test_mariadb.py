"""A MariaDB of one's own."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from consumer.adapters.outboxtable.mysqlurl import MysqlUrl
from consumer.devbroker.ports import answers
from tests.support import mariadb
from tests.support.mariadb import PrivateMariadb


def _ask(server: PrivateMariadb, query: str) -> Any:
    import pymysql

    with closing(pymysql.connect(**MysqlUrl.read(server.url).arguments(), autocommit=True)) as connection:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()


def test_data_survive_a_kill_and_a_stop_and_go_with_close() -> None:
    """`kill` and `stop` end the process alone; `close` leaves nothing behind."""
    with PrivateMariadb() as server:
        ((folder,),) = _ask(server, "SELECT @@datadir")
        assert Path(folder).parent == server.folder
        _ask(server, "CREATE TABLE paid (id INT)")
        _ask(server, "INSERT INTO paid VALUES (1)")
        server.kill()
        assert not answers(server.port)
        server.start()
        server.stop()
        assert not answers(server.port)
        server.start()
        assert _ask(server, "SELECT COUNT(*) FROM paid") == ((1,),)
    assert not answers(server.port)
    assert not server.folder.exists()


def test_where_there_is_none_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A failure with words, never a skip: the package is asked for, and when that does not help a person is."""
    asked: list[str] = []
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mariadb, "_FOLDERS", ())
    monkeypatch.setattr(mariadb, "apt_install", lambda package, _: asked.append(package))
    with pytest.raises(RuntimeError, match="apt-get install mariadb-server"):
        PrivateMariadb()
    assert asked == ["mariadb-server"]
