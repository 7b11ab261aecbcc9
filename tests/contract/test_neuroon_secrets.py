"""The API key goes to Neuroon and nowhere else."""

import asyncio
import logging
import traceback

import httpx
import pytest

from consumer.adapters.neuroon import Neuroon
from consumer.core.outcome import Accepted, Misconfigured, Refused
from consumer.sandbox import DEFAULT_SHOP, Sandbox, SandboxShop
from tests.support.neuroon import RawServer, conversion, shop_at

KEY = DEFAULT_SHOP.api_key


async def test_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Not even at debug level does anyone here, the client below httpx included, log a key."""
    caplog.set_level(logging.DEBUG)
    async with Sandbox(faults=["drop:times=1"]) as sandbox, Neuroon(timeout=5.0) as api:
        for url in (sandbox.url, sandbox.url, "http://127.0.0.1:1", "http://[::1"):
            await api.post(conversion(), shop_at(url))
        await api.probe(shop_at(sandbox.url))
    logging.getLogger("consumer").debug("the log is read")
    assert "the log is read" in caplog.text
    assert KEY not in caplog.text


async def test_reprs() -> None:
    """No object that a debugger or an error report may print shows a key."""
    shop = shop_at("http://127.0.0.1:1")
    async with Neuroon(timeout=5.0) as api:
        await api.post(conversion(), shop)
        for shown in (shop, api, vars(api), api._routes, DEFAULT_SHOP, SandboxShop("a", KEY)):
            assert KEY not in repr(shown)
            assert KEY not in str(shown)


async def test_tracebacks() -> None:
    """A traceback that prints the local variables of every frame shows no key."""

    class Leave(BaseException):
        pass

    def leave(request: httpx.Request) -> httpx.Response:
        raise Leave(repr(request))

    async with Neuroon(timeout=5.0, wire=httpx.MockTransport(leave)) as api:
        with pytest.raises(Leave) as raised:
            await api.post(conversion(), shop_at("https://api.example"))
    report = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    text = "".join(report.format())
    assert "route = " in text
    assert KEY not in text


async def test_error_of_a_bad_key() -> None:
    """A key that no header can carry is not quoted by whoever finds out."""
    key = f"{KEY}\nInjected: 1"
    async with RawServer(None) as server, Neuroon(timeout=5.0) as api:
        reply = await api.post(conversion(), shop_at(server.url, key=key))
        assert server.connections == 0
    assert isinstance(reply, Misconfigured)
    assert "sk_" not in repr(reply)


@pytest.mark.parametrize("place", ["body", "location"])
async def test_echo(place: str) -> None:
    """A server that repeats the key in its answer does not bring it into logs and dead letters."""
    text = f'{{"message": "no such key: {KEY}"}}' if place == "body" else ""
    head = f"HTTP/1.1 {400 if place == 'body' else 302} No\r\nLocation: http://x.example/{KEY}\r\n"
    answer = f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode()
    async with RawServer(answer) as server, Neuroon(timeout=5.0) as api:
        reply = await api.post(conversion(), shop_at(server.url))
    if place == "body":
        assert reply == Refused(400, "no such key: sk_***")
    else:
        assert reply == Misconfigured(302, "redirected to http://x.example/sk_***")


async def test_each_shop_its_own_key() -> None:
    """Requests of several shops at the same time carry each its own key."""
    shops = [SandboxShop(f"shop_{index}", f"sk_{index:032x}") for index in range(5)]
    async with Sandbox(shops) as sandbox, Neuroon(timeout=5.0) as api:
        replies = await asyncio.gather(
            *(api.post(conversion(), shop_at(sandbox.url, each.id, each.api_key)) for each in shops * 4)
        )
        assert replies == [Accepted(200)] * 20
        assert {each.shop_id for each in sandbox.orders} == {each.id for each in shops}
