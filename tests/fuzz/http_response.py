"""The answers of an HTTP server, from their bytes to the `Reply`: the parser below httpx, and what is made of it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import httpx
from hypothesis import strategies as st

from consumer.adapters.exchange import HEAD_LIMIT, Connection, WireError
from consumer.adapters.neuroon import Neuroon
from consumer.core.outcome import Accepted, Misconfigured, Refused, Reply, Throttled, Unavailable
from consumer.core.reply import MAX_RETRY_AFTER, PROBLEM_LENGTH
from tests.fuzz.strategies import CANARY, damaged, pieces
from tests.fuzz.target import Target
from tests.support.neuroon import conversion, shop_at

# Bytes that are also given to the parser one by one.
BYTEWISE = 200

KEY = "sk_0123456789abcdef0123456789abcdef"
NOW = 1_767_225_600.0
SHOP = shop_at("http://neuroon.invalid", key=KEY)

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Answer:
    """A valid answer: what a server means."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class Case:
    """The bytes of a server, and the same in pieces. `meant`: what they say, if they are a valid answer and no more.

    `followed`: after a valid answer comes something that nobody asked for, which is not only an empty line.
    """

    data: bytes
    pieces: list[bytes]
    meant: Answer | None
    followed: bool


@dataclass(frozen=True)
class Seen:
    """What came of it. `kept`: the connection is good for another request.

    An empty line after an answer may end the connection or not, as it comes alone or with the answer.
    """

    status: int | None
    headers: Headers
    body: bytes
    error: str | None
    kept: bool = field(compare=False)


class _Transport(asyncio.Transport):
    """Takes requests and forgets them; knows whether it was closed."""

    def __init__(self) -> None:
        super().__init__({"socket": self})
        self._closing = False

    def fileno(self) -> int:
        return 0  # never looked at: that is what `is_open(look=True)` is for

    def write(self, data: object) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self._closing = True

    abort = close

    def is_closing(self) -> bool:
        return self._closing


class _Server(httpx.AsyncBaseTransport):
    """Answers a request with pieces of bytes, one in each round of the loop, and hangs up."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        transport = _Transport()
        connection = Connection(lambda _: None)
        connection.connection_made(transport)
        exchange = connection.ask(b"")
        self._feed(connection, transport, iter(self._pieces))
        return await exchange.response()

    def _feed(self, connection: Connection, transport: _Transport, rest: Iterator[bytes]) -> None:
        piece = None if transport.is_closing() else next(rest, None)
        if piece is None:
            _hang_up(connection)
            return
        connection.data_received(piece)
        asyncio.get_running_loop().call_soon(self._feed, connection, transport, rest)


def _hang_up(connection: Connection) -> None:
    connection.eof_received()
    connection.connection_lost(None)


_NAMES = st.from_regex(r"X-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True).map(str.encode)
_VALUES = st.binary(max_size=20).map(
    lambda value: bytes(byte for byte in value if byte >= 0x20 and byte != 0x7F).strip()
) | st.sampled_from((b"120", b"0", b"Thu, 01 Jan 2026 00:01:00 GMT", b"1e9", b"-1", b"9" * 30, CANARY.encode()))
_JSON_BODIES = st.sampled_from(
    (
        b"{}",
        b'{"message": "orderValue must be >= 0"}',
        b'{"error": {"code": "x", "message": "' + CANARY.encode() + b'", "retryAfter": 30}}',
        b'{"message": "key ' + KEY.encode() + b' is wrong"}',
        b"<html>" + CANARY.encode() + b"</html>",
        b'{"retryAfter": "Infinity"}',
        b"[" * 2000,
        b'{"message": "' + b"x" * 70_000,
    )
)
_STATUSES = st.sampled_from((200, 201, 301, 307, 400, 401, 403, 404, 408, 409, 422, 425, 429, 500, 503, 599, 600, 999))
_BEFORE = st.sampled_from(
    (b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
)


def _chunked(draw: st.DrawFn, body: bytes) -> bytes:
    parts = draw(pieces(body))
    extension = draw(st.sampled_from((b"", b";a=b", b';a="b"')))
    trailer = draw(st.sampled_from((b"", b"X-Trailer: 1\r\n")))
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
    return chunks + b"0\r\n" + trailer + b"\r\n"


@st.composite
def _valid(draw: st.DrawFn) -> tuple[bytes, Answer]:
    """An answer as RFC 9112 has it, with its body framed in one of the three ways, and what it means."""
    status = draw(_STATUSES)
    body = draw(_JSON_BODIES | st.binary(max_size=60))
    headers = draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=4))
    if draw(st.booleans()):
        headers.append((b"Retry-After", draw(_VALUES)))
    framing = draw(st.sampled_from(("length", "chunks", "end")))
    rest = body
    if framing == "length":
        headers.append((b"Content-Length", b"%d" % len(body)))
    elif framing == "chunks":
        headers.append((b"Transfer-Encoding", b"chunked"))
        rest = _chunked(draw, body)
    if draw(st.integers(0, 3)) == 0:
        headers.append((b"Connection", draw(st.sampled_from((b"close", b"keep-alive")))))
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    reason = draw(st.sampled_from((b" OK", b" ", b" Nobody Asked")))
    return draw(_BEFORE) + b"HTTP/1.1 %d%b\r\n%b\r\n%b" % (status, reason, lines, rest), Answer(status, headers, body)


_TOKENS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b":",
        b"\t",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 101 x\r\n\r\n",
        b"0\r\n\r\n",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"X-Pad: " + b"x" * 70_000,
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Upgrade: h2c\r\nConnection: upgrade\r\n",
        b"FFFFFFFFFFFFFFFFF\r\n",
    ),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Valid answers, some with more behind them, damaged ones, and bytes that are none."""
    kind = draw(st.sampled_from(("valid", "valid", "damaged", "damaged", "followed", "raw")))
    more = b""
    if kind == "raw":
        data, meant = draw(st.binary(max_size=100) | st.lists(st.sampled_from(_TOKENS), max_size=8).map(b"".join)), None
    else:
        data, meant = draw(_valid())
        if kind == "followed":
            more = draw(st.sampled_from(_TOKENS) | st.binary(max_size=8))
            data, meant = data + more, None
        elif kind == "damaged":
            data, meant = draw(damaged(st.just(data), _TOKENS)), None
    return Case(data, draw(pieces(data)), meant, followed=bool(more.strip(b"\r\n")))


async def _exchange(pieces: list[bytes]) -> Seen:
    kept: list[Connection] = []
    transport = _Transport()
    connection = Connection(kept.append)
    connection.connection_made(transport)
    exchange = connection.ask(b"")
    taken = 0
    for piece in pieces:
        if not transport.is_closing():
            connection.data_received(piece)
            taken += len(piece)
    good = bool(kept) and not transport.is_closing()
    _hang_up(connection)
    body = b""
    try:
        response = await exchange.response()
        status, headers = response.status_code, response.headers.raw
    except WireError as error:
        assert taken <= HEAD_LIMIT + max(map(len, pieces), default=0)  # a head without an end is given up
        return Seen(None, [], b"", str(error), good)
    try:
        async for chunk in cast("httpx.AsyncByteStream", response.stream):
            body += chunk
    except WireError as error:
        return Seen(status, headers, body, str(error), good)
    return Seen(status, headers, body, None, good)


async def _post(pieces: list[bytes]) -> Reply:
    async with Neuroon(timeout=60.0, wire=_Server(pieces), clock=lambda: NOW) as neuroon:
        return await neuroon.post(conversion(), SHOP)


def check(case: Case) -> None:
    """An answer means the same in whatever pieces it arrives, and what is none is told in words of ours."""
    asyncio.run(_check(case))


async def _check(case: Case) -> None:
    whole = await _exchange([case.data])
    reply = await _post([case.data])
    for some in _divisions(case):
        parts = await _exchange(some)
        assert parts == whole
        assert await _post(some) == reply
        assert not (case.followed and parts.kept)
        assert parts.kept == whole.kept or case.meant is None
    assert not (case.followed and whole.kept)
    if case.meant is not None:
        assert (whole.status, whole.headers, whole.body) == (case.meant.status, case.meant.headers, case.meant.body)
        assert getattr(reply, "status", None) == case.meant.status
    assert whole.error is None or (CANARY not in whole.error and len(whole.error) <= PROBLEM_LENGTH)
    _check_reply(reply)


def _divisions(case: Case) -> Iterator[list[bytes]]:
    """The same bytes in other pieces. How long a head may be is counted in pieces, so longer ones are left alone."""
    if len(case.data) <= HEAD_LIMIT or case.meant is not None:
        yield case.pieces
    if len(case.data) <= BYTEWISE:
        yield [case.data[at : at + 1] for at in range(len(case.data))]


def _check_reply(reply: Reply) -> None:
    assert KEY not in repr(reply)
    match reply:
        case Unavailable(why=why, after=after):
            assert CANARY not in why
            assert after is None or 0 <= after <= MAX_RETRY_AFTER
        case Throttled(after=after):
            assert after is None or 0 <= after <= MAX_RETRY_AFTER
        case Refused(problem=problem) | Misconfigured(problem=problem):
            assert problem.isprintable()
            assert 0 < len(problem) <= PROBLEM_LENGTH
        case Accepted(status):
            assert 200 <= status <= 299


TARGET = Target("http", cases(), check)
