"""What a POST costs: through the transport of our own, through httpx's, and through one that answers at once.

    .venv/bin/python -m bench.post

CPU of this process alone, all its threads; the server is another process. The third row is what is not the transport's.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import cast

import httpx
import uvloop
from pydantic import SecretStr

from bench.harness.events import MOST
from bench.harness.sinkprocess import SinkProcess
from consumer.adapters.neuroon import Neuroon
from consumer.adapters.wire import Wire
from consumer.core.conversion import Conversion
from consumer.core.outcome import Accepted
from consumer.core.shop import Shop

POSTS = 6_000
ROUNDS = 5
UNDER_WAY = 60
_TEMPLATE = (
    b'{"orderId":"ORD-%08d","orderValue":244.89,"currency":"EUR","conversions":['
    b'{"productId":"SKU-001","searchLogId":"log_7f3a9c","quantity":1,"lineTotal":39.99},'
    b'{"productId":"SKU-003","searchLogId":"log_1b22e0","quantity":3,"lineTotal":119.97}]}'
)


class AtOnce(httpx.AsyncBaseTransport):
    """Answers without a network."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`."""
        await asyncio.sleep(0)
        headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"21")]
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(b'{"status":"recorded"}'))


class ByHttpx(httpx.AsyncHTTPTransport):
    """The one of httpx, with as many connections as there are posts under way."""

    def __init__(self) -> None:
        super().__init__(limits=httpx.Limits(max_connections=UNDER_WAY, max_keepalive_connections=UNDER_WAY))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """With the headers that a client of httpx's would add."""
        body = b"".join(cast("httpx.SyncByteStream", request.stream))
        own = [(b"Host", request.url.netloc), (b"Content-Length", b"%d" % len(body))]
        whole = httpx.Request(
            request.method,
            request.url,
            headers=own + request.headers.raw,
            stream=httpx.ByteStream(body),
            extensions=request.extensions,
        )
        return await super().handle_async_request(whole)


WAYS: dict[str, Callable[[], httpx.AsyncBaseTransport]] = {"own": Wire, "httpx": ByHttpx, "none": AtOnce}


async def post(url: str, wire: httpx.AsyncBaseTransport) -> float:
    """CPU seconds of `POSTS` posts, after as many as warm up connections and caches."""
    shop = Shop("shop_a", SecretStr("sk_bench"), url)
    async with Neuroon(timeout=30.0, wire=wire) as neuroon:

        async def some(numbers: Iterator[int]) -> None:
            for number in numbers:
                order = Conversion(f"ORD-{number:08}", _TEMPLATE % number, Decimal("244.89"), "EUR")
                reply = await neuroon.post(order, shop)
                if reply != Accepted(200):
                    raise RuntimeError(f"not every post was accepted: {reply}")

        async def together(count: int) -> None:
            numbers = iter(range(count))
            await asyncio.gather(*(some(numbers) for _ in range(UNDER_WAY)))

        await together(UNDER_WAY * 5)
        begun = time.process_time()
        await together(POSTS)
        return time.process_time() - begun


def main() -> None:
    """All ways in turn; microseconds of CPU a post."""
    with tempfile.TemporaryDirectory() as folder, SinkProcess(Path(folder)) as sink:
        for _ in range(ROUNDS):
            for name, way in WAYS.items():
                sink.reset(min(POSTS, MOST), [], 0.0)
                print(f"{name:6} {uvloop.run(post(sink.url, way())) / POSTS * 1e6:6.1f} us")


if __name__ == "__main__":
    main()
