"""Whom the client trusts."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import certifi
import pytest
import trustme

from consumer.adapters.neuroon import Neuroon
from consumer.adapters.trust import NoTrustError
from consumer.core.outcome import Accepted, Reply, Unavailable
from consumer.sandbox import Sandbox
from tests.support.neuroon import conversion, shop_at


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def sandbox(authority: trustme.CA, request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """Serves TLS with a certificate of `authority` for 127.0.0.1, or for the name that a test asks for."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(getattr(request, "param", "127.0.0.1")).configure_cert(context)
    server = Sandbox()
    await server.start(ssl_context=context)
    yield server
    await server.stop()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authority stands in the file that SSL_CERT_FILE names."""
    bundle = tmp_path / "company-ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))


async def post(url: str) -> Reply:
    async with Neuroon(timeout=5.0) as api:
        return await api.post(conversion(), shop_at(url))


async def test_unknown_authority(sandbox: Sandbox) -> None:
    """A certificate of an authority that this system does not know is refused before anything is sent."""
    assert await post(sandbox.url) == Unavailable("tls: certificate verify failed")
    assert sandbox.book.stats()["requests"] == 0


@pytest.mark.usefixtures("trusted")
async def test_authority_by_variable(sandbox: Sandbox) -> None:
    """An authority that SSL_CERT_FILE names is trusted."""
    assert await post(sandbox.url) == Accepted(200)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("sandbox", ["elsewhere.example"], indirect=True)
async def test_other_host(sandbox: Sandbox) -> None:
    """A good certificate of another host is refused."""
    assert await post(sandbox.url) == Unavailable("tls: certificate verify failed")


@pytest.mark.usefixtures("trusted")
async def test_no_tls_at_all() -> None:
    """A server that speaks no TLS on an https address is a failure of its own."""
    async with Sandbox() as sandbox:
        assert await post(sandbox.url.replace("http:", "https:")) == Unavailable("tls: protocol error")


@pytest.mark.usefixtures("trusted")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # they are named in order to be refused
async def test_old_protocols_are_not_spoken(authority: trustme.CA) -> None:
    """TLS 1.2 at least, whatever this system's OpenSSL is configured for: a server with less gets no order."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    authority.issue_cert("127.0.0.1").configure_cert(context)
    sandbox = Sandbox()
    await sandbox.start(ssl_context=context)
    reply = await post(sandbox.url)
    await sandbox.stop()
    # The server's alert says so, unless the end of its connection overtakes it.
    assert reply in {Unavailable("tls: protocol error"), Unavailable("connection dropped")}
    assert sandbox.book.stats()["requests"] == 0


def without_system_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where there are no certificates."""
    paths = ssl.get_default_verify_paths()._replace(cafile=None, capath=None)  # type: ignore[arg-type]
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


async def test_no_store(
    sandbox: Sandbox, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system has no authorities at all, the usual public ones serve."""
    without_system_store(monkeypatch)
    usual = tmp_path / "public.pem"
    authority.cert_pem.write_to_path(str(usual))
    monkeypatch.setattr(certifi, "where", lambda: str(usual))
    assert await post(sandbox.url) == Accepted(200)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_no_store_though_one_was_named(
    name: str, sandbox: Sandbox, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that was named on purpose, but is not there, is not replaced by everybody's."""
    without_system_store(monkeypatch)
    usual = tmp_path / "public.pem"
    authority.cert_pem.write_to_path(str(usual))
    monkeypatch.setattr(certifi, "where", lambda: str(usual))
    monkeypatch.setenv(name, str(tmp_path / "missing"))
    with pytest.raises(NoTrustError, match=f"^{name}=.*missing: expected certificates"):
        await post(sandbox.url)
