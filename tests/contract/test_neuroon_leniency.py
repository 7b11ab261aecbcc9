"""Answers that a strict parser refuses: the status line counts, and the connection is not used again."""

import asyncio
import contextlib
import gzip
import zlib

import pytest
from httptools import HttpResponseParser
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters import exchange as module
from consumer.adapters import neuroon
from consumer.adapters.leniency import NoHttpError, mend
from consumer.adapters.neuroon import Neuroon
from consumer.core.outcome import Accepted, Misconfigured, Refused, Reply, Throttled, Unavailable
from tests.support.neuroon import RawServer, conversion, shop_at

NO = b'{"message": "no"}'


async def post_twice(answer: bytes, *, hang_up: bool = False) -> tuple[list[Reply], int]:
    """Two orders in turn, and how many connections they took."""
    async with RawServer(answer, hang_up=hang_up) as server, Neuroon(timeout=20.0) as api:
        replies = [await api.post(conversion(), shop_at(server.url)) for _ in range(2)]
        return replies, server.connections


STRICTLY_SPEAKING_NO_HTTP = {
    "bare line feeds": b"HTTP/1.1 400 Bad Request\nContent-Length: 17\n\n" + NO,
    "bare line feeds in places": b"HTTP/1.1 400 Bad Request\nContent-Length: 17\r\n\n" + NO,
    "no reason phrase": b"HTTP/1.1 400\nContent-Length: 17\n\n" + NO,
    "the same length twice": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 17\r\nContent-Length: 17\r\n\r\n" + NO,
    "the same length twice in one": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 17, 17\r\n\r\n" + NO,
    "a control character": b"HTTP/1.1 400 Bad Request\r\nX-Trace: a\x01b\r\nContent-Length: 17\r\n\r\n" + NO,
    "a null byte": b"HTTP/1.1 400 Bad Request\r\nX-Trace: a\0b\r\nContent-Length: 17\r\n\r\n" + NO,
    "a carriage return": b"HTTP/1.1 400 Bad Request\r\nX-Trace: a\rb\r\nContent-Length: 17\r\n\r\n" + NO,
    "a name with a space": b"HTTP/1.1 400 Bad Request\r\nX Trace: a\r\nContent-Length: 17\r\n\r\n" + NO,
    "a space before the colon": b"HTTP/1.1 400 Bad Request\r\nContent-Length : 17\r\n\r\n" + NO,
    "no colon": b"HTTP/1.1 400 Bad Request\r\nServer\r\nContent-Length: 17\r\n\r\n" + NO,
    "a folded header": b"HTTP/1.1 400 Bad Request\r\nX-Trace: a\r\n b\r\nContent-Length: 17\r\n\r\n" + NO,
    "another version": b"HTTP/1.2 400 Bad Request\r\nContent-Length: 17\r\n\r\n" + NO,
    "two spaces": b"HTTP/1.1  400 Bad Request\r\nContent-Length: 17\r\n\r\n" + NO,
    "chunks and a length": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"11\r\n" + NO + b"\r\n0\r\n\r\n",
    "a hint before": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 400 No\nContent-Length: 17\n\n" + NO,
}  # fmt: skip


@pytest.mark.parametrize("name", STRICTLY_SPEAKING_NO_HTTP)
async def test_the_status_line_counts(name: str) -> None:
    """A refusal with its text and a delivery are what they are; each is the last answer of its connection."""
    refusal = STRICTLY_SPEAKING_NO_HTTP[name]
    assert await post_twice(refusal) == ([Refused(400, "no")] * 2, 2)
    delivered = refusal.replace(b" 400", b" 200")
    assert await post_twice(delivered) == ([Accepted(200)] * 2, 2)


@pytest.mark.parametrize("size", [1, 2, 7, 40])
@pytest.mark.parametrize("name", STRICTLY_SPEAKING_NO_HTTP)
async def test_however_the_bytes_arrive(name: str, size: int) -> None:
    """An answer in small pieces is read like one that comes as a whole."""
    answer = STRICTLY_SPEAKING_NO_HTTP[name]
    exchange = module.Exchange(lambda: None)
    for start in range(0, len(answer), size):
        exchange.feed(answer[start : start + size])
    response = await exchange.response()
    assert (response.status_code, exchange.complete, exchange.reusable) == (400, True, False)
    assert b"".join([chunk async for chunk in response.aiter_raw()]) == NO


@pytest.mark.parametrize(
    "length", [b"Content-Length: many", b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: -1", b"X-Y: z"]
)
async def test_a_length_that_cannot_be_known_ends_with_the_connection(length: bytes) -> None:
    """What comes until then is the text; the status counted before."""
    answer = b"HTTP/1.1 400 Bad Request\r\nX: \x01\r\n" + length + b"\r\n\r\n" + NO
    replies, _ = await post_twice(answer, hang_up=True)
    assert replies == [Refused(400, "no")] * 2


async def test_the_headers_of_such_an_answer_are_read() -> None:
    """A wait, a place, a type, also from a header that is itself not as it should be."""
    head = b"HTTP/1.1 %d No\nRetry-After: 7\x02\nLocation: https://h.example/\nContent-Type: text/html\n\n"
    for status, expected in (
        (429, Throttled(429, 7.0)),
        (302, Misconfigured(302, "redirected to https://h.example/", 7.0)),
        (200, Misconfigured(200, "an HTML page instead of Neuroon's answer", 7.0)),
    ):
        replies, _ = await post_twice(head % status, hang_up=True)
        assert replies == [expected] * 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 20 OK\n\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 No\n\n",
        b"HTTP/1.1 101 Switching Protocols\nUpgrade: x\n\n",
        b"ICY 200 OK\n\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
async def test_what_has_no_status_line_is_no_answer(answer: bytes) -> None:
    """Nothing is guessed: who speaks another protocol has not delivered anything."""
    replies, _ = await post_twice(answer, hang_up=True)
    assert replies == [Unavailable("protocol error")] * 2


async def test_a_head_that_is_cut_off_is_no_answer() -> None:
    """Whether more was to come that changes what the status says, such as a page's type, cannot be known."""
    replies, _ = await post_twice(b"HTTP/1.1 200 OK\nX: y\n", hang_up=True)
    assert replies == [Unavailable("connection dropped")] * 2


@given(st.binary(max_size=200), st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_mended_or_refused(noise: bytes, name: bytes, value: bytes) -> None:
    """Whatever a head holds, what comes of it is one that llhttp takes, or nothing."""
    for seen in (noise, b"HTTP/1.1 200 OK\n" + name + b":" + value + b"\n\n" + noise):
        try:
            mended = mend(seen)
        except NoHttpError:
            continue
        if mended is not None:
            exchange = _Fed(mended[0])
            assert exchange.heads == 1


class _Fed:
    """What llhttp, left as strict as it is, makes of a head."""

    def __init__(self, head: bytes) -> None:
        self.heads = 0
        HttpResponseParser(self).feed_data(head)

    def on_headers_complete(self) -> None:
        self.heads += 1


# Far more than the limit, and than what waits in the sockets of both sides.
ENDLESS = 50_000_000


@pytest.mark.parametrize(
    "around", [b"X-Trailer: y\r\n" * 100, b"X-Long: " + b"y" * 1000, b"1;extension=" + b"y" * 1000]
)
async def test_what_stands_around_a_body_is_bounded(around: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trailers and extensions of chunks without an end: the answer counts, and the connection is closed at once."""
    monkeypatch.setattr(neuroon, "BODY_SECONDS", 60.0)
    gone, poured = asyncio.Event(), 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n" + NO + b"\r\n")
        writer.write(b"" if around.startswith(b"1;") else b"0\r\n")
        nonlocal poured
        with contextlib.suppress(ConnectionError):
            while poured < ENDLESS:
                writer.write(around)
                await writer.drain()
                poured += len(around)
        writer.close()
        gone.set()

    async with await asyncio.start_server(pour, "127.0.0.1", 0) as server, Neuroon(timeout=60.0) as api:
        shop = shop_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert await api.post(conversion(), shop) == Refused(400, "no")
        async with asyncio.timeout(30):
            await gone.wait()
    assert poured < ENDLESS


@pytest.mark.parametrize(
    ("codings", "body"),
    [("gzip", gzip.compress(NO)), ("deflate", zlib.compress(NO)), ("deflate", zlib.compress(NO)[2:-4])],
)
async def test_a_compressed_error_is_read(codings: str, body: bytes) -> None:
    """Gateways compress their errors without being asked; the text in one is what the operator needs."""
    head = f"HTTP/1.1 400 No\r\nContent-Encoding: {codings}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    replies, connections = await post_twice(head + body)
    assert replies == [Refused(400, "no")] * 2
    assert connections == 1


async def test_a_compressed_error_that_nobody_can_read_shows_its_status() -> None:
    """Bytes that are no text are not shown as one."""
    replies, _ = await post_twice(
        b"HTTP/1.1 400 No\r\nContent-Encoding: br\r\nContent-Length: 6\r\n\r\n\x0b\x02\x80hi\x03"
    )
    assert replies == [Refused(400, "answered 400 Bad Request")] * 2
