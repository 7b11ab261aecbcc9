"""The whole story on one machine: a broker, a local Neuroon, events, the consumer, a failure, a dead letter, a replay.

Everything is done with the commands that an operator would type; they are shown, and so is the consumer's log.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consumer.adapters.link import connect, short_channel
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox, SandboxShop
from consumer.terminal import echo, styled

SHOPS = (SandboxShop("shop_berlin", "sk_" + "1a" * 16), SandboxShop("shop_madrid", "sk_" + "2b" * 16))
RUNGS = "1s,2s"
PATIENCE = 60.0


class DemoError(Exception):
    """The story did not go as told."""


def _event(order: str, shop: str, **changes: object) -> dict[str, object]:
    event: dict[str, object] = {
        "eventId": f"evt-{order}",
        "occurredAt": "2026-01-01T10:00:00Z",
        "shopId": shop,
        "orderId": order,
        "orderValue": 199.95,
        "currency": "EUR",
        "lines": [
            {"productId": "SKU-001", "quantity": 2, "unitPrice": 39.99},
            {"productId": "SKU-042", "quantity": 1, "lineTotal": 119.97},
        ],
        "neuroonClicks": {"SKU-001": "log_aaa"},
    }
    return event | changes


@dataclass
class Stage:
    """Where the story is told: the settings of all commands, and the consumer's log as it comes."""

    environ: dict[str, str]
    folder: Path
    settled: list[dict[str, Any]] = field(default_factory=list)
    consuming: bool = False

    def say(self, text: str) -> None:
        """A step of the story."""
        echo()
        echo(styled(text, bold=True, fg="cyan"))

    async def command(self, *arguments: str, stdin: bytes = b"", show: bool = True) -> str:
        """Run one command as an operator would, and return what it printed. Raises DemoError unless its status is 0."""
        if show:
            echo(styled(f"$ neuroon-consumer {' '.join(arguments)}", bold=True))
        process = await asyncio.create_subprocess_exec(
            *_PROGRAM, *arguments, env=self.environ, cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        out, _ = await process.communicate(stdin)
        if show:
            for line in out.decode().splitlines():
                echo(line)
        if process.returncode:
            raise DemoError(f"`neuroon-consumer {' '.join(arguments)}` ended with status {process.returncode}")
        return out.decode()

    async def publish(self, *events: Mapping[str, object]) -> None:
        """Publish events with the command that does so."""
        lines = "\n".join(json.dumps(event) for event in events)
        await self.command("publish", stdin=lines.encode())

    async def until(self, what: str, condition: Callable[[], object]) -> None:
        """Wait until the log tells of it. Raises DemoError when it does not."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise DemoError(f"waited {PATIENCE:.0f} s in vain until {what}")
            await asyncio.sleep(0.05)

    def outcomes(self, order: str) -> list[str]:
        """How the tries of an order ended so far."""
        return [line["outcome"] for line in self.settled if line["order"] == order]

    async def relay(self, stream: asyncio.StreamReader) -> None:
        """Show the consumer's log and keep what it tells."""
        async for raw in stream:
            line = json.loads(raw)
            event = line.pop("event")
            if event == "settled":
                self.settled.append(line)
            self.consuming = self.consuming or event == "consuming"
            told = " ".join(f"{key}={value}" for key, value in line.items() if key not in {"level", "timestamp"})
            echo(styled(f"  consumer | {event} {told}", dim=True))


_PROGRAM = (sys.executable, "-m", "consumer")


async def tell() -> None:
    """Tell the story. Raises DemoError when it does not end well, BrokerError when there is no broker to be had."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neuroon-demo-")))
        echo(styled("1. A broker and a local Neuroon", bold=True, fg="cyan"))
        url = await _broker(stack)
        sandbox = await stack.enter_async_context(Sandbox(SHOPS))
        echo(f"Neuroon sandbox at {sandbox.url}, RabbitMQ at {url.rpartition('@')[2]}")
        stage = Stage(_environment(url, sandbox, folder), folder)
        stack.push_async_callback(_clean_up, url, stage.environ)
        await _consume(stack, stage)
        await _ordinary_orders(stage)
        await _flaky_answer(stage, sandbox)
        await _broken_event(stage)
        _account(stage, sandbox)


async def _broker(stack: AsyncExitStack) -> str:
    given = os.environ.get("AMQP_URL")
    if given:
        return given
    echo("Starting a RabbitMQ of our own; it takes some seconds ...")
    broker = PrivateBroker()
    stack.callback(broker.close)
    await asyncio.to_thread(broker.start)
    return broker.url


def _environment(url: str, sandbox: Sandbox, folder: Path) -> dict[str, str]:
    shops = "".join(f'[[shops]]\nid = "{shop.id}"\napi_key = "{shop.api_key}"\n\n' for shop in SHOPS)
    (folder / "shops.toml").write_text(shops)
    name = f"neuroon-demo-{uuid.uuid4().hex[:8]}"
    ours = {
        "AMQP_URL": url,
        "NEUROON_API_URL": sandbox.url,
        "NEUROON_SHOPS_FILE": str(folder / "shops.toml"),
        "CONSUMER_EXCHANGE": f"{name}.order.paid",
        "CONSUMER_QUEUE": name,
        "CONSUMER_RETRY_DELAYS": RUNGS,
        "CONSUMER_HTTP_ADDR": "127.0.0.1:0",
        "LEDGER_URL": f"sqlite:///{folder / 'ledger.db'}",
        "LOG_FORMAT": "json",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    foreign = {name: value for name, value in os.environ.items() if not name.startswith(("NEUROON_", "CONSUMER_"))}
    return foreign | ours


async def _consume(stack: AsyncExitStack, stage: Stage) -> None:
    stage.say("2. The consumer: it declares its queues and binds them to the exchange")
    echo(styled("$ neuroon-consumer run &", bold=True))
    process = await asyncio.create_subprocess_exec(
        *_PROGRAM, "run", env=stage.environ, cwd=stage.folder, stderr=subprocess.PIPE
    )
    assert process.stderr is not None  # noqa: S101 - asked for one line above
    relaying = asyncio.create_task(stage.relay(process.stderr))

    async def stop() -> None:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await relaying

    stack.push_async_callback(stop)
    await stage.until("the consumer consumes", lambda: stage.consuming)
    await stage.command("check")


async def _ordinary_orders(stage: Stage) -> None:
    stage.say("3. Paid orders: four to deliver, one event twice, one order that came from no search")
    berlin, madrid = (shop.id for shop in SHOPS)
    orders = [_event("ORD-1", berlin), _event("ORD-2", madrid), _event("ORD-3", berlin), _event("ORD-4", madrid)]
    await stage.publish(*orders, orders[0], _event("ORD-5", berlin, neuroonClicks={}))
    await stage.until("six events are settled", lambda: len(stage.settled) == 6)  # noqa: PLR2004 - the six above
    _expect(sorted(stage.outcomes("ORD-1")) == ["delivered", "duplicate"], "ORD-1 is delivered once, then a duplicate")
    _expect(stage.outcomes("ORD-5") == ["unattributed"], "ORD-5 is let go")


async def _flaky_answer(stage: Stage, sandbox: Sandbox) -> None:
    stage.say("4. Neuroon fails: the first two tries of an order are answered 503, and it climbs the delay queues")
    sandbox.fail("503:order=ORD-6,times=2")
    await stage.publish(_event("ORD-6", SHOPS[0].id))
    await stage.until("ORD-6 is delivered", lambda: "delivered" in stage.outcomes("ORD-6"))
    _expect(stage.outcomes("ORD-6") == ["retry", "retry", "delivered"], "ORD-6 is delivered at the third try")


async def _broken_event(stage: Stage) -> None:
    stage.say("5. A broken event: the shop's checkout wrote no currency. It rests in the dead letters, whole")
    await stage.publish(_event("ORD-7", SHOPS[1].id, currency=None))
    await stage.until("ORD-7 is dead", lambda: stage.outcomes("ORD-7") == ["dead"])
    await stage.command("dlq", "summary")
    (letter,) = (json.loads(line) for line in (await stage.command("dlq", "list", "--json", show=False)).splitlines())
    stage.say("6. The event is repaired, and replayed in place of the broken one")
    (stage.folder / "repaired.json").write_text(json.dumps(_event("ORD-7", SHOPS[1].id)))
    await stage.command("dlq", "replay", letter["id"], "--event", "repaired.json", "--yes")
    await stage.until("ORD-7 is delivered", lambda: stage.outcomes("ORD-7") == ["dead", "delivered"])


def _account(stage: Stage, sandbox: Sandbox) -> None:
    stage.say("7. What arrived at Neuroon")
    for received in sandbox.orders:
        body = (received.body or b"").decode()
        echo(f"{received.shop_id} {body}")
    names = sorted(received.order_id for received in sandbox.orders)
    _expect(names == ["ORD-1", "ORD-2", "ORD-3", "ORD-4", "ORD-6", "ORD-7"], "six orders have arrived")
    _expect(all(received.posts == 1 for received in sandbox.orders), "each of them was posted once")
    echo()
    echo(styled("Six orders delivered, each once; nothing lost, nothing left.", bold=True, fg="green"))


def _expect(good: bool, what: str) -> None:
    if not good:
        raise DemoError(f"expected that {what}")


async def _clean_up(url: str, environ: Mapping[str, str]) -> None:
    """Leave nothing behind at a broker that is not ours."""
    queue = environ["CONSUMER_QUEUE"]
    names = [queue, f"{queue}.dlq", *(f"{queue}.retry.{rung}" for rung in (*RUNGS.split(","), "1m"))]
    async with await connect(url, "neuroon-consumer demo") as connection:
        for name in names:
            async with short_channel(connection) as channel:
                await channel.queue_delete(name)
        async with short_channel(connection) as channel:
            await channel.exchange_delete(environ["CONSUMER_EXCHANGE"])
