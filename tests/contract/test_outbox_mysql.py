"""What is MySQL's and MariaDB's own about the outbox: their URLs, their servers' ways, their TLS."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from consumer.adapters.outboxtable import Mark, OutboxError, OutboxUsageError
from consumer.adapters.outboxtable.mysql import outdated
from consumer.adapters.outboxtable.mysqlurl import MysqlUrl
from consumer.adapters.outboxtable.opening import open_outbox
from tests.support.mariadb import PASSWORD, PrivateMariadb
from tests.support.papers import Papers, make_papers
from tests.support.shopdatabase import Shop, shop_database


@pytest.fixture
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_database("mariadb", request, tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return make_papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def tls_mariadb(papers: Papers) -> Iterator[PrivateMariadb]:
    """A server that takes nobody without TLS; its certificate is for 127.0.0.1 alone."""
    with PrivateMariadb(papers) as server:
        yield server


async def test_an_engine_that_locks_no_rows_is_refused(shop: Shop) -> None:
    """Two workers would both have the rows of a MyISAM table."""
    await shop.execute("ALTER TABLE neuroon_conversion_outbox ENGINE = MyISAM")
    with pytest.raises(OutboxError, match="InnoDB"):
        await open_outbox(shop.url)


async def test_a_column_without_the_letters_of_an_error_keeps_no_row_from_being_marked(shop: Shop) -> None:
    """Shops that are old keep Latin-1, or less than the recipe's 1,024 letters; servers refuse the rest by default."""
    await shop.execute("ALTER TABLE neuroon_conversion_outbox MODIFY last_error VARCHAR(10) CHARACTER SET latin1")
    await shop.put("ORD-1", "{}")
    table = await open_outbox(shop.url)
    async with table.claim(None) as claim:
        await claim.mark([Mark(claim.rows[0], "\U0001f600 \u00e9 and much more")])
    await table.close()
    assert (await shop.rows())["ORD-1"][:2] == (1, "? \u00e9 and mu")


async def test_a_server_that_goes_away_is_told_without_its_password(shop: Shop) -> None:
    """In the middle of a claim, and at the door with a wrong password."""
    await shop.put("ORD-1", "{}")
    table = await open_outbox(shop.url)

    async def flush() -> None:
        async with table.claim(None) as claim:
            await hang_up_on_others(shop)
            await claim.mark([Mark(claim.rows[0], None)])

    with pytest.raises(OutboxError) as gone:
        await flush()
    await table.close()
    with pytest.raises(OutboxError, match="Access denied") as refused:
        await open_outbox(shop.url.replace(":p%40", ":q%40"))
    assert not any(PASSWORD[1:] in str(each.value) for each in (gone, refused))
    assert (await shop.rows())["ORD-1"] == (0, None, False)


async def hang_up_on_others(shop: Shop) -> None:
    others = await shop.execute(
        "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    )
    assert others
    for (each,) in others:
        await shop.execute(f"KILL {each}")


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ("10.11.19-MariaDB-0+deb12u1", True),
        ("5.5.5-10.6.4-MariaDB", True),
        ("10.5.23-MariaDB-log", False),
        ("5.5.5-10.3.2-MariaDB", False),
        ("8.0.36", True),
        ("8.0.mysql_aurora.3.04.0", True),
        ("9.1.0-commercial", True),
        ("5.7.44-log", False),
    ],
)
def test_servers_that_cannot_skip_locked_rows_are_refused(version: str, *, good: bool) -> None:
    """By what they say of themselves; the words name the version that is needed."""
    told = outdated(version)
    assert (told is None) == good
    assert good or str(told).endswith("10.6 or newer, which can skip locked rows" if "Maria" in version
                                      else "8.0 or newer, which can skip locked rows")  # fmt: skip


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?ssl-mode=maybe", "ssl-mode"),
        ("?ssl_ca=/ca.pem&ssl-mode=REQUIRED", "ssl-ca checks nothing"),
        ("?ssl-cert=/c.pem", "ssl-cert needs TLS"),
        ("?sslrootcert=/ca.pem", "sslrootcert in the URL is not known"),
        ("?ssl-ca=/nowhere/ca.pem", "cannot be used"),
    ],
)
def test_a_wish_for_tls_that_would_not_be_fulfilled_is_refused(query: str, told: str) -> None:
    """Rather than to connect with less than was asked for."""
    with pytest.raises(OutboxUsageError, match=told) as error:
        MysqlUrl.read(f"mysql://shop:hush@db/shop{query}").arguments()
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["mysql://", "mysql://db/shop", "mysql://shop@db", "mysql://shop:p@db:x/y", "mysql://shop@db/a/b"]
)
def test_a_url_that_lacks_something_is_refused(url: str) -> None:
    """User, host and database are needed; a port is a number."""
    with pytest.raises(OutboxUsageError, match="expected mysql://"):
        MysqlUrl.read(url)


def test_a_url_of_a_shops_framework_will_do() -> None:
    """What others put behind the question mark is left to them; the port is 3306 by default; repr tells no secret."""
    url = MysqlUrl.read(f"mysql://shop:{quote(PASSWORD, safe='')}@db/shop?serverVersion=8.0.32&charset=utf8mb4")
    assert url.arguments() == {
        "host": "db", "port": 3306, "user": "shop", "password": PASSWORD.encode(), "database": "shop",
    }  # fmt: skip
    assert PASSWORD not in repr(url)


def secured(server: PrivateMariadb, *, host: str = "127.0.0.1", user: str = "shop", **query: str) -> str:
    return f"{server.address('mysql', host=host, user=user)}?{urlencode(query)}"


# The table is not there: who is told so has been let in.
IN = "the database has no table"


@pytest.mark.parametrize(
    ("mode", "host", "told"),
    [
        ("VERIFY_IDENTITY", "127.0.0.1", IN),
        ("verify_identity", "localhost", "certificate verify failed"),
        ("VERIFY_CA", "localhost", IN),
        (None, "127.0.0.1", IN),
        (None, "localhost", "certificate verify failed"),
    ],
)
async def test_the_servers_authority_and_name_are_verified(
    tls_mariadb: PrivateMariadb, papers: Papers, mode: str | None, host: str, told: str
) -> None:
    """As ssl-mode says; who names an authority and no mode gets the whole of it."""
    query = {"ssl_ca": str(papers.ca)} | ({} if mode is None else {"ssl_mode": mode})
    with pytest.raises(OutboxError, match=told):
        await open_outbox(secured(tls_mariadb, host=host, **query))


@pytest.mark.parametrize("mode", ["VERIFY_CA", "VERIFY_IDENTITY"])
async def test_another_authority_is_not_spoken_to(tls_mariadb: PrivateMariadb, papers: Papers, mode: str) -> None:
    """Neither one that is named, nor the server's where this system's own authorities are to be trusted."""
    for query in ({"ssl_ca": str(papers.other_ca)}, {}):
        with pytest.raises(OutboxError, match="certificate verify failed"):
            await open_outbox(secured(tls_mariadb, ssl_mode=mode, **query))


async def test_tls_that_is_asked_for_is_never_done_without(shop: Shop, tls_mariadb: PrivateMariadb) -> None:
    """A server that offers none is left; one that insists refuses who wants none; by default it is used if offered."""
    with pytest.raises(OutboxError, match="doesn't support it"):
        await open_outbox(f"{shop.url}?ssl-mode=REQUIRED")
    with pytest.raises(OutboxError, match=r"Access denied|insecure transport"):
        await open_outbox(secured(tls_mariadb, ssl_mode="DISABLED"))
    for query in ({}, {"ssl_mode": "REQUIRED"}):
        with pytest.raises(OutboxError, match=IN):
            await open_outbox(secured(tls_mariadb, **query))


async def test_a_client_may_show_a_certificate(tls_mariadb: PrivateMariadb, papers: Papers) -> None:
    """For users that the server takes only with one."""
    certificate, key = map(str, papers.pair("client"))
    with pytest.raises(OutboxError, match=IN):
        await open_outbox(
            secured(tls_mariadb, user="certified", ssl_ca=str(papers.ca), ssl_cert=certificate, ssl_key=key)
        )
    with pytest.raises(OutboxError, match="Access denied"):
        await open_outbox(secured(tls_mariadb, user="certified", ssl_ca=str(papers.ca)))
