"""100,000 dead letters on a private broker: what a summary and a full replay cost in seconds and in memory.

    .venv/bin/python bench/deadletters.py [LETTERS]

The commands run as processes of their own, as an operator runs them. Needs an installed RabbitMQ and no network.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from consumer.adapters.link import connect  # noqa: E402 - the checkout it stands in, installed or not
from consumer.adapters.publisher import Publisher  # noqa: E402
from consumer.adapters.topology import declare  # noqa: E402
from consumer.app import wanted_topology  # noqa: E402
from consumer.core import delivery as header  # noqa: E402
from consumer.core.delivery import Properties, stamp  # noqa: E402
from consumer.core.outcome import fingerprint  # noqa: E402
from consumer.devbroker import PrivateBroker  # noqa: E402
from consumer.settings import Settings, read_settings  # noqa: E402

CAUSES = (
    ("shop_a", "exhausted", 503, "answered 503", "EUR"),
    ("shop_a", "refused", 422, "currency of order {n} is not enabled", "SEK"),
    ("shop_b", "exhausted", None, "no answer within 10 s", "EUR"),
    ("shop_b", "unknown_shop", None, "shopId: no shop of this id or alias is configured", "JPY"),
)
IN_FLIGHT = 1000
FILL_URL = "BENCH_FILL_URL"


async def fill(settings: Settings, letters: int) -> None:
    """Put dead letters of four causes in two shops into the queue, as the consumer would have left them."""
    async with await connect(settings.amqp_url.get_secret_value(), "bench") as connection:
        await declare(connection, wanted_topology(settings))
        publisher = await Publisher.open(connection)
        window = asyncio.Semaphore(IN_FLIGHT)

        async def put(number: int) -> None:
            async with window:
                body, headers = letter(number)
                await publisher.publish(body, headers, Properties("application/json"), routing_key=target)

        target = settings.routes.queues.dead
        async with asyncio.TaskGroup() as group:
            for number in range(letters):
                group.create_task(put(number))


def letter(number: int) -> tuple[bytes, dict[str, object]]:
    """One letter's body, about 600 bytes, and its headers."""
    shop, reason, status, detail, currency = CAUSES[number % len(CAUSES)]
    detail = detail.format(n=number)
    lines = [{"productId": f"SKU-{each}", "quantity": 1, "unitPrice": 10} for each in range(6)]
    event = {
        "eventId": uuid.uuid4().hex,
        "shopId": shop,
        "orderId": f"ORD-{number:08}",
        "orderValue": "60",
        "currency": currency,
        "lines": lines,
        "neuroonClicks": {"SKU-1": "log_1"},
    }
    headers: dict[str, object] = {
        header.ATTEMPT: 6,
        header.FIRST_SEEN: stamp(time.time() - 7200),
        header.SHOP: shop,
        header.ORDER: f"ORD-{number:08}",
        header.ID: uuid.uuid4().hex,
        header.REASON: reason,
        header.DETAIL: detail,
        header.FINGERPRINT: fingerprint(reason, status, detail),
        header.DIED_AT: stamp(time.time()),
    }
    if status is not None:
        headers[header.STATUS] = status
    return json.dumps(event).encode(), headers


def measure(environ: dict[str, str], what: str, *arguments: str) -> dict[str, Any]:
    """Run one dlq command; print its seconds, its CPU and its peak memory, and return them with what it said."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "consumer", "dlq", *arguments, "--json"]
    process = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None  # noqa: S101 - for the type checker
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    memory = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)
    cpu = usage.ru_utime + usage.ru_stime
    print(
        f"{what:<34} {seconds:7.1f} s  {cpu:6.1f} s CPU  {memory:6.0f} MB  status {os.waitstatus_to_exitcode(status)}"
    )
    return (dict(json.loads(said.splitlines()[-1])) if said else {}) | {"seconds": seconds, "memory": memory}


def put(url: str, letters: int) -> None:
    """Fill in a process of its own: the peak memory of a child counts from the fork, with what filling took."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, __file__, str(letters)], env={FILL_URL: url}, check=True)
    print(f"{letters:,} letters put there in {time.perf_counter() - begun:.1f} s")


def main() -> None:
    """Fill, look, filter, replay."""
    letters = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    if FILL_URL in os.environ:
        asyncio.run(fill(read_settings({"AMQP_URL": os.environ[FILL_URL]}), letters))
        return
    with PrivateBroker() as broker, tempfile.TemporaryDirectory() as directory:
        audit = str(Path(directory, "audit.jsonl"))
        environ = os.environ | {"AMQP_URL": broker.url}
        put(broker.url, letters)
        found = measure(environ, "summary", "summary")
        print(f"{'':<34} {found['total']:,} letters, {found['value']}")
        measure(environ, "summary again", "summary")
        measure(environ, "summary of one shop's one reason", "summary", "--shop", "shop_a", "--reason", "refused")
        measure(environ, "list --newest --limit 20", "list", "--newest", "--limit", "20")
        measure(environ, "export", "export", str(Path(directory, "letters.jsonl")), "--audit", audit)
        chosen = ("--shop", "shop_a", "--reason", "refused")
        for what, which in (("replay of one group", chosen), ("replay of all the others", ("--all",))):
            done = measure(environ, what, "replay", *which, "--yes", "--audit", audit)
            print(f"{'':<34} {done['done']:,} of {done['matched']:,} replayed, {done['failed']} failed")


if __name__ == "__main__":
    main()
