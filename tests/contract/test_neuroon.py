"""Posting to Neuroon: every row of the answer table, over a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from consumer import __version__
from consumer.adapters.neuroon import Neuroon
from consumer.core.outcome import Accepted, AlreadyKnown, Misconfigured, Refused, Reply, Throttled, Unavailable
from consumer.core.reply import NOT_SENT
from consumer.sandbox import DEFAULT_SHOP, Sandbox, SandboxShop
from tests.support.neuroon import RawServer, conversion, payload, shop_at

PAGE = "an HTML page instead of Neuroon's answer: Just a moment... Checking your browser"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    shops = [DEFAULT_SHOP, SandboxShop("shop_b", "sk_" + "b" * 32, "https://www.b.example/")]
    async with Sandbox(shops) as server:
        yield server


@pytest.fixture
async def neuroon() -> AsyncIterator[Neuroon]:
    async with Neuroon(timeout=5.0) as api:
        yield api


async def test_delivered(sandbox: Sandbox, neuroon: Neuroon) -> None:
    """A good conversion is recorded, byte for byte."""
    sent = conversion()
    assert await neuroon.post(sent, shop_at(sandbox.url)) == Accepted(200)
    assert [each.body for each in sandbox.orders] == [sent.payload]


async def test_repeat(sandbox: Sandbox, neuroon: Neuroon) -> None:
    """The same order again is accepted again, and recorded once."""
    for _ in range(2):
        assert await neuroon.post(conversion(), shop_at(sandbox.url)) == Accepted(200)
    assert [each.posts for each in sandbox.orders] == [2]


@pytest.mark.parametrize(("known_conflicts", "kind"), [(True, AlreadyKnown), (False, Refused)])
async def test_conflict(known_conflicts: bool, kind: type[Reply]) -> None:
    """Against a Neuroon that answers a repeat with 409, the setting decides what that means."""
    async with (
        Sandbox(conflict_status=409) as sandbox,
        Neuroon(timeout=5.0, known_conflicts=known_conflicts) as api,
    ):
        assert await api.post(conversion(), shop_at(sandbox.url)) == Accepted(200)
        assert type(await api.post(conversion(), shop_at(sandbox.url))) is kind


@pytest.mark.parametrize(
    ("fault", "reply"),
    [
        ("201", Accepted(201)),
        ("204", Accepted(204)),
        ("400", Refused(400, "The sandbox was asked to fail")),
        ("401", Misconfigured(401, "The sandbox was asked to fail")),
        ("403", Misconfigured(403, "The sandbox was asked to fail")),
        ("404", Misconfigured(404, "The sandbox was asked to fail")),
        ("408", Unavailable("answered 408", 408)),
        ("409", Refused(409, "The sandbox was asked to fail")),
        ("413:body=empty", Refused(413, f"answered 413 {HTTPStatus(413).phrase}")),
        ("415", Refused(415, "The sandbox was asked to fail")),
        ("422", Refused(422, "The sandbox was asked to fail")),
        ("425", Unavailable("answered 425", 425)),
        ("429", Throttled(429, None)),
        ("429:retry-after=3", Throttled(429, 3.0)),
        ("429:retry-after=nonsense", Throttled(429, None)),
        ("500", Unavailable("answered 500", 500)),
        ("502:body=garbage", Unavailable("answered 502", 502)),
        ("503:retry-after=2", Unavailable("answered 503", 503, 2.0)),
        ("504:body=empty", Unavailable("answered 504", 504)),
        ("301:location=http://127.0.0.1:9/", Misconfigured(301, "redirected to http://127.0.0.1:9/")),
        ("308", Misconfigured(308, "The sandbox was asked to fail")),
        ("402", Misconfigured(402, "The sandbox was asked to fail")),
        ("407", Misconfigured(407, "The sandbox was asked to fail")),
        ("423", Misconfigured(423, "The sandbox was asked to fail")),
        ("451", Misconfigured(451, "The sandbox was asked to fail")),
        ("421", Unavailable("answered 421", 421)),
        ("421:count=1", Accepted(200)),
        ("429:retry-after=1m0s", Throttled(429, 60.0)),
        ("429:retry-after=30|120", Throttled(429, 120.0)),
        ("403:retry-after=90", Misconfigured(403, "The sandbox was asked to fail", 90.0)),
        ("413:retry-after=2m", Refused(413, "The sandbox was asked to fail", 120.0)),
        ("html", Misconfigured(200, PAGE)),
        ("201:body=html", Misconfigured(201, PAGE)),
        ("403:body=html", Misconfigured(403, "Just a moment... Checking your browser")),
        ("hang-up", Accepted(200)),
        ("garbage", Accepted(200)),
        ("empty", Accepted(200)),
        ("endless", Accepted(200)),
        ("400:body=endless", Refused(400, "x" * 299 + "…")),
        ("drop", Unavailable("connection dropped")),
        ("drop-after", Unavailable("connection dropped")),
        ("not-http", Unavailable("protocol error")),
    ],
)
async def test_answer(sandbox: Sandbox, neuroon: Neuroon, fault: str, reply: Reply) -> None:
    """Each answer and each failure is the reply that the table says, and the next order goes through."""
    sandbox.fail(fault)
    assert await neuroon.post(conversion(), shop_at(sandbox.url)) == reply
    recorded = isinstance(reply, Accepted) or fault == "drop-after"
    assert len(sandbox.orders) == recorded
    sandbox.fail()
    assert await neuroon.post(conversion("ORD-2"), shop_at(sandbox.url)) == Accepted(200)


async def test_any_2xx_counts_where_that_is_set(sandbox: Sandbox) -> None:
    """For a Neuroon, or a stand-in for it, that answers deliveries with a page."""
    sandbox.fail("html")
    async with Neuroon(timeout=5.0, accept_any_2xx=True) as api:
        assert await api.post(conversion(), shop_at(sandbox.url)) == Accepted(200)


async def test_retry_after_date(sandbox: Sandbox, neuroon: Neuroon) -> None:
    """A Retry-After that is a date counts from now."""
    sandbox.fail("429:retry-after-date=60")
    reply = await neuroon.post(conversion(), shop_at(sandbox.url))
    assert isinstance(reply, Throttled)
    assert reply.after is not None
    assert 50.0 < reply.after <= 60.0


@pytest.mark.parametrize(
    ("shop_id", "key", "origin", "reply"),
    [
        (DEFAULT_SHOP.id, "sk_" + "0" * 32, None, Misconfigured(401, "API key is invalid")),
        (DEFAULT_SHOP.id, "sk_" + "b" * 32, None, Misconfigured(403, "API key does not belong to this shop")),
        ("shop_c", DEFAULT_SHOP.api_key, None, Misconfigured(404, "Shop not found")),
        ("shop_b", "sk_" + "b" * 32, "https://c.example", Misconfigured(403, "Origin does not match the shop's URL")),
        ("shop_b", "sk_" + "b" * 32, "http://b.example", Accepted(200)),
        ("shop_b", "sk_" + "b" * 32, None, Accepted(200)),
    ],
)
async def test_access(
    sandbox: Sandbox, neuroon: Neuroon, shop_id: str, key: str, origin: str | None, reply: Reply
) -> None:
    """A wrong key, shop or origin is the shop's set-up, for a post and for a probe alike."""
    shop = shop_at(sandbox.url, shop_id, key, origin)
    assert await neuroon.post(conversion(), shop) == reply
    assert await neuroon.probe(shop, "SKU-1") == reply


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"orderValue": -1}, "orderValue must be >= 0"),
        ({"orderId": " "}, "orderId must not be blank"),
        (
            {"currency": "Euro", "conversions": [1]},
            "currency must be an ISO 4217 code, conversions[0] must be an object",
        ),
    ],
)
async def test_refused(sandbox: Sandbox, neuroon: Neuroon, changes: dict[str, Any], problem: str) -> None:
    """What Neuroon says of a payload that it refuses reaches the reply."""
    assert await neuroon.post(conversion(**changes), shop_at(sandbox.url)) == Refused(400, problem)


async def test_request_as_sent() -> None:
    """The request is the documented one: path, key, JSON both ways, our name; an Origin only when there is one."""
    async with RawServer(OK) as server, Neuroon(timeout=5.0) as api:
        await api.post(conversion(), shop_at(server.url))
        await api.post(conversion(), shop_at(server.url, origin="https://a.example"))
    first, second = (head.splitlines() for head in server.requests)
    assert first[0] == "POST /api/plugin/shops/shop_sandbox/track/conversion HTTP/1.1"
    assert {line.partition(":")[0].lower() for line in first[1:] if line} == {
        "host", "x-shop-api-key", "content-type", "accept", "accept-encoding", "user-agent", "content-length",
    }  # fmt: skip
    assert ["x-shop-api-key", DEFAULT_SHOP.api_key] in [
        [name.lower(), value] for name, _, value in (line.partition(": ") for line in first)
    ]
    assert "Content-Type: application/json" in first
    assert "Accept: application/json" in first
    assert f"User-Agent: neuroon-consumer/{__version__}" in first
    assert "Origin: https://a.example" in second


@pytest.mark.parametrize(
    ("base", "shop_id", "path"),
    [
        ("", "shop_a", "/api/plugin/shops/shop_a/track/conversion"),
        ("/", "shop_a", "/api/plugin/shops/shop_a/track/conversion"),
        ("/gateway/", "shop_a", "/gateway/api/plugin/shops/shop_a/track/conversion"),
        ("", "a/b?c#d ü%2F", "/api/plugin/shops/a%2Fb%3Fc%23d%20%C3%BC%252F/track/conversion"),
    ],
)
async def test_path(base: str, shop_id: str, path: str) -> None:
    """A shop id is one segment of the path whatever is in it, below whatever path the base URL has."""
    async with RawServer(OK) as server, Neuroon(timeout=5.0) as api:
        assert await api.post(conversion(), shop_at(server.url + base, shop_id)) == Accepted(200)
    assert server.requests[0].startswith(f"POST {path} HTTP/1.1\r\n")


async def test_rotated_key(sandbox: Sandbox, neuroon: Neuroon) -> None:
    """A shop read anew with another key is asked with that key from then on."""
    sandbox.shops.put(SandboxShop(DEFAULT_SHOP.id, "sk_new"))
    assert await neuroon.post(conversion(), shop_at(sandbox.url)) == Misconfigured(401, "API key is invalid")
    assert await neuroon.post(conversion(), shop_at(sandbox.url, key="sk_new")) == Accepted(200)


@pytest.mark.parametrize(
    ("url", "key", "origin"),
    [
        ("http://127.0.0.1:9", "", None),
        ("http://127.0.0.1:9", "sk_line\nbreak", None),
        ("http://127.0.0.1:9", "sk_schlüssel", None),
        ("http://127.0.0.1:9", "sk_a", "https://a.example\r\nX-Evil: 1"),
        ("http://127.0.0.1:9", "sk_a", ""),
        ("ftp://127.0.0.1", "sk_a", None),
        ("127.0.0.1:9", "sk_a", None),
        ("https://", "sk_a", None),
        ("http://[::1", "sk_a", None),
        ("", "sk_a", None),
    ],
)
async def test_what_cannot_be_sent(neuroon: Neuroon, url: str, key: str, origin: str | None) -> None:
    """A shop whose settings make no request is misconfigured: its orders wait for the cure, and nothing is sent."""
    shop = shop_at(url, "shop_a", key, origin)
    for reply in (await neuroon.post(conversion(), shop), await neuroon.probe(shop)):
        assert isinstance(reply, Misconfigured)
        assert reply.status == NOT_SENT
        assert not key or key not in reply.problem


async def test_probe(sandbox: Sandbox, neuroon: Neuroon) -> None:
    """A probe proves that shop and key belong together, and posts nothing."""
    assert await neuroon.probe(shop_at(sandbox.url)) == Accepted(200)
    assert await neuroon.probe(shop_at(sandbox.url), "SKU / 1") == Accepted(200)
    assert sandbox.book.stats()["requests"] == 0


async def test_probe_of_a_foreign_key(sandbox: Sandbox, neuroon: Neuroon) -> None:
    """A key that works, but for another shop than the one configured, is found out without a product."""
    shop = shop_at(sandbox.url, "shop_b", DEFAULT_SHOP.api_key)
    assert await neuroon.probe(shop) == Misconfigured(200, "the API key belongs to another shop")
    assert isinstance(await neuroon.probe(shop_at(sandbox.url, key="sk_x")), Misconfigured)


async def test_many_at_once(sandbox: Sandbox, neuroon: Neuroon) -> None:
    """More requests at a time than `concurrency` are all answered: no one waits in vain for a connection."""
    replies = await asyncio.gather(
        *(neuroon.post(conversion(f"ORD-{index}"), shop_at(sandbox.url)) for index in range(40))
    )
    assert replies == [Accepted(200)] * 40
    assert {json.loads(each.body or b"")["orderId"] for each in sandbox.orders} == {f"ORD-{i}" for i in range(40)}


async def test_other_wires() -> None:
    """Any httpx transport serves as the wire, and is closed with the client."""
    seen: list[httpx.Request] = []

    class Wire(httpx.MockTransport):
        closed = False

        async def aclose(self) -> None:
            self.closed = True

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(400, json={"message": "no"})

    wire = Wire(answer)
    async with Neuroon(timeout=5.0, wire=wire) as api:
        assert await api.post(conversion(), shop_at("https://api.example")) == Refused(400, "no")
    assert json.loads(seen[0].content) == payload()
    assert seen[0].headers["X-Shop-API-Key"] == DEFAULT_SHOP.api_key
    assert wire.closed


async def test_clock() -> None:
    """A Retry-After that is a date is read by the clock that was given."""
    headers = {"Retry-After": "Sun, 01 Mar 2026 12:00:30 GMT"}
    wire = httpx.MockTransport(lambda _: httpx.Response(503, headers=headers))
    async with Neuroon(timeout=5.0, wire=wire, clock=lambda: 1_772_366_400.0) as api:
        reply = await api.post(conversion(), shop_at("https://api.example"))
    assert reply == Unavailable("answered 503", 503, 30.0)
