"""Shops, conversions, and servers that answer in ways no real one should."""

import asyncio
import contextlib
import json
from typing import Any, Self

from pydantic import SecretStr

from consumer.core.conversion import Conversion
from consumer.core.shop import Shop
from consumer.sandbox import DEFAULT_SHOP


def payload(order_id: str = "ORD-1", **changes: Any) -> dict[str, Any]:
    """A good conversion as the sandbox wants it, but for `changes`."""
    line = {"productId": "SKU-1", "searchLogId": "log_a", "quantity": 2, "lineTotal": 79.98}
    return {"orderId": order_id, "orderValue": 199.95, "currency": "EUR", "conversions": [line], **changes}


def conversion(order_id: str = "ORD-1", **changes: Any) -> Conversion:
    body = payload(order_id, **changes)
    return Conversion(order_id, json.dumps(body).encode(), body["orderValue"], body["currency"])


def shop_at(
    url: str, shop_id: str = DEFAULT_SHOP.id, key: str = DEFAULT_SHOP.api_key, origin: str | None = None
) -> Shop:
    return Shop(shop_id, SecretStr(key), url, origin)


class RawServer:
    """Answers every request with the same bytes, whatever they are; None leaves it without an answer.

    `hang_up` closes the connection after each answer. `requests` are the heads that arrived, `connections` the
    number of connections that were made.
    """

    def __init__(self, answer: bytes | None, *, hang_up: bool = False) -> None:
        self.requests: list[str] = []
        self.connections = 0
        self._answer = answer
        self._hang_up = hang_up
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for each in self._writers:
            each.close()
            with contextlib.suppress(ConnectionError):
                await each.wait_closed()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while not writer.is_closing():
                await self._serve_one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = [line.split(":")[1] for line in head.splitlines() if line.lower().startswith("content-length:")]
        await reader.readexactly(int(length[0]) if length else 0)
        self.requests.append(head)
        if self._answer is not None:
            writer.write(self._answer)
            await writer.drain()
            if self._hang_up:
                writer.close()
