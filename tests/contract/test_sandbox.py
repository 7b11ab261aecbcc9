"""The sandbox as an honest Neuroon: what it lets in, what it refuses, what it remembers."""

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from consumer.sandbox import DEFAULT_SHOP, Sandbox, SandboxShop, run_sandbox
from tests.support.neuroon import payload

KEY = {"X-Shop-API-Key": DEFAULT_SHOP.api_key}
CONVERSION = f"/api/plugin/shops/{DEFAULT_SHOP.id}/track/conversion"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    shops = [DEFAULT_SHOP, SandboxShop("shop_b", "sk_b", "https://www.B.example/")]
    async with Sandbox(shops) as server:
        yield server


@pytest.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as client:
        yield client


def line(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = payload()["conversions"][0] | changes
    return {name: value for name, value in good.items() if value is not ...}


def order(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in payload(**changes).items() if value is not ...}


async def test_good_conversion(http: httpx.AsyncClient) -> None:
    """A good conversion is answered 200 and shown exactly as it came."""
    text = json.dumps(payload(), indent=3)
    answer = await http.post(
        CONVERSION, content=text, headers=KEY | {"Content-Type": "application/json; charset=utf-8"}
    )
    assert answer.status_code == 200
    (shown,) = (await http.get("/sandbox/orders")).json()
    assert shown["body"] == text
    assert shown["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert (shown["shopId"], shown["orderId"], shown["posts"]) == (DEFAULT_SHOP.id, "ORD-1", 1)
    assert not shown["conflict"]
    assert shown["firstAt"] == shown["lastAt"]
    assert datetime.fromisoformat(shown["firstAt"]).tzinfo is not None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (order(orderId=...), "orderId must not be blank"),
        (order(orderId=" \t"), "orderId must not be blank"),
        (order(orderId=7), "orderId must not be blank"),
        (order(orderValue=...), "orderValue must be a number"),
        (order(orderValue="1"), "orderValue must be a number"),
        (order(orderValue=True), "orderValue must be a number"),
        (order(orderValue=-0.01), "orderValue must be >= 0"),
        (order(currency=...), "currency must be an ISO 4217 code"),
        (order(currency="eur"), "currency must be an ISO 4217 code"),
        (order(currency="EURO"), "currency must be an ISO 4217 code"),
        (order(conversions=...), "conversions must be a list and not be empty"),
        (order(conversions=[]), "conversions must be a list and not be empty"),
        (order(conversions={}), "conversions must be a list and not be empty"),
        (order(conversions=["x"]), "conversions[0] must be an object"),
        (order(conversions=[line(), line(searchLogId=...)]), "conversions[1].searchLogId must not be blank"),
        (order(conversions=[line(searchLogId="")]), "conversions[0].searchLogId must not be blank"),
        (order(conversions=[line(productId=None)]), "conversions[0].productId must not be blank"),
        (order(conversions=[line(quantity=...)]), "conversions[0].quantity must be an integer"),
        (order(conversions=[line(quantity=1.5)]), "conversions[0].quantity must be an integer"),
        (order(conversions=[line(quantity="2")]), "conversions[0].quantity must be an integer"),
        (order(conversions=[line(quantity=True)]), "conversions[0].quantity must be an integer"),
        (order(conversions=[line(lineTotal="9.99")]), "conversions[0].lineTotal must be a number"),
        (order(conversions=[line(lineTotal=...)]), "conversions[0].lineTotal must be a number"),
        (order(orderId="", orderValue=-1), "orderId must not be blank, orderValue must be >= 0"),
        ([], "JSON object expected"),
    ],
)
async def test_wrong_payload(http: httpx.AsyncClient, body: object, message: str) -> None:
    """A wrong field is a 400 that names it; several are joined with commas; nothing is recorded."""
    answer = await http.post(CONVERSION, json=body, headers=KEY)
    assert answer.status_code == 400
    assert answer.json()["message"] == message
    assert (await http.get("/sandbox/orders")).json() == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"orderId": NaN}', b"[" * 10_000])
async def test_no_json(http: httpx.AsyncClient, body: bytes) -> None:
    """A body that is no JSON is a 400."""
    answer = await http.post(CONVERSION, content=body, headers=KEY | {"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["message"]) == (400, "Malformed JSON request")


@pytest.mark.parametrize(
    ("shop", "headers", "status"),
    [
        ("shop_sandbox", {}, 401),
        ("shop_sandbox", {"X-Shop-API-Key": ""}, 401),
        ("shop_sandbox", {"X-Shop-API-Key": "sk_nobody"}, 401),
        ("shop_sandbox", {"X-Shop-API-Key": "sk_b"}, 403),
        ("shop_nowhere", {"X-Shop-API-Key": "sk_b"}, 404),
        ("shop_b", {"X-Shop-API-Key": "sk_b"}, 200),
        ("shop_b", {"X-Shop-API-Key": "sk_b", "Origin": "https://b.example"}, 200),
        ("shop_b", {"X-Shop-API-Key": "sk_b", "Origin": "http://WWW.b.example/"}, 200),
        ("shop_b", {"X-Shop-API-Key": "sk_b", "Origin": "https://shop.b.example"}, 403),
        ("shop_b", {"X-Shop-API-Key": "sk_b", "Origin": "null"}, 403),
    ],
)
async def test_access(http: httpx.AsyncClient, shop: str, headers: dict[str, str], status: int) -> None:
    """Key, shop and origin are held against each other, the same for a conversion and for a product."""
    post = await http.post(f"/api/plugin/shops/{shop}/track/conversion", json=payload(), headers=headers)
    get = await http.get(f"/api/plugin/shops/{shop}/products/SKU-1", headers=headers)
    assert (post.status_code, get.status_code) == (status, status)


async def test_me(http: httpx.AsyncClient) -> None:
    """`shops/me` is the shop of the key."""
    answer = await http.get("/api/plugin/shops/me", headers=KEY)
    assert (answer.status_code, answer.json()["shopId"]) == (200, DEFAULT_SHOP.id)
    assert (await http.get("/api/plugin/shops/me", headers={"X-Shop-API-Key": "no"})).status_code == 401
    foreign = {"X-Shop-API-Key": "sk_b", "Origin": "https://a.example"}
    assert (await http.get("/api/plugin/shops/me", headers=foreign)).status_code == 403


async def test_error_body(http: httpx.AsyncClient) -> None:
    """An error has the documented shape."""
    answer = await http.post(CONVERSION, json=payload())
    body = answer.json()
    assert set(body) == {"timestamp", "status", "error", "message", "path"}
    assert (body["status"], body["error"], body["path"]) == (401, "Unauthorized", CONVERSION)


async def test_other_refusals(http: httpx.AsyncClient) -> None:
    """Another content type is a 415, a body of more than 1 MiB a 413, another path a 404."""
    text = await http.post(CONVERSION, content="{}", headers=KEY | {"Content-Type": "text/plain"})
    big = await http.post(CONVERSION, json=payload(note="x" * 1024 * 1024), headers=KEY)
    assert (text.status_code, big.status_code) == (415, 413)
    assert (await http.get("/api/plugin/elsewhere")).status_code == 404
    assert (await http.get(CONVERSION, headers=KEY)).status_code == 404


async def test_repeat(http: httpx.AsyncClient) -> None:
    """An order is recorded once for each shop; a repeat is counted, and one with other bytes is told."""
    for value in (1, 1, 2):
        assert (await http.post(CONVERSION, json=payload(orderValue=value), headers=KEY)).status_code == 200
    await http.post("/api/plugin/shops/shop_b/track/conversion", json=payload(), headers={"X-Shop-API-Key": "sk_b"})
    ours, theirs = (await http.get("/sandbox/orders/ORD-1")).json()
    assert (ours["posts"], ours["conflict"], json.loads(ours["body"])["orderValue"]) == (3, True, 1)
    assert (theirs["shopId"], theirs["posts"], theirs["conflict"]) == ("shop_b", 1, False)
    assert ours["lastAt"] > ours["firstAt"]


async def test_conflict() -> None:
    """Told to, it answers a repeat with 409, and still counts it."""
    async with Sandbox(conflict_status=409) as sandbox, httpx.AsyncClient(base_url=sandbox.url) as http:
        answers = [await http.post(CONVERSION, json=payload(), headers=KEY) for _ in range(2)]
        assert [each.status_code for each in answers] == [200, 409]
        assert [each.posts for each in sandbox.orders] == [2]


async def test_unexpected_fields(http: httpx.AsyncClient) -> None:
    """Fields that the contract does not know are let in, and remembered."""
    body = payload(note=1, conversions=[line(colour="red")])
    assert (await http.post(CONVERSION, json=body, headers=KEY)).status_code == 200
    (shown,) = (await http.get("/sandbox/orders")).json()
    assert shown["unexpectedFields"] == ["conversions.colour", "note"]
    assert (await http.get("/sandbox/stats")).json()["withUnexpectedFields"] == 1


async def test_listing(http: httpx.AsyncClient) -> None:
    """Orders can be listed by shop and without bodies, found by id whatever is in it, and forgotten."""
    for order_id in ("ORD-1", "a/b c"):
        await http.post(CONVERSION, json=payload(order_id), headers=KEY)
    assert len((await http.get("/sandbox/orders", params={"shop": "shop_b"})).json()) == 0
    assert all("body" not in each for each in (await http.get("/sandbox/orders?bodies=no")).json())
    assert [each["orderId"] for each in (await http.get("/sandbox/orders/a%2Fb%20c")).json()] == ["a/b c"]
    assert (await http.get("/sandbox/orders/ORD-9")).status_code == 404
    assert (await http.delete("/sandbox/orders")).status_code == 204
    assert (await http.get("/sandbox/orders")).json() == []
    assert (await http.get("/sandbox/stats")).json()["requests"] == 0


async def test_stats(http: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """The counts tell requests from orders, and how each request ended."""
    sandbox.fail("503:order=ORD-2")
    for order_id in ("ORD-1", "ORD-1", "ORD-2", "", "ORD-3"):
        await http.post(CONVERSION, json=payload(order_id), headers=KEY)
    assert (await http.get("/sandbox/stats")).json() == {
        "requests": 5,
        "byStatus": {"200": 3, "400": 1, "503": 1},
        "orders": 2,
        "postedTwice": 1,
        "conflicts": 0,
        "withUnexpectedFields": 0,
        "overlaps": 0,
    }
    seen = (await http.get("/sandbox/requests", params={"order": "ORD-2"})).json()
    assert [(each["shopId"], each["orderId"], each["end"]) for each in seen] == [(DEFAULT_SHOP.id, "ORD-2", "503")]


async def test_overlaps(http: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """The same order posted while its first post is unanswered is counted; two different orders are not."""
    sandbox.fail("delay=200ms")
    await asyncio.gather(*(http.post(CONVERSION, json=payload(name), headers=KEY) for name in ("A", "A", "B")))
    assert sandbox.book.stats()["overlaps"] == 1


async def test_without_bodies() -> None:
    """Without bodies a repeat with other bytes is still told."""
    async with Sandbox(keep_bodies=False) as sandbox, httpx.AsyncClient(base_url=sandbox.url) as http:
        for value in (1, 2):
            await http.post(CONVERSION, json=payload(orderValue=value), headers=KEY)
        (shown,) = (await http.get("/sandbox/orders")).json()
        assert (shown["body"], shown["conflict"]) == (None, True)


async def test_shops_at_run_time(http: httpx.AsyncClient) -> None:
    """A key can be rotated, and a shop added, while it runs; keys are never shown."""
    assert (await http.put(f"/sandbox/shops/{DEFAULT_SHOP.id}", json={"apiKey": "sk_new"})).status_code == 204
    assert (await http.post(CONVERSION, json=payload(), headers=KEY)).status_code == 401
    assert (await http.post(CONVERSION, json=payload(), headers={"X-Shop-API-Key": "sk_new"})).status_code == 200
    assert (await http.put("/sandbox/shops/c", json={"apiKey": "k", "origin": "https://c"})).status_code == 204
    shown = await http.get("/sandbox/shops")
    assert {each["id"]: each["origin"] for each in shown.json()} == {
        DEFAULT_SHOP.id: None,
        "shop_b": "https://www.B.example/",
        "c": "https://c",
    }
    assert "sk_" not in shown.text
    wrong: list[object] = [{}, [], {"apiKey": ""}, {"apiKey": "a", "origin": 1}]
    for each in wrong:
        assert (await http.put("/sandbox/shops/c", json=each)).status_code == 400


async def test_default_shop() -> None:
    """Told of no shop it has one, whose key has the form of a real one."""
    async with Sandbox() as sandbox:
        assert [each.id for each in sandbox.shops.all()] == ["shop_sandbox"]
    assert len(DEFAULT_SHOP.api_key) == 35
    assert int(DEFAULT_SHOP.api_key.removeprefix("sk_"), 16)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_run_until_signal(stop: signal.Signals) -> None:
    """The command's server says when it listens, and ends by itself at SIGINT and SIGTERM."""
    ended: list[str] = []

    def leave(each: Sandbox) -> None:
        ended.append(each.url)
        os.kill(os.getpid(), stop)

    await asyncio.wait_for(run_sandbox(Sandbox(), ready=leave), 10)
    assert ended[0].startswith("http://127.0.0.1:")


async def test_port_in_use(sandbox: Sandbox) -> None:
    """A port that is taken is an OSError; the same sandbox may then start at another."""
    other = Sandbox()
    with pytest.raises(OSError, match="address already in use"):
        await other.start(port=int(sandbox.url.rpartition(":")[2]))
    async with other:
        assert other.url != sandbox.url
