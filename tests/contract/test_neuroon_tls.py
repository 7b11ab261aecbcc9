"""Whom the client trusts."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from consumer.adapters.neuroon import Neuroon
from consumer.adapters.wire import trust_store
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
    async with Neuroon(timeout=5.0, concurrency=1) as api:
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


def without_system_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where Python finds no certificates."""
    paths = ssl.get_default_verify_paths()._replace(cafile=None, capath=None)  # type: ignore[arg-type]
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    create = ssl.create_default_context
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(ssl, "create_default_context", lambda **named: create(**named) if named else empty)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


def authorities(context: ssl.SSLContext) -> int:
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    return context.cert_store_stats()["x509_ca"]


@pytest.mark.usefixtures("trusted")
def test_system_store() -> None:
    """What the system or the operator trusts is all that is trusted."""
    assert authorities(trust_store()) == 1


def test_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python finds no authorities at all, the usual public ones serve."""
    without_system_store(monkeypatch)
    assert authorities(trust_store()) > 0


def test_no_store_though_one_was_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A store that was named on purpose, but is not there, is not replaced by everybody's."""
    without_system_store(monkeypatch)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    assert authorities(trust_store()) == 0
