"""What the storm rages in: a broker, a Neuroon, two consumers, and links between them that can break."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.chaos.orders import SHOPS, STANDING_FAULTS, first_key, key
from tests.chaos.worker import Worker
from tests.conftest import Names
from tests.support.debian import faketime
from tests.support.postgres import PrivatePostgres
from tests.support.program import environment
from tests.support.proxy import Proxy

CONSUMERS = 2
CONCURRENCY = 32
RUNGS = ("300ms", "600ms", "1s", "2s", "4s")
HOLD = "500ms"
GRACE_SECONDS = 5
# After SIGTERM: the grace, the settling of what is left, and the closing of links that may be stalled.
EXIT_SECONDS = 25.0


@dataclass
class World:
    """All that can be struck."""

    broker: PrivateBroker
    names: Names
    sandbox: Sandbox
    api: Proxy
    folder: Path
    postgres: PrivatePostgres | None = None
    links: list[Proxy] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    rotations: Counter[str] = field(default_factory=Counter)
    ledger_url: str = "memory://"

    @property
    def ledger_shared(self) -> bool:
        """Whether both consumers ask and write one ledger."""
        return self.ledger_url != "memory://"

    def set_clock(self, consumer: int, by: str) -> None:
        """Set a consumer's wall clock off by so much, such as "-1h" (see faketime(1)); "+0" is the right time."""
        fresh = self.folder / f"clock-{consumer}.new"
        fresh.write_text(f"{by}\n")
        fresh.replace(self.folder / f"clock-{consumer}")

    def write_shops(self) -> None:
        """Bring the shops file up to date."""
        tables = [f'[[shops]]\nid = "{shop}"\napi_key = "{key(shop, self.rotations[shop])}"\n' for shop in SHOPS]
        fresh = self.folder / "shops.new"
        fresh.write_text("\n".join(tables))
        fresh.replace(self.folder / "shops.toml")

    def queues(self) -> list[str]:
        """Every queue in which an order can wait."""
        main = self.names.queue
        return [main, *(f"{main}.retry.{rung}" for rung in (*RUNGS, HOLD))]


@asynccontextmanager
async def a_world(broker: PrivateBroker, names: Names, folder: Path, ledger: str) -> AsyncIterator[World]:
    """A world with its consumers started. `ledger`: memory, sqlite (one file for both) or postgres (one server)."""
    async with AsyncExitStack() as stack:
        sandbox = Sandbox([first_key(shop) for shop in SHOPS], STANDING_FAULTS)
        await stack.enter_async_context(sandbox)
        sandbox.book.requests = deque()  # all of them, however many
        api_port = urlsplit(sandbox.url).port
        assert api_port is not None
        api = await stack.enter_async_context(Proxy(("127.0.0.1", api_port)))
        postgres = None
        if ledger == "postgres":
            postgres = PrivatePostgres()
            stack.callback(postgres.close)
            await asyncio.to_thread(postgres.start)
        world = World(broker, names, sandbox, api, folder, postgres)
        world.ledger_url = _ledger_url(world, ledger)
        world.write_shops()
        for number in range(CONSUMERS):
            link = await stack.enter_async_context(Proxy(("127.0.0.1", broker.port)))
            world.set_clock(number, "+0")
            worker = Worker(
                _environment(world, link) | _clock(folder / f"clock-{number}"), folder / f"consumer-{number}.log"
            )
            stack.push_async_callback(worker.close)
            world.links.append(link)
            world.workers.append(worker)
            await worker.start()
        yield world


def _clock(file: Path) -> dict[str, str]:
    """A wall clock that is set by a file, looked at each second. What measures durations goes on as it should."""
    return {
        "LD_PRELOAD": faketime(),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }


def _ledger_url(world: World, ledger: str) -> str:
    if world.postgres is not None:
        return world.postgres.url
    return f"sqlite:///{world.folder / 'ledger.db'}" if ledger == "sqlite" else "memory://"


def _environment(world: World, link: Proxy) -> dict[str, str]:
    # A heartbeat of 2 s: a stalled link is noticed after about 9.
    url = f"amqp://guest:guest@127.0.0.1:{link.port}/?heartbeat=2"
    environ = environment(
        url,
        world.names,
        NEUROON_API_URL=f"http://127.0.0.1:{world.api.port}",
        NEUROON_SHOPS_FILE=str(world.folder / "shops.toml"),
        CONSUMER_CONCURRENCY=str(CONCURRENCY),
        CONSUMER_RETRY_DELAYS=",".join(RUNGS),
        CONSUMER_HOLD_DELAY=HOLD,
        CONSUMER_REQUEST_TIMEOUT="1s",
        CONSUMER_SHUTDOWN_GRACE=f"{GRACE_SECONDS}s",
        LEDGER_URL=world.ledger_url,
    )
    del environ["NEUROON_SHOP_ID"], environ["NEUROON_API_KEY"]
    return environ
