"""The consumer of every tutorial: aio-pika's robust connection, a callback, and one httpx client.

Of the two shapes that tutorials show, the callback; the iterator handles one message at a time. The client may hold as
many connections as there are orders in flight, more than its default of 100.
"""

import asyncio
import json
import os
from functools import partial
from typing import Any

import aio_pika
import httpx
from aio_pika.abc import AbstractIncomingMessage


def payload(order: dict[str, Any]) -> dict[str, Any]:
    """The conversion: the lines whose product was clicked in a search."""
    clicks = order["neuroonClicks"]
    return {
        "orderId": order["orderId"],
        "orderValue": order["orderValue"],
        "currency": order["currency"],
        "conversions": [
            {
                "productId": line["productId"],
                "searchLogId": clicks[line["productId"]],
                "quantity": line["quantity"],
                "lineTotal": round(line["quantity"] * line["unitPrice"], 2),
            }
            for line in order["lines"]
            if line["productId"] in clicks
        ],
    }


async def on_message(client: httpx.AsyncClient, message: AbstractIncomingMessage) -> None:
    """Post one order; the message is acknowledged when the block is left without an error."""
    async with message.process():
        response = await client.post(
            os.environ["CONVERSION_URL"],
            json=payload(json.loads(message.body)),
            headers={"X-Shop-API-Key": os.environ["API_KEY"]},
        )
        response.raise_for_status()


async def main() -> None:
    """Consume until killed."""
    in_flight = int(os.environ["IN_FLIGHT"])
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"])
    async with connection, httpx.AsyncClient(timeout=10, limits=limits) as client:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=in_flight)
        queue = await channel.get_queue(os.environ["QUEUE"])
        await queue.consume(partial(on_message, client))
        await asyncio.Future()


if __name__ == "__main__":
    asyncio.run(main())
