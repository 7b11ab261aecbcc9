"""Misbehaviour on request: how it is written, whom it hits, and what it does."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.sandbox import DEFAULT_SHOP, FAULT_HELP, Fault, FaultError, Sandbox, parse_fault
from consumer.sandbox.fault import Body, Cut, Faults
from tests.support.eventually import eventually
from tests.support.neuroon import payload

KEY = {"X-Shop-API-Key": DEFAULT_SHOP.api_key}
CONVERSION = f"/api/plugin/shops/{DEFAULT_SHOP.id}/track/conversion"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as server:
        yield server


@pytest.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as client:
        yield client


async def post(http: httpx.AsyncClient, order_id: str = "ORD-1") -> httpx.Response:
    return await http.post(CONVERSION, json=payload(order_id), headers=KEY)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("503", Fault(status=503)),
        ("503:share=0.1", Fault(status=503, share=0.1)),
        ("429:retry-after=3,order=ORD-7", Fault(status=429, retry_after="3", order="ORD-7")),
        ("429:retry-after-date=-5", Fault(status=429, retry_after_date=-5.0)),
        ("302:location=http://h:1/x?y=z", Fault(status=302, location="http://h:1/x?y=z")),
        ("drop:share=1", Fault(cut=Cut.DROP)),
        ("drop-after:times=2", Fault(cut=Cut.DROP_AFTER, times=2)),
        ("not-http:count=1", Fault(cut=Cut.NOT_HTTP, count=1)),
        ("garbage:shop=shop_b", Fault(body=Body.GARBAGE, shop="shop_b")),
        ("500:body=endless,delay=1.5s", Fault(status=500, body=Body.ENDLESS, delay=1.5)),
        ("delay=2s:share=0.1", Fault(delay=2.0, share=0.1)),
        ("delay=250ms", Fault(delay=0.25)),
        ("slow:delay=1m", Fault(body=Body.SLOW, delay=60.0)),
    ],
)
def test_text(text: str, fault: Fault) -> None:
    """The text form says what the value says."""
    assert parse_fault(text) == fault


_ids = st.text(st.characters(codec="utf-8", exclude_characters=","), min_size=1)


@given(
    kind=st.one_of(
        st.fixed_dictionaries({"status": st.integers(200, 599)}, optional={"body": st.sampled_from(Body)}),
        st.fixed_dictionaries({"cut": st.sampled_from(Cut)}),
        st.fixed_dictionaries({"body": st.sampled_from(Body)}),
        st.fixed_dictionaries({"delay": st.sampled_from([0.001, 0.25, 1.0, 7.5, 3600.0])}),
    ),
    rest=st.fixed_dictionaries(
        {},
        optional={
            "retry_after": st.sampled_from(["0", "3", "soon"]),
            "retry_after_date": st.sampled_from([-5.0, 0.0, 3.5, 60.0]),
            "location": st.just("https://h.example/x?a=b:c"),
            "share": st.floats(0.001, 1.0),
            "order": _ids,
            "shop": _ids,
            "times": st.integers(1, 1000),
            "count": st.integers(1, 1000),
        },
    ),
)
def test_text_and_back(kind: dict[str, object], rest: dict[str, object]) -> None:
    """Every fault has a text that gives it back."""
    fault = Fault(**kind, **rest)  # type: ignore[arg-type]
    assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is neither a status (200 to 599) nor delay=TIME nor one of drop, drop-after, not-http, hang-up"),
        ("199", "'199' is neither"),
        ("Drop", "'Drop' is neither"),
        ("delay=2", "delay must be a number with a unit, such as 500ms, 2s or 1m, not '2'"),
        ("503:", ""),
        ("503:share", "'share' is none of the options delay, retry-after"),
        ("503:shares=1", "'shares=1' is none of the options"),
        ("503:share=0", "share must be a number above 0 and up to 1, not '0'"),
        ("503:share=1.1", "share must be a number above 0 and up to 1, not '1.1'"),
        ("503:share=nan", "share must be"),
        ("503:share=half", "share must be"),
        ("503:times=0", "times must be a whole number above 0, not '0'"),
        ("503:count=1.5", "count must be a whole number"),
        ("503:order=", "order must be an order id"),
        ("503:shop=", "shop must be a shop id"),
        ("429:retry-after=ü", "retry-after must be printable ASCII"),
        ("429:retry-after-date=inf", "retry-after-date must be a number of seconds"),
        ("500:body=gone", "body must be one of garbage, empty, endless, slow, html, not 'gone'"),
        ("garbage:body=empty", "body is given twice"),
        ("503:times=1,times=2", "times is given twice"),
    ],
)
def test_wrong_text(text: str, problem: str) -> None:
    """A text that cannot be read is quoted, with the part that is wrong and what was expected."""
    if not problem:
        assert parse_fault(text) == Fault(status=503)
        return
    with pytest.raises(FaultError) as raised:
        parse_fault(text)
    assert str(raised.value).startswith(f"fault {text!r}: {problem}")


def test_help() -> None:
    """The help names every kind and every option, and its examples are good ones."""
    for word in (*Cut, *Body, "share", "order", "shop", "times", "count", "delay", "retry-after", "retry-after-date"):
        assert f"  {word}" in FAULT_HELP
    examples = FAULT_HELP.rpartition("examples:")[2].split()
    assert len(examples) >= 5
    for each in examples:
        assert str(parse_fault(each)) in (each, each.replace("500ms", "0.5s"))


def hits(fault: str, requests: list[tuple[str, str]], seed: int = 0) -> list[bool]:
    faults = Faults([fault], seed)
    return [faults.strike(shop, order) is not None for shop, order in requests]


def test_share() -> None:
    """A share is hit by chance, and the same seed hits the same requests."""
    requests = [("a", f"ORD-{index}") for index in range(10_000)]
    first = hits("503:share=0.1", requests)
    assert 850 < sum(first) < 1150
    assert hits("503:share=0.1", requests) == first
    assert hits("503:share=0.1", requests, seed=1) != first


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("503", [True] * 6),
        ("503:order=A1", [True, False, True, True, False, False]),
        ("503:order=A*", [True, True, True, True, False, False]),
        ("503:shop=y", [False, False, False, True, False, False]),
        ("503:order=A1,shop=x", [True, False, True, False, False, False]),
        ("503:times=1", [True, True, False, True, True, True]),
        ("503:count=2", [True, True, False, False, False, False]),
        ("503:count=1,shop=y", [False, False, False, True, False, False]),
    ],
)
def test_whom_it_hits(fault: str, expected: list[bool]) -> None:
    """All that a fault says of its victims must hold; tries are counted for each order of each shop."""
    requests = [("x", "A1"), ("x", "A2"), ("x", "A1"), ("y", "A1"), ("x", "B1"), ("x", "")]
    assert hits(fault, requests) == expected


def test_first_that_fits() -> None:
    """Of several faults the first that fits is taken: tries that one has passed on count for the next."""
    faults = Faults(["503:times=1", "429:times=1", "drop:order=B"])
    struck = [faults.strike("x", order) for order in ("A", "A", "A", "B", "B", "B")]
    assert [str(each) for each in struck] == [
        "503:times=1", "429:times=1", "None", "503:times=1", "429:times=1", "drop:order=B",
    ]  # fmt: skip
    assert [each.applied for each in faults.armed] == [2, 2, 1]


def test_chance_counts_tries() -> None:
    """A try that chance has spared is a try all the same."""
    chance = Random(0)
    expected = [chance.random() < 0.5 for _ in range(3)]
    assert hits("503:share=0.5,times=3", [("x", "A")] * 6) == [*expected, False, False, False]


async def test_run_time_change(http: httpx.AsyncClient) -> None:
    """Faults can be set, seen at work, and taken away while it runs; a wrong one changes nothing."""
    answer = await http.put("/sandbox/faults", json=["503:order=ORD-1", "delay=1ms"])
    assert answer.json() == [{"fault": "503:order=ORD-1", "applied": 0}, {"fault": "delay=0.001s", "applied": 0}]
    assert (await post(http)).status_code == 503
    wrong = await http.put("/sandbox/faults", json=["503:share=2"])
    assert (wrong.status_code, wrong.json()["error"]) == (
        400,
        "fault '503:share=2': share must be a number above 0 and up to 1, not '2'",
    )
    for text in (b'"503"', b"[503]", b"no json"):
        assert (await http.put("/sandbox/faults", content=text)).status_code == 400
    assert (await http.get("/sandbox/faults")).json()[0]["applied"] == 1
    assert (await http.delete("/sandbox/faults")).status_code == 204
    assert (await http.get("/sandbox/faults")).json() == []
    assert (await post(http)).status_code == 200


@pytest.mark.parametrize(
    ("fault", "recorded", "end"), [("drop", 0, "drop"), ("drop-after", 1, "drop-after"), ("not-http", 0, "not-http")]
)
async def test_cut(
    sandbox: Sandbox, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, fault: str, recorded: int, end: str
) -> None:
    """A cut connection leaves no answer, and the order recorded or not, as asked; nobody complains of it in the log."""
    sandbox.fail(fault)
    with pytest.raises(httpx.RemoteProtocolError):
        await post(http)
    assert len(sandbox.orders) == recorded
    await eventually(lambda: sandbox.book.stats()["byStatus"] == {end: 1})
    assert not [each for each in caplog.records if each.name.startswith(("aiohttp", "asyncio"))]


@pytest.mark.parametrize(("fault", "recorded"), [("201", 1), ("204", 1), ("302", 0), ("400", 0), ("503", 0)])
async def test_status(sandbox: Sandbox, http: httpx.AsyncClient, fault: str, recorded: int) -> None:
    """A status is answered as asked; only with a 2xx is the order recorded."""
    sandbox.fail(fault)
    assert (await post(http)).status_code == int(fault)
    assert len(sandbox.orders) == recorded


async def test_status_of_a_wrong_order(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A fault that lets an order through does not make a wrong one right."""
    sandbox.fail("201")
    assert (await post(http, "")).status_code == 400
    assert (await http.post(CONVERSION, json=payload())).status_code == 401


async def test_headers(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """Headers are sent as asked."""
    sandbox.fail("429:retry-after=3,times=1", "429:retry-after-date=60,times=1", "302:location=http://h/x")
    assert (await post(http)).headers["Retry-After"] == "3"
    due = parsedate_to_datetime((await post(http)).headers["Retry-After"])
    assert 50 < (due - datetime.now(UTC)).total_seconds() <= 60
    assert (await post(http)).headers["Location"] == "http://h/x"
    sandbox.fail("403:retry-after=1m0s|120")
    assert (await post(http)).headers.get_list("Retry-After") == ["1m0s", "120"]


async def test_page(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A firewall's page stands before Neuroon: whatever its status, nothing behind it sees the order."""
    sandbox.fail("html:times=1", "403:body=html")
    for status in (200, 403):
        answer = await post(http)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert answer.text.startswith("<!DOCTYPE html>")
    assert not sandbox.orders
    assert dict(sandbox.book.ends) == {"200": 1, "403": 1}


async def test_hang_up(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """The answer is as it should be, and the connection no good any more; the next one works again."""
    sandbox.fail("hang-up:times=1")
    assert (await post(http)).status_code == 200
    with pytest.raises(httpx.RemoteProtocolError):
        await post(http)
    assert [(await post(http)).status_code for _ in range(3)] == [200] * 3
    assert dict(sandbox.book.ends) == {"200": 4}


async def test_delay(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A delayed answer comes that much later; its order is recorded before."""
    sandbox.fail("delay=300ms")
    started = time.monotonic()
    task = asyncio.create_task(post(http))
    await eventually(lambda: sandbox.orders)
    assert not task.done()
    assert (await task).status_code == 200
    assert time.monotonic() - started >= 0.3


async def test_bodies(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """Bodies can be replaced by rubbish or by nothing, whatever the status; the order counts all the same."""
    sandbox.fail("garbage:times=1", "500:body=garbage,times=1", "empty")
    first, second, third = [await post(http) for _ in range(3)]
    assert (first.status_code, len(first.content)) == (200, 200)
    assert (second.status_code, len(second.content)) == (500, 200)
    assert (third.status_code, third.content) == (200, b"")
    assert [each.posts for each in sandbox.orders] == [2]


@pytest.mark.parametrize(("fault", "at_least"), [("endless", 1_000_000), ("slow", 2)])
async def test_bodies_without_end(sandbox: Sandbox, http: httpx.AsyncClient, fault: str, at_least: int) -> None:
    """A body without an end goes on until the client has had enough, and then the request is over."""
    sandbox.fail(fault)
    taken = 0
    async with http.stream("POST", CONVERSION, json=payload(), headers=KEY) as answer:
        async for chunk in answer.aiter_raw():
            taken += len(chunk)
            if taken >= at_least:
                break
    await eventually(lambda: sandbox.book.stats()["requests"] == 1)


async def test_stop_under_way() -> None:
    """Answers under way, however long they would have lasted, do not hold up the end."""
    async with Sandbox(faults=["delay=60s:order=A", "slow"]) as sandbox, httpx.AsyncClient() as http:
        url = sandbox.url + CONVERSION
        tasks = [asyncio.create_task(http.post(url, json=payload(order), headers=KEY)) for order in ("A", "B")]
        await eventually(lambda: len(sandbox.orders) == 2)
        started = time.monotonic()
        await sandbox.stop()
        assert time.monotonic() - started < 20
        for task in tasks:
            with pytest.raises(httpx.HTTPError):
                await task


@pytest.mark.parametrize("how", ["reset", "closed"])
async def test_a_client_that_is_cut_in_the_middle_of_a_request(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """Half a request is no request: nothing is recorded or noted, and no trace of an error is logged."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST {CONVERSION} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    writer.write(f'{head}{{"orderId":'.encode())
    await writer.drain()
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as http:
        await post(http)  # by its answer the half request has been taken up, too
        connection: socket.socket = writer.get_extra_info("socket")
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await post(http)
    assert dict(sandbox.book.ends) == {"200": 2}
    assert "Traceback" not in caplog.text
