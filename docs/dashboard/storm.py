"""A real run to draw the dashboard from: two consumers, broker, database and a Neuroon, watched by Prometheus.

    python docs/dashboard/storm.py ANSWERS.json

It takes nine minutes and writes what Prometheus answers to each query of the dashboard over that time.
"""

import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from consumer.core.delivery import Properties
from consumer.devbroker import PrivateBroker
from consumer.devbroker.ports import free_ports
from consumer.sandbox import Sandbox, SandboxShop
from tests.conftest import Names
from tests.support.broker import Desk, desk
from tests.support.events import order
from tests.support.postgres import PrivatePostgres
from tests.support.program import Consumer, environment
from tests.support.prometheus import PrivatePrometheus

DASHBOARD = Path(__file__).parents[2] / "deploy/k8s/components/monitoring/neuroon-consumer.json"
ORDERS_A_SECOND = 40
STEP_SECONDS = 2
# Neuroon answers most orders within 40 ms, a few late, and one in a hundred with an error.
USUAL = ("503:share=0.01", "delay=400ms:share=0.05", "delay=40ms")
SHOP = '[[shops]]\nid = "{}"\napi_key = "{}"\n'


@dataclass(frozen=True)
class Stage:
    """What can be made to misbehave, and the shops' file."""

    sandbox: Sandbox
    postgres: PrivatePostgres
    shops: Path
    desk: Desk

    def configure(self, key_of_b: str) -> None:
        """Give the consumers these keys; they read the file again by themselves."""
        self.shops.write_text(SHOP.format("shop_a", "sk_a") + SHOP.format("shop_b", key_of_b))

    async def publish(self, *events: bytes) -> None:
        """Publish with the time of now, as a shop does."""
        await self.desk.publish(*events, properties=Properties("application/json", timestamp=datetime.now(UTC)))


def _ordinary(number: int, index: int) -> bytes:
    if index % 15 == 1:
        number, index = number - 1, index - 1  # published in the round before already
    shop = "shop_b" if index % 6 == 0 else "shop_a"
    clicks = {} if index % 9 == 0 else {"SKU-1": "log_1"}
    return order(f"ORD-{number}-{index}", shopId=shop, neuroonClicks=clicks)


async def _flow(stage: Stage) -> None:
    for number in itertools.count(1):
        started = time.monotonic()
        await stage.publish(*(_ordinary(number, index) for index in range(ORDERS_A_SECOND)))
        await asyncio.sleep(max(0.0, 1 - (time.monotonic() - started)))


async def _bad(stage: Stage, name: str, currency: str) -> None:
    """Forty orders that nobody can deliver, for four reasons."""
    more: tuple[dict[str, object], ...] = (
        {"orderValue": -24.99},
        {"orderValue": 310, "shopId": "shop_z"},
        {"orderValue": 120, "currency": currency, "shopId": "shop_y"},
        {"lines": "none"},
    )
    await stage.publish(
        *(order(f"{name}-{index}", **{"shopId": "shop_a", **more[index % len(more)]}) for index in range(40))
    )


async def _story(stage: Stage) -> None:
    """Minute by minute."""
    await asyncio.sleep(60)
    await _bad(stage, "BAD", "EUR")
    await asyncio.sleep(30)
    stage.configure("sk_wrong")  # somebody rotated the wrong key
    await asyncio.sleep(60)
    await asyncio.to_thread(stage.postgres.stop)
    await asyncio.sleep(20)
    await asyncio.to_thread(stage.postgres.start)
    await asyncio.sleep(40)
    stage.configure("sk_b")
    await asyncio.sleep(60)
    stage.sandbox.fail("503")
    await asyncio.sleep(70)
    stage.sandbox.fail(*USUAL)
    await asyncio.sleep(80)
    await _bad(stage, "WORSE", "CHF")
    await asyncio.sleep(120)


def queries() -> dict[str, list[str]]:
    """Each panel's queries by its id, with the variables replaced as Grafana would for all namespaces."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return {
        str(panel["id"]): [
            target["expr"].replace("$__rate_interval", "20s").replace("$namespace", ".*") for target in panel["targets"]
        ]
        for panel in panels
        if "targets" in panel
    }


async def _ask(prometheus: PrivatePrometheus, start: float, end: float) -> dict[str, list[Any]]:
    span = {"start": start, "end": end, "step": STEP_SECONDS}
    answers: dict[str, list[Any]] = {}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        for panel, texts in queries().items():
            found = [
                await client.get(f"{prometheus.url}/api/v1/query_range", params={"query": text, **span})
                for text in texts
            ]
            answers[panel] = [each.raise_for_status().json()["data"]["result"] for each in found]
    return answers


@asynccontextmanager
async def _stage() -> AsyncIterator[tuple[Stage, PrivatePrometheus]]:
    """Everything that takes part, started and consuming."""
    names, ports = Names("picture"), free_ports(2)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neuroon-picture-")))
        broker, postgres = stack.enter_context(PrivateBroker()), stack.enter_context(PrivatePostgres())
        shops = [SandboxShop("shop_a", "sk_a"), SandboxShop("shop_b", "sk_b")]
        sandbox = await stack.enter_async_context(Sandbox(shops, USUAL, keep_bodies=False))
        at_broker = await stack.enter_async_context(desk(broker.url, names))
        stage = Stage(sandbox, postgres, folder / "shops.toml", at_broker)
        stage.configure("sk_b")
        for port in ports:
            settings = {
                "NEUROON_SHOPS_FILE": str(stage.shops),
                "CONSUMER_HTTP_ADDR": f"127.0.0.1:{port}",
                "CONSUMER_RETRY_DELAYS": "1s,5s,20s",
                "CONSUMER_HOLD_DELAY": "15s",
                "LEDGER_URL": postgres.url,
            }
            environ = environment(broker.url, names, sandbox, **settings)
            del environ["NEUROON_SHOP_ID"], environ["NEUROON_API_KEY"]
            await stack.enter_async_context(Consumer(environ))
        prometheus = PrivatePrometheus([f"127.0.0.1:{port}" for port in ports], {"groups": []})
        yield stage, await stack.enter_async_context(prometheus)


async def main() -> dict[str, list[Any]]:
    """Run it all, then ask: the answers to each panel's queries, by its id."""
    async with _stage() as (stage, prometheus):
        start = time.time()
        flowing = asyncio.create_task(_flow(stage))
        await _story(stage)
        answers = await _ask(prometheus, start, time.time())
        flowing.cancel()
    return answers


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asyncio.run(main())))
