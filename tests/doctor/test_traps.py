"""Each trap by itself: that it is found, on a real broker wherever one can be made ill that way."""

import re
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from pydantic import SecretStr

from consumer.adapters import management as api
from consumer.adapters.ledger import inspection
from consumer.adapters.link import connect, short_channel, virtual_host
from consumer.adapters.publisher import Publisher
from consumer.adapters.topology import Queue, QueueState, declare
from consumer.app import wanted_topology
from consumer.core.delivery import Properties
from consumer.core.outcome import Misconfigured
from consumer.core.reply import NOT_SENT
from consumer.core.shop import Shop
from consumer.devbroker import PrivateBroker
from consumer.doctor import Level, broker, check_broker, check_ledger, check_management, management
from consumer.doctor.broker import _moved
from consumer.doctor.management import _flags, _queue
from consumer.doctor.shops import _shop_finding
from consumer.sandbox import Sandbox, SandboxShop
from consumer.settings import read_settings
from tests.conftest import Names
from tests.doctor.test_check import check, healthy
from tests.support.eventually import eventually
from tests.support.postgres import PrivatePostgres
from tests.support.program import environment

pytestmark = pytest.mark.usefixtures("collected")


async def test_five_other_traps_are_found_over_amqp_alone(vhost: str, names: Names, tmp_path: Path) -> None:
    """A main queue of another type, no dead-letter queue, no exchange, a wrong key, delays out of order: these five,
    each with its cure, and nothing else."""
    more = {"CONSUMER_DECLARE": "off", "CONSUMER_RETRY_DELAYS": "400ms,200ms", "NEUROON_API_KEY": "sk_wrong"}
    async with healthy(vhost, names, tmp_path, **more) as environ, await connect(vhost, "test") as connection:
        async with short_channel(connection) as channel:
            await channel.queue_delete(names.queue)
            await channel.queue_declare(names.queue, durable=True)
            await channel.queue_delete(f"{names.queue}.dlq")
            await channel.exchange_delete(names.exchange)
        status, found = await check(environ)
    assert status == 1
    expected = {
        f"queue {names.queue}: queue '{names.queue}' exists with other arguments: ": "error",
        f"queue {names.queue}.dlq: does not exist": "error",
        f"exchange {names.exchange}: does not exist": "error",
        "shop shop_sandbox: 401: ": "error",
        "budgets: a later try waits shorter than an earlier one": "warning",
    }
    assert len(found) == len(expected), found
    for words, level in expected.items():
        assert [told for each, told in found.items() if each.startswith(words)] == [level], (words, found)


SHOPS = [SandboxShop("shop_a", "sk_a", "https://a.example"), SandboxShop("shop_b", "sk_b")]


@pytest.mark.parametrize(
    ("shop", "key", "origin", "told"),
    [
        ("shop_a", "sk_old", "", "401: API key is invalid"),
        ("shop_a", "sk_b", "", "the API key belongs to another shop"),
        ("shop_a", "sk_a", "https://b.example", "403: Origin does not match the shop's URL"),
        ("shop_z", "sk_a", "", "the API key belongs to another shop"),
    ],
)
async def test_a_shop_that_neuroon_refuses_is_told(
    shop: str, key: str, origin: str, told: str, vhost: str, names: Names
) -> None:
    """Key, id or origin: what Neuroon says of it, and nothing of the key."""
    async with Sandbox(SHOPS) as sandbox:
        more = {"NEUROON_SHOP_ID": shop, "NEUROON_API_KEY": key, "NEUROON_ORIGIN": origin}
        status, found = await check(environment(vhost, names, sandbox, **more))
        assert not sandbox.orders
    assert status == 1
    assert {each: level for each, level in found.items() if each.startswith("shop")} == {
        f"shop {shop}: {told}": "error"
    }


async def test_an_exchange_that_is_missing_is_a_warning_where_run_creates_it(vhost: str, names: Names) -> None:
    """It may be a slip in the name; queues that `run` will create are none."""
    async with Sandbox() as sandbox:
        status, found = await check(environment(vhost, names, sandbox))
    assert status == 0
    assert found == {f"exchange {names.exchange}: does not exist yet; `run` will create it as topic": "warning"}


async def test_orders_that_the_main_queue_does_not_take_are_told(
    broker: PrivateBroker, vhost: str, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their delay is over and the main queue is gone: AMQP counts them nowhere, the management API does."""
    monkeypatch.setattr(management, "STATISTICS_SECONDS", 0.0)
    rung, host = f"{names.queue}.retry.200ms", virtual_host(vhost)
    async with (
        healthy(vhost, names, tmp_path) as environ,
        await connect(vhost, "test") as connection,
        httpx.AsyncClient(base_url=broker.management_url, trust_env=False, timeout=30) as client,
    ):
        async with short_channel(connection) as channel:
            await channel.queue_delete(names.queue)
        publisher = await Publisher.open(connection)
        await publisher.publish(b"{}", {}, Properties("application/json"), routing_key=rung)

        async def stuck() -> bool:
            found: dict[str, object] = (await client.get(f"/api/queues/{host}/{rung}")).json()
            return found.get("messages_dlx") == 1

        await eventually(stuck, timeout=30)
        wanted = wanted_topology(read_settings(environ))
        findings = await check_management(broker.management_url, host, wanted, 40.0)
    (told,) = [each for each in findings if each.level is not Level.OK]
    assert (told.check, told.level) == (f"queue {rung}", Level.WARNING)
    assert told.message == f"1 messages are not taken by {names.queue}"
    assert names.queue in told.cure


async def test_a_delay_queue_that_moves_is_good(vhost: str, names: Names, tmp_path: Path) -> None:
    """What waits in a short one is waited for, and gone when its time is over."""
    async with healthy(vhost, names, tmp_path) as environ, await connect(vhost, "test") as connection:
        rung, wanted = (
            f"{names.queue}.retry.5s",
            wanted_topology(read_settings(environ | {"CONSUMER_RETRY_DELAYS": "5s"})),
        )
        await declare(connection, wanted)
        publisher = await Publisher.open(connection)
        await publisher.publish(b"{}", {}, Properties("application/json"), routing_key=rung)
        findings = await check_broker(vhost, wanted, create=True)
    assert [each.message for each in findings if each.check == f"queue {rung}"][1:] == ["moves"]
    assert {each.level for each in findings} == {Level.OK}


def test_a_delay_queue_that_stands_still_is_told() -> None:
    """As many as before when the delay was over."""
    assert _moved("q", QueueState(3, 0), QueueState(3, 0)).level is Level.WARNING
    assert _moved("q", QueueState(3, 0), QueueState(2, 0)).level is Level.OK


async def test_a_publish_that_is_confirmed_without_a_queue_is_told(
    vhost: str, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every move of an order relies on the broker to say so. Here a queue has, by chance, the name that is tried."""
    nobody = uuid.uuid4()
    monkeypatch.setattr(broker, "uuid", SimpleNamespace(uuid4=lambda: nobody))
    async with healthy(vhost, names, tmp_path) as environ, await connect(vhost, "test") as connection:
        async with short_channel(connection) as channel:
            await channel.queue_declare(f"neuroon-check-{nobody.hex}")
        findings = await check_broker(vhost, wanted_topology(read_settings(environ)), create=True)
    (told,) = [each for each in findings if each.level is not Level.OK]
    assert (told.check, told.level) == ("publishing", Level.ERROR)


async def test_clocks_that_differ_are_told(
    broker: PrivateBroker, postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the broker's Date and by the database's own time; ours is put forward by a minute."""
    late = SimpleNamespace(time=lambda: time.time() + 60)
    monkeypatch.setattr(api, "time", late)
    monkeypatch.setattr(inspection, "time", late)
    wanted = wanted_topology(read_settings({}))
    found = [*await check_management(broker.management_url, "/", wanted, 40.0), *await check_ledger(postgres.url)]
    told = [each for each in found if each.check == "clock"]
    assert [each.level for each in told] == [Level.WARNING] * 2
    # The broker's Date has whole seconds, and is itself a second old at times.
    assert re.fullmatch("the broker's is -6[0-3] s from ours", told[0].message)
    assert told[1].message == "the database's is -60 s from ours"


async def test_a_foreign_binding_is_told(broker: PrivateBroker, vhost: str, names: Names, tmp_path: Path) -> None:
    """One more at the main queue is the shop's own affair; at the dead letters it brings in what is none."""
    async with healthy(vhost, names, tmp_path) as environ, await connect(vhost, "test") as connection:
        async with short_channel(connection) as channel:
            await channel.queue_bind(names.queue, names.exchange, "another")
            await channel.queue_bind(f"{names.queue}.dlq", names.exchange, "another")
        wanted = wanted_topology(read_settings(environ))
        findings = await check_management(broker.management_url, virtual_host(vhost), wanted, 40.0)
    (told,) = [each for each in findings if each.level is not Level.OK]
    assert (told.check, told.level) == (f"queue {names.queue}.dlq", Level.ERROR)
    assert told.message == f"is bound to exchange {names.exchange}: foreign messages get in"


def test_a_short_patience_of_the_broker_is_told() -> None:
    """A policy by which it cuts our link in the middle of a POST. Brokers before 3.12 know none like it."""
    found = {"policy": "theirs", "effective_policy_definition": {"consumer-timeout": 30_000}}
    (told,) = _queue(Queue("q"), found, 40.0)
    assert told.level is Level.ERROR
    assert told.message == "policy theirs sets consumer-timeout to 30 s; an order may take 40 s"
    assert list(_queue(Queue("q"), found, 20.0)) == []


def test_members_that_are_away_and_flags_that_are_off_are_told() -> None:
    """One of three away is a warning; two, and no order can be confirmed. Without stream_queue letters may be lost."""

    def levels(online: int) -> list[Level]:
        found = {"members": ["a", "b", "c"], "online": ["a", "b", "c"][:online], "durable": True}
        return [each.level for each in _queue(Queue("q"), found, 40.0)]

    assert [levels(each) for each in (3, 2, 1)] == [[], [Level.WARNING], [Level.ERROR]]
    assert [each.level for each in _flags({"quorum_queue": "enabled", "stream_queue": "disabled"})] == [Level.ERROR]
    assert list(_flags({"quorum_queue": "enabled", "stream_queue": "enabled"})) == []


@pytest.mark.parametrize(
    ("reply", "message", "word"),
    [
        (Misconfigured(401, "API key is invalid"), "401: API key is invalid", "current API key"),
        (Misconfigured(403, "Origin does not match"), "403: Origin does not match", "origin"),
        (Misconfigured(404, "Shop not found"), "404: Shop not found", "shop id exists"),
        (Misconfigured(301, "redirected"), "301: redirected", "base URL"),
        (Misconfigured(200, "the API key belongs to another shop"), "the API key belongs to another shop", "this key"),
        (Misconfigured(NOT_SENT, "the API key is empty"), "the API key is empty", "not even sent"),
    ],
)
def test_the_cure_fits_the_refusal(reply: Misconfigured, message: str, word: str) -> None:
    """Each status has its own; a key that is another shop's, and one that cannot be sent, are no fault of the URL."""
    finding = _shop_finding(Shop("shop_a", SecretStr("sk_a"), "https://api.example"), reply)
    assert (finding.level, finding.message) == (Level.ERROR, message)
    assert word in finding.cure
