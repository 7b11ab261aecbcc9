"""FastStream as in its documentation, and one httpx client.

FastStream decodes the body, which is JSON by its content type, and acknowledges once the function has returned.
"""

import asyncio
import os
from typing import Any

import httpx
from faststream import FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from bench.peers.aiopika_httpx import payload

IN_FLIGHT = int(os.environ["IN_FLIGHT"])

broker = RabbitBroker(os.environ["AMQP_URL"], default_channel=Channel(prefetch_count=IN_FLIGHT), logger=None)
app = FastStream(broker)
client = httpx.AsyncClient(
    timeout=10, limits=httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
)


@broker.subscriber(RabbitQueue(os.environ["QUEUE"], declare=False))  # type: ignore[untyped-decorator]  # see pyproject.toml
async def on_order(order: dict[str, Any]) -> None:
    """Post one order."""
    response = await client.post(
        os.environ["CONVERSION_URL"], json=payload(order), headers={"X-Shop-API-Key": os.environ["API_KEY"]}
    )
    response.raise_for_status()


if __name__ == "__main__":
    asyncio.run(app.run())
