"""Broker and database over TLS, with an authority of our own and a client certificate that they insist on."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import pytest

from consumer.adapters.ledger import LedgerDownError
from consumer.adapters.ledger.inspection import inspect
from consumer.adapters.ledger.postgres import PostgresStore
from consumer.adapters.link import LINK_ERRORS, connect
from consumer.adapters.topology import Queue, Topology
from consumer.devbroker import PrivateBroker
from consumer.devbroker.ports import free_ports
from consumer.doctor import Level, check_broker, check_ledger, check_management
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.papers import Papers, make_papers
from tests.support.postgres import PrivatePostgres
from tests.support.program import environment
from tests.support.tlsfront import tls_front

pytestmark = pytest.mark.usefixtures("collected")


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return make_papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def tls_port(papers: Papers) -> Iterator[tuple[PrivateBroker, int]]:
    """A node that also listens for TLS, and takes only clients whom the authority has certified."""
    (port,) = free_ports(1)
    certificate, key = papers.pair("server")
    broker = PrivateBroker()
    settings = [
        f"listeners.ssl.1 = 127.0.0.1:{port}",
        f"ssl_options.cacertfile = {papers.ca}",
        f"ssl_options.certfile = {certificate}",
        f"ssl_options.keyfile = {key}",
        "ssl_options.verify = verify_peer",
        "ssl_options.fail_if_no_peer_cert = true",
    ]
    with (Path(broker._engine.folder) / "rabbitmq.conf").open("a") as file:  # type: ignore[attr-defined]
        file.write("\n".join(settings) + "\n")
    with broker:
        yield broker, port


def _amqps(port: int, papers: Papers, ca: Path, host: str = "127.0.0.1", *, client: bool = True) -> str:
    certificate, key = papers.pair("client")
    query = {"cafile": ca} | ({"certfile": certificate, "keyfile": key} if client else {})
    return f"amqps://guest:guest@{host}:{port}/?{urlencode(query)}"


async def test_orders_come_over_amqps_with_a_client_certificate(
    tls_port: tuple[PrivateBroker, int], papers: Papers, names: Names
) -> None:
    """AMQP_URL with cafile, certfile and keyfile: the program consumes, and an order is delivered."""
    broker, port = tls_port
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(_amqps(port, papers, papers.ca), names, sandbox)) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1") == ["delivered"])


@pytest.mark.parametrize("wrong", ["authority", "name", "no client certificate"])
async def test_amqps_refuses_what_is_not_certified(
    tls_port: tuple[PrivateBroker, int], papers: Papers, wrong: str
) -> None:
    """A broker of another authority or name, and for the broker a client without a certificate; check says how to
    name them."""
    ca = papers.other_ca if wrong == "authority" else papers.ca
    host = "localhost" if wrong == "name" else "127.0.0.1"
    url = _amqps(tls_port[1], papers, ca, host, client=wrong != "no client certificate")
    with pytest.raises(LINK_ERRORS):
        await connect(url, "test")
    (finding,) = await check_broker(url, Topology("e", "topic", "#", (Queue("q"),)), create=True)
    assert finding.level is Level.UNKNOWN
    assert "cafile" in finding.cure


@pytest.mark.parametrize("trusted", [True, False])
async def test_the_management_api_over_https(broker: PrivateBroker, papers: Papers, trusted: bool) -> None:
    """SSL_CERT_FILE names its authority, as for Neuroon; one of another authority is not spoken to."""
    plain = urlsplit(broker.management_url)
    assert plain.port is not None
    async with tls_front(plain.port, papers) as port:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(papers.ca if trusted else papers.other_ca))
            wanted = Topology("e", "topic", "#", (Queue("q"),))
            found = await check_management(f"https://guest:guest@127.0.0.1:{port}", "/", wanted, 40.0)
    assert [each.level for each in found] == [Level.OK if trusted else Level.UNKNOWN]
    assert trusted or "SSL_CERT_FILE" in found[0].cure


@pytest.fixture(scope="module")
def tls_postgres(papers: Papers) -> Iterator[PrivatePostgres]:
    """A server that takes only TLS and clients whose certificate names the user."""
    server = PrivatePostgres()
    data = server.folder / "data"
    certificate, key = papers.pair("server")
    for source, name in ((certificate, "server.pem"), (key, "server.key"), (papers.ca, "ca.pem")):
        shutil.copy(source, data / name)
        if server._user is not None:
            shutil.chown(data / name, server._user)
        (data / name).chmod(0o600)
    with (data / "postgresql.conf").open("a") as file:
        file.write("ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\nssl_ca_file = 'ca.pem'\n")
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 cert\n")
    with server:
        yield server


def _with_tls(
    server: PrivatePostgres, papers: Papers, ca: Path, *, client: bool = True, host: str = "127.0.0.1"
) -> str:
    certificate, key = papers.pair("client")
    query = {"sslmode": "verify-full", "sslrootcert": ca} | ({"sslcert": certificate, "sslkey": key} if client else {})
    return f"postgresql://postgres@{host}:{server.port}/postgres?{urlencode(query, quote_via=quote)}"


async def test_the_ledger_in_postgresql_over_tls(tls_postgres: PrivatePostgres, papers: Papers) -> None:
    """verify-full, the authority's file and a client certificate in LEDGER_URL: it opens, and check says so."""
    url = _with_tls(tls_postgres, papers, papers.ca)
    assert (await inspect(url)).message == "can be written to"
    store = PostgresStore(url)
    await store.open()
    await store.close()


@pytest.mark.parametrize("wrong", ["authority", "no client certificate", "no TLS"])
async def test_the_ledger_refuses_what_is_not_certified(
    tls_postgres: PrivatePostgres, papers: Papers, wrong: str
) -> None:
    """A server of another authority is not spoken to; and the server refuses whoever comes without."""
    ca = papers.other_ca if wrong == "authority" else papers.ca
    url = _with_tls(tls_postgres, papers, ca, client=wrong != "no client certificate")
    if wrong == "no TLS":
        url = f"{tls_postgres.url}?sslmode=disable"
    with pytest.raises(LedgerDownError):
        await PostgresStore(url).open()


async def test_verify_full_refuses_a_server_of_another_name(tls_postgres: PrivatePostgres, papers: Papers) -> None:
    """The right authority, and the same server under a name that its certificate does not have: it is not opened, and
    both the error and `check` say which name was wrong. With verify-ca, which asks for no name, it is spoken to."""
    url = _with_tls(tls_postgres, papers, papers.ca, host="localhost")
    with pytest.raises(LedgerDownError, match="certificate is not valid for 'localhost'"):
        await PostgresStore(url).open()
    (finding,) = await check_ledger(url)
    assert finding.level is Level.UNKNOWN
    assert "certificate is not valid for 'localhost'" in finding.message
    assert "name the server as its certificate does" in finding.cure
    assert (await inspect(url.replace("verify-full", "verify-ca"))).problem == ""
