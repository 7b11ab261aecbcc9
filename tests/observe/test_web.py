"""The port of probes and metrics among strangers: what holds a connection loses it, and a probe is always answered."""

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry

from consumer import web
from consumer.web import LIVE, METRICS, Part, Web
from tests.support.eventually import eventually

HALVES = {
    "nothing": b"",
    "half a request line": b"GET /liv",
    "half a header": b"GET /livez HTTP/1.1\r\nHost: x\r\n",
    "half a body": b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
    "no end of chunks": b"GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n",
}


def _probe() -> dict[str, Part]:
    return {"loop": Part(True, "turns")}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    served = Web(CollectorRegistry(), live=_probe, ready=_probe)
    yield await served.start("127.0.0.1", 0)
    await served.stop()


async def _ended(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the other side ends the connection, one way or the other."""
    received = b""
    try:
        while chunk := await reader.read(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize("half", HALVES)
async def test_a_half_open_request_is_closed(port: int, half: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of a request is missing, the connection ends by itself."""
    monkeypatch.setattr(web, "CONNECTION_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HALVES[half])
    await _ended(reader)
    writer.close()


async def test_an_answer_that_nobody_reads_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client asks for the metrics and reads none of them: its connection ends, and with it what is held for it."""
    monkeypatch.setattr(web, "CONNECTION_SECONDS", 0.2)
    monkeypatch.setattr(web, "generate_latest", lambda _: b"x" * 50_000_000)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(f"GET {METRICS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await eventually(_being_served)
        await eventually(lambda: not _being_served())


def _being_served() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if "RequestHandler" in repr(task.get_coro())]


async def test_a_probe_is_answered_though_strangers_fill_the_port(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-open connections are bounded: for each new one beyond the limit the oldest ends, and a probe finds room."""
    monkeypatch.setattr(web, "MAX_CONNECTIONS", 4)
    strangers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
    for _, writer in strangers:
        writer.write(HALVES["half a header"])
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"http://127.0.0.1:{port}{LIVE}")).status_code == 200
    for reader, _ in strangers[:36]:
        await _ended(reader)
    for _, writer in strangers:
        writer.close()


async def test_each_connection_serves_one_request(port: int) -> None:
    """So that none is cut off in the middle of a second one; the answer says so."""
    async with httpx.AsyncClient(trust_env=False) as http:
        for path, status in ((LIVE, 200), (METRICS, 200), ("/", 404)):
            answer = await http.get(f"http://127.0.0.1:{port}{path}")
            assert (answer.status_code, answer.headers["connection"]) == (status, "close")
