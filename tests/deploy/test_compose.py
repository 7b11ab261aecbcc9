"""compose.yaml: a file that Compose understands, settings that the program takes, and the story that it promises."""

import asyncio
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Self

import yaml

from consumer.devbroker import PrivateBroker
from consumer.devbroker.ports import free_ports
from consumer.events import split_events
from consumer.sandbox import Sandbox, SandboxShop
from consumer.settings import read_settings
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.debian import program
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import Consumer, environment

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "deploy/compose"


def _rendered() -> dict[str, Any]:
    """What Compose makes of the file: anchors resolved, checked against its own schema."""
    plugin = shutil.which("docker") is not None and _succeeds(["docker", "compose", "version"])
    compose = ["docker", "compose"] if plugin else [program("docker-compose", "docker-compose")]
    done = subprocess.run([*compose, "config"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rendered: dict[str, Any] = yaml.safe_load(done.stdout)
    return rendered


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_compose_reads_it_and_the_program_takes_its_settings() -> None:
    """Every service of ours gets an environment without an unknown or a bad setting, and may write nowhere."""
    services = _rendered()["services"]
    ours = {name: each for name, each in services.items() if each["image"].startswith("neuroon-consumer")}
    assert set(ours) == {"sandbox", "consumer", "orders"}
    assert set(services) - set(ours) == {"rabbitmq", "postgres"}
    for service in ours.values():
        settings = read_settings(service["environment"])
        assert service["read_only"]
        assert settings.amqp_url.get_secret_value().startswith("amqp://neuroon:neuroon@rabbitmq:5672")


def test_the_image_is_built_once_and_for_all() -> None:
    """One service builds the tag that all of ours run: several at once fail where the tag is new."""
    services = _rendered()["services"]
    ours = {name: each for name, each in services.items() if each["image"].startswith("neuroon-consumer")}
    assert [name for name, each in ours.items() if "build" in each] == ["consumer"]
    assert len({each["image"] for each in ours.values()}) == 1


def test_the_broker_finds_its_queues_again_in_a_new_container() -> None:
    """It keeps its data under its host's name, which is made up anew for every container that is given none."""
    broker = _rendered()["services"]["rabbitmq"]
    assert broker["hostname"] == "rabbitmq"
    assert broker["volumes"]


async def test_orders_are_published_when_their_queues_are_bound(broker: PrivateBroker, names: Names) -> None:
    """They wait for the consumer to be healthy, which it is when it consumes, and not when it has only started."""
    services = _rendered()["services"]
    assert services["orders"]["depends_on"]["consumer"]["condition"] == "service_healthy"
    _, *command = services["consumer"]["healthcheck"]["test"]
    (port,) = free_ports(1)
    async with Sandbox() as sandbox:
        environ = environment(broker.url, names, sandbox, CONSUMER_HTTP_ADDR=f"127.0.0.1:{port}")

        async def healthy() -> bool:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command[1:], env=environ, stderr=subprocess.DEVNULL
            )
            return await process.wait() == 0

        assert command[0] == "python"
        assert not await healthy()
        async with Started(environ | {"AMQP_URL": "amqp://127.0.0.1:9/"}) as consumer:
            await consumer.served()
            assert not await healthy()
        async with Consumer(environ):
            assert await healthy()


class Started(Consumer):
    """A consumer that may never consume."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def served(self) -> None:
        """Wait until it answers probes."""
        await eventually(lambda: self.events("probes and metrics"), timeout=40, what="it answers probes")


def test_the_stop_leaves_time_to_drain() -> None:
    """Compose kills later than the consumer gives up by itself."""
    consumer = _rendered()["services"]["consumer"]
    grace = read_settings(consumer["environment"]).consumer_shutdown_grace
    assert consumer["stop_grace_period"] in {"60s", "1m", "1m0s"}
    assert grace + 20 < 60


async def test_its_orders_tell_the_story_of_the_demo(broker: PrivateBroker, names: Names) -> None:
    """With the shops, events and faults of the file: six delivered or doubled as told, one retried twice, one dead."""
    command = _rendered()["services"]["sandbox"]["command"]
    faults = [command[index + 1] for index, word in enumerate(command) if word == "--fail"]
    shops = [SandboxShop("shop_berlin", "sk_" + "1a" * 16), SandboxShop("shop_madrid", "sk_" + "2b" * 16)]
    events = split_events((DEMO / "orders.jsonl").read_bytes())
    async with Sandbox(shops, faults) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, NEUROON_SHOPS_FILE=str(DEMO / "shops.toml"))
        del environ["NEUROON_SHOP_ID"], environ["NEUROON_API_KEY"]
        async with InProcess(environ) as consumer:
            await at_broker.publish(*events)
            await eventually(lambda: consumer.outcomes("ORD-6") == ["retry", "retry", "delivered"], timeout=20)
            await eventually(lambda: len(consumer.reports) == len(events) + 2)
            assert Counter(consumer.outcomes("ORD-1")) == {"delivered": 1, "duplicate": 1}
            assert consumer.outcomes("ORD-5") == ["unattributed"]
            assert consumer.outcomes("ORD-7") == ["dead"]
            await at_broker.publish((DEMO / "repaired.json").read_bytes())
            await eventually(lambda: consumer.outcomes("ORD-7") == ["dead", "delivered"])
    assert sorted(each.order_id for each in sandbox.orders) == [f"ORD-{number}" for number in (1, 2, 3, 4, 6, 7)]
