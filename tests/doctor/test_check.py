"""The doctor, against real brokers, databases and a sandbox that are ill on purpose."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from aio_pika.abc import AbstractConnection

from consumer.adapters.link import connect, short_channel, virtual_host
from consumer.adapters.topology import declare
from consumer.app import wanted_topology
from consumer.devbroker import PrivateBroker
from consumer.doctor import Finding, Level, check_budgets, check_management
from consumer.doctor.management import _node
from consumer.doctor.version import check_version
from consumer.sandbox import DEFAULT_SHOP, Sandbox
from consumer.settings import read_settings
from tests.conftest import Names
from tests.support.eventually import eventually
from tests.support.postgres import PrivatePostgres
from tests.support.program import command, environment

pytestmark = pytest.mark.usefixtures("collected")


async def check(environ: dict[str, str]) -> tuple[int, dict[str, str]]:
    """Exit status, and what is not good: the check's name and its level."""
    status, out, err = await command(environ, "check", "--json")
    assert not err
    told: dict[str, Any] = json.loads(out)
    assert told["ok"] is (status == 0)
    bad = [finding for finding in told["findings"] if finding["level"] != "ok"]
    assert all(finding["cure"] for finding in bad), bad
    return status, {f"{finding['check']}: {finding['message']}": finding["level"] for finding in bad}


@asynccontextmanager
async def healthy(url: str, names: Names, tmp_path: Path, **more: str) -> AsyncIterator[dict[str, str]]:
    """Settings with which everything fits: queues declared, shop known, ledger writable."""
    async with Sandbox() as sandbox:
        environ = environment(url, names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path / 'ledger.db'}", **more)
        async with await connect(url, "test") as connection:
            await declare(connection, wanted_topology(read_settings(environ)))
        yield environ


async def plant_policy(broker: PrivateBroker, vhost: str, queue: str, **definition: object) -> None:
    """A policy for `queue`; the management API shows it with its next statistics, up to 5 s later."""
    host, name = quote(virtual_host(vhost), safe=""), "theirs" + queue.partition(".conversions")[2].replace(".", "-")
    body = {key.replace("_", "-"): value for key, value in definition.items()}
    async with httpx.AsyncClient(base_url=broker.management_url, trust_env=False, timeout=30) as client:
        policy = {"pattern": f"^{queue}$", "definition": body, "apply-to": "queues"}
        (await client.put(f"/api/policies/{host}/{name}", json=policy)).raise_for_status()

        async def shown() -> bool:
            told = (await client.get(f"/api/queues/{host}/{queue}")).json()
            return bool(told.get("effective_policy_definition") == body)

        await eventually(shown, timeout=20)


async def _arguments(connection: AbstractConnection, queue: str, arguments: dict[str, Any]) -> None:
    async with short_channel(connection) as channel:
        await channel.queue_delete(queue)
        await channel.queue_declare(queue, durable=True, arguments=arguments)


async def test_nothing_is_found_where_nothing_is_wrong(
    broker: PrivateBroker, vhost: str, names: Names, tmp_path: Path
) -> None:
    """Exit status 0, with the management API and without; and nothing is left behind."""
    async with healthy(vhost, names, tmp_path) as environ:
        assert await check(environ) == (0, {})
        assert await check(environ | {"RABBITMQ_MANAGEMENT_URL": broker.management_url}) == (0, {})
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


async def test_five_planted_traps_are_found_and_nothing_else(
    broker: PrivateBroker, vhost: str, names: Names, tmp_path: Path
) -> None:
    """A lost binding, a policy that lets orders expire, a delay queue of other arguments, somebody who drinks from
    another delay queue, and a ledger that cannot be written: each is named, with its cure."""
    more = {"RABBITMQ_MANAGEMENT_URL": broker.management_url}
    async with healthy(vhost, names, tmp_path, **more) as environ, await connect(vhost, "test") as connection:
        queue, wanted = names.queue, wanted_topology(read_settings(environ))
        async with short_channel(connection) as channel:
            await channel.queue_unbind(queue, names.exchange, "#")
        await plant_policy(broker, vhost, queue, message_ttl=60000)
        rung = next(each for each in wanted.queues if each.name == f"{queue}.retry.400ms")
        await _arguments(connection, rung.name, rung.arguments | {"x-message-ttl": 9000})
        environ |= {"LEDGER_URL": f"sqlite:///{tmp_path / 'nowhere' / 'ledger.db'}"}
        async with short_channel(connection) as thirsty:
            await thirsty.basic_consume(f"{queue}.retry.200ms", lambda _: None)  # type: ignore[arg-type, return-value]
            status, found = await check(environ)
    assert status == 1
    expected = {
        f"queue {queue}: is not bound to exchange {names.exchange} with '#'",
        f"queue {queue}: policy theirs sets message-ttl to 60000",
        f"queue {queue}.retry.400ms: queue '{queue}.retry.400ms' exists with other arguments: x-message-ttl",
        f"queue {queue}.retry.200ms: 1 consumers take orders out of a delay queue",
        f"ledger: {tmp_path / 'nowhere'} is no folder",
    }
    assert len(found) == len(expected), found
    assert set(found.values()) == {"error"}
    for words in expected:
        assert any(each.startswith(words) for each in found), (words, found)


POLICIES: dict[str, tuple[dict[str, object], list[str]]] = {
    "": ({"expires": 1_800_000, "delivery_limit": 5}, ["deletes the queue", "thrown out"]),
    ".dlq": ({"max_length": 1000, "dead_letter_exchange": "elsewhere"}, ["refused", "forwards dead letters"]),
    ".retry.200ms": ({"max_length_bytes": 1000, "message_ttl": 100}, ["before their time", "refused"]),
    ".retry.400ms": ({"delivery_limit": 200_000, "message_ttl": 9000, "overflow": "reject-publish"}, []),
}


async def test_policies_that_would_cost_orders_are_named(
    broker: PrivateBroker, vhost: str, names: Names, tmp_path: Path
) -> None:
    """Whatever one adds or lowers that our arguments do not settle; what is weaker than ours is left alone."""
    async with healthy(vhost, names, tmp_path) as environ:
        await asyncio.gather(
            *(plant_policy(broker, vhost, f"{names.queue}{name}", **each) for name, (each, _) in POLICIES.items())
        )
        wanted = wanted_topology(read_settings(environ))
        findings = await check_management(broker.management_url, virtual_host(vhost), wanted, 40.0)
    bad = [finding for finding in findings if finding.level is not Level.OK]
    for target, (_, words) in POLICIES.items():
        told = [finding.message for finding in bad if finding.check == f"queue {names.queue}{target}"]
        assert len(told) == len(words), told
        assert all(f"policy theirs{target.replace('.', '-')}" in each for each in told)
        assert all(any(word in each for each in told) for word in words), told


async def test_what_cannot_be_asked_is_unknown(names: Names) -> None:
    """No broker, no management API, no database: exit status 2, each with a cure, and no password shown."""
    environ = environment(
        "amqp://user:hush@127.0.0.1:9/",
        names,
        RABBITMQ_MANAGEMENT_URL="http://user:hush@127.0.0.1:9",
        LEDGER_URL="postgresql://user:hush@127.0.0.1:9/neuroon",
    )
    status, found = await check(environ)
    assert status == 2
    assert {each.partition(":")[0] for each in found} == {"broker", "management API", "ledger", "shop shop_sandbox"}
    assert set(found.values()) == {"unknown"}
    assert "hush" not in str(found)


async def test_a_shop_on_hold_is_named(vhost: str, names: Names, tmp_path: Path) -> None:
    """A warning, since its orders are given up in the end; key and id are checked all the same."""
    file = tmp_path / "shops.toml"
    file.write_text(
        f"[[shops]]\nid = '{DEFAULT_SHOP.id}'\napi_key = '{DEFAULT_SHOP.api_key}'\nenabled = 'hold'\n"
        "[[shops]]\nid = 'shop_b'\napi_key = 'sk_wrong'\nenabled = 'hold'\n"
    )
    more = {"NEUROON_SHOP_ID": "", "NEUROON_API_KEY": "", "NEUROON_SHOPS_FILE": str(file)}
    async with healthy(vhost, names, tmp_path, **more) as environ:
        status, found = await check(environ)
    on_hold = "on hold by the shops file: its orders wait"
    assert status == 1
    assert found.pop(f"shop {DEFAULT_SHOP.id}: {on_hold}") == "warning"
    assert found.pop(f"shop shop_b: {on_hold}") == "warning"
    assert list(found.values()) == ["error"]


async def test_a_ledger_in_postgresql_is_looked_at(
    vhost: str, names: Names, tmp_path: Path, postgres: PrivatePostgres
) -> None:
    """Writable is good; a user who may make no tables is told, and nothing is created."""
    async with healthy(vhost, names, tmp_path) as environ:
        assert await check(environ | {"LEDGER_URL": postgres.url}) == (0, {})
        options = "?options=-c%20default_transaction_read_only%3Don"
        status, found = await check(environ | {"LEDGER_URL": postgres.url + options})
    assert status == 1
    assert found == {"ledger: the server takes no writes: it is a standby": "error"}
    assert urlsplit(postgres.url).scheme == "postgresql"


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("RabbitMQ 3.9.27", Level.ERROR),
        ("RabbitMQ 3.10.8", Level.OK),
        ("RabbitMQ 3.13.7", Level.OK),
        ("RabbitMQ 4.1.0+2.gabcdef", Level.OK),
        ("RabbitMQ 4.3.0", Level.WARNING),
        ("RabbitMQ 4.3.5", Level.WARNING),
        ("RabbitMQ 4.3.6-rc.1", Level.OK),
        ("RabbitMQ %%VSN%%", Level.WARNING),
        ("LavinMQ 2.4.0", Level.WARNING),
        (" ", Level.WARNING),
    ],
)
def test_known_traps_of_versions_are_told(version: str, level: Level) -> None:
    """By the versions in which they are; what is no RabbitMQ, or does not say which, is not called good."""
    product, _, number = version.partition(" ")
    assert check_version(product, number).level is level


async def test_the_version_is_told_over_amqp_alone(broker: PrivateBroker, vhost: str, names: Names) -> None:
    """Without the management API: the one that the management API tells as well."""
    async with httpx.AsyncClient(base_url=broker.management_url, trust_env=False, timeout=30) as client:
        version = (await client.get("/api/overview")).json()["rabbitmq_version"]
    _, out, _ = await command(environment(vhost, names), "check", "--json")
    (finding,) = (each for each in json.loads(out)["findings"] if each["check"] == "version")
    assert (finding["level"], finding["message"]) == ("ok", f"RabbitMQ {version}")


def test_alarms_and_partitions_are_told() -> None:
    """A node under an alarm takes no publishes; one that sees not all others is worse."""
    well = {"name": "rabbit@a", "running": True, "mem_alarm": False, "disk_free_alarm": False, "partitions": []}
    assert list(_node(well)) == []
    ill = well | {"running": False, "mem_alarm": True, "disk_free_alarm": True, "partitions": ["rabbit@b"]}
    assert [finding.level for finding in _node(ill)] == [Level.WARNING, Level.ERROR, Level.ERROR, Level.ERROR]


def test_times_that_do_not_fit_are_told() -> None:
    """A POST longer than the broker's patience, rungs out of order, a shutdown longer than Kubernetes waits."""

    def bad(**settings: str) -> list[Finding]:
        return [each for each in check_budgets(read_settings(settings)) if each.level is not Level.OK]

    assert bad() == []
    (finding,) = bad(CONSUMER_RETRY_DELAYS="5s,1s")
    assert "shorter" in finding.message
    (finding,) = bad(CONSUMER_SHUTDOWN_GRACE="40s")
    assert "Kubernetes" in finding.message
    found = bad(CONSUMER_REQUEST_TIMEOUT="31m", CONSUMER_SHUTDOWN_GRACE="1h")
    assert [finding.level for finding in found] == [Level.ERROR, Level.WARNING]
