"""What a broker's virtual hosts, limits, rights, exchanges and older queues can do to us is named, in words."""

import asyncio
import errno
import resource
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from structlog.testing import capture_logs

from consumer.adapters.link import connect, short_channel, virtual_host
from consumer.adapters.publisher import Publisher
from consumer.adapters.refusal import remedy
from consumer.adapters.topology import declare
from consumer.adapters.wire import words
from consumer.app import wanted_topology
from consumer.core.delivery import Properties
from consumer.devbroker import PrivateBroker
from consumer.doctor import Finding, Level, budgets, check_broker, check_budgets, check_management
from consumer.doctor.limits import node_resources
from consumer.sandbox import Sandbox
from consumer.settings import read_settings
from tests.conftest import Names
from tests.doctor.test_check import check, healthy, plant_policy
from tests.support.clerk import Clerk, hired
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import Consumer, environment

pytestmark = pytest.mark.usefixtures("collected")


def bad(findings: list[Finding]) -> list[Finding]:
    return [each for each in findings if each.level is not Level.OK]


@asynccontextmanager
async def administrator(broker: PrivateBroker) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=broker.management_url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
async def clerk(broker: PrivateBroker, vhost: str, names: Names) -> AsyncIterator[Clerk]:
    """A user who may do all that `run` does with CONSUMER_DECLARE=on."""
    async with hired(broker, vhost) as user:
        await user.may("on", names)
        yield user


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("amqp://broker", "/"),
        ("amqp://broker/", "/"),
        ("amqp://broker/%2F", "/"),
        ("amqp://broker/prod?heartbeat=5", "prod"),
        ("amqp://broker/%2Fprod", "/prod"),
        ("amqp://broker//prod", "/prod"),
        ("amqp://broker/a%2Fb%20c", "a/b c"),
    ],
)
def test_the_virtual_host_is_read_as_the_client_library_reads_it(url: str, host: str) -> None:
    """All that follows the first slash is its name: the management API would be asked about another one otherwise."""
    assert virtual_host(url) == host


async def test_a_policy_in_a_virtual_host_with_a_slash_is_named(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """`check` exits with 1 and the policy's harm, and `run` logs the same once it is connected."""
    host = f"/prod-{uuid.uuid4().hex[:8]}"
    async with administrator(broker) as admin:
        path = f"/api/vhosts/{quote(host, safe='')}"
        (await admin.put(path)).raise_for_status()
        url, management = f"{broker.url}{quote(host, safe='')}", {"RABBITMQ_MANAGEMENT_URL": broker.management_url}
        async with healthy(url, names, tmp_path, **management) as environ:
            assert await check(environ) == (0, {})
            await plant_policy(broker, url, names.queue, message_ttl=60_000)
            message = "policy theirs sets message-ttl to 60000: orders leave the queue before their time"
            assert await check(environ) == (1, {f"queue {names.queue}: {message}": "error"})
            with capture_logs() as lines:
                async with InProcess(environ):
                    await eventually(lambda: [line for line in lines if line["event"] == "check failed"])
            (line,) = [line for line in lines if line["event"] == "check failed"]
            assert (line["check"], line["why"]) == (f"queue {names.queue}", message)
        (await admin.delete(path)).raise_for_status()


async def test_a_virtual_host_that_the_management_api_does_not_know_is_no_good_news(broker: PrivateBroker) -> None:
    """Nothing is found there because nothing is looked at: it is another broker's API, or the name is wrong."""
    (found,) = bad(await check_management(broker.management_url, "nowhere", wanted_topology(read_settings({})), 40.0))
    assert (found.check, found.level) == ("virtual host", Level.ERROR)
    assert "'nowhere'" in found.message


async def test_what_the_broker_refuses_at_the_door_is_told_in_its_words(
    broker: PrivateBroker, clerk: Clerk, names: Names
) -> None:
    """A virtual host that does not exist, a password, a user without rights there, and limits: each with its remedy."""
    wanted = wanted_topology(read_settings(environment(broker.url, names)))
    host = clerk.host

    async def refusal(url: str) -> tuple[str, str]:
        (found,) = await check_broker(url, wanted, create=True)
        assert found.level is Level.ERROR
        return found.message, found.cure

    message, cure = await refusal(f"{broker.url}nowhere")
    assert message == "NOT_ALLOWED - vhost nowhere not found"
    assert "rabbitmqctl add_vhost" in cure
    message, cure = await refusal(clerk.url.replace(":pw@", ":old@"))
    assert "Login was refused" in message
    assert "password" in cure
    (await clerk.admin.delete(f"/api/permissions/{host}/clerk-{host}")).raise_for_status()
    message, cure = await refusal(clerk.url)
    assert message == f"NOT_ALLOWED - access to vhost '{host}' refused for user 'clerk-{host}'"
    assert "set_permissions" in cure
    await clerk.may("on", names)
    for limit in (f"vhost-limits/{host}", f"user-limits/clerk-{host}"):
        path = f"/api/{limit}/max-connections"
        (await clerk.admin.put(path, json={"value": 0})).raise_for_status()
        message, cure = await refusal(clerk.url)
        assert "connection limit (0) is reached" in message
        assert "each opens 4 connections" in cure
        (await clerk.admin.delete(path)).raise_for_status()


async def test_run_waits_for_a_virtual_host_and_says_so(broker: PrivateBroker, names: Names) -> None:
    """It may be created later, so the start is tried again; the log has the broker's words and the remedy."""
    async with administrator(broker) as admin:
        host = f"late-{names.queue}"
        consumer = Consumer(environment(f"{broker.url}{host}", names))
        await consumer.start()
        await eventually(lambda: consumer.events("broker not usable"))
        why = consumer.events("broker not usable")[0]["why"]
        assert why.startswith(f"NOT_ALLOWED - vhost {host} not found: create the virtual host")
        assert "object at 0x" not in consumer.text
        (await admin.put(f"/api/vhosts/{host}")).raise_for_status()
        await consumer.consuming()
        await consumer.__aexit__()
        (await admin.delete(f"/api/vhosts/{host}")).raise_for_status()


@asynccontextmanager
async def refused(environ: dict[str, str]) -> AsyncIterator[str]:
    """Why the first start of the program fails; it goes on trying meanwhile."""
    with capture_logs() as lines:
        stop = asyncio.Event()
        running = asyncio.create_task(InProcess(environ).app.run(stop))
        try:
            await eventually(lambda: [line for line in lines if line["event"] == "broker not usable"])
            yield next(line["why"] for line in lines if line["event"] == "broker not usable")
        finally:
            stop.set()
            await running


@pytest.mark.parametrize(
    ("declaring", "rights", "what"),
    [
        ("on", ("^$", ".*", ".*"), "access to queue '{queue}.dlq' in"),
        ("on", (".*", "^$", ".*"), "access to exchange 'amq.default' in"),
        ("on", (".*", ".*", "^$"), "access to queue '{queue}.retry.300ms' in"),
        ("off", ("^$", ".*", "^$"), "access to queue '{queue}' in"),
    ],
)
async def test_a_missing_right_is_named_at_the_start(
    clerk: Clerk, vhost: str, names: Names, declaring: str, rights: tuple[str, str, str], what: str
) -> None:
    """The first thing that is refused, with the page that lists the rights to configure, write and read."""
    environ = environment(clerk.url, names, CONSUMER_DECLARE=declaring)
    if declaring == "off":
        async with await connect(vhost, "test") as owner:
            await declare(owner, wanted_topology(read_settings(environ)))
    given = dict(zip(("configure", "write", "read"), rights, strict=True))
    path = f"/api/permissions/{clerk.host}/clerk-{clerk.host}"
    (await clerk.admin.put(path, json=given)).raise_for_status()
    async with refused(environ) as why:
        assert what.format(queue=names.queue) in why
        assert "docs/topology.md" in why


async def test_check_names_the_missing_right_to_publish(clerk: Clerk, names: Names) -> None:
    """Without it no order could be moved to another queue."""
    rights = {"configure": ".*", "write": "^$", "read": ".*"}
    path = f"/api/permissions/{clerk.host}/clerk-{clerk.host}"
    (await clerk.admin.put(path, json=rights)).raise_for_status()
    wanted = wanted_topology(read_settings(environment(clerk.url, names)))
    (found,) = [each for each in await check_broker(clerk.url, wanted, create=True) if each.check == "publishing"]
    assert found.level is Level.ERROR
    assert "amq.default" in found.message
    assert "Rights" in found.cure


async def test_a_limit_on_queues_is_not_taken_for_other_arguments(clerk: Clerk, names: Names) -> None:
    """The start says that the limit is reached, and tries again."""
    (await clerk.admin.put(f"/api/vhost-limits/{clerk.host}/max-queues", json={"value": 2})).raise_for_status()
    async with refused(environment(clerk.url, names)) as why:
        assert f"queue limit in vhost '{clerk.host}' (2) is reached: raise it" in why


async def test_a_limit_on_channels_is_named_at_the_start(clerk: Clerk, names: Names) -> None:
    """The broker closes the whole connection, and the reason is not lost on the way."""
    path = f"/api/user-limits/clerk-{clerk.host}/max-channels"
    (await clerk.admin.put(path, json={"value": 1})).raise_for_status()
    async with refused(environment(clerk.url, names)) as why:
        assert "has reached the maximum allowed user limit of (1): raise it" in why


async def test_limits_are_named_before_they_are_reached(clerk: Clerk, names: Names) -> None:
    """What one replica needs beside what is there, by the limits of the virtual host and of the user."""
    host, user = clerk.host, f"clerk-{clerk.host}"
    wanted = wanted_topology(read_settings(environment(clerk.url, names)))

    async def limit(**limits: int) -> None:
        for name, value in limits.items():
            kind, _, what = name.partition("_")
            path = f"/api/{kind}-limits/{host if kind == 'vhost' else user}/max-{what}"
            (await clerk.admin.put(path, json={"value": value})).raise_for_status()

    async def found() -> dict[str, Level]:
        findings = await check_management(clerk.management, host, wanted, 40.0, user)
        return {f"{each.check} {each.message}": each.level for each in bad(findings) if each.check != "features"}

    assert await found() == {}
    await limit(vhost_connections=3, vhost_queues=4, user_connections=2, user_channels=5)
    queues = "may have 4 queues, and 0 exist: `run` cannot create the 5 that are missing"
    assert await found() == {
        "virtual host may have 3 connections, and one replica opens 4": Level.ERROR,
        f"virtual host {queues}": Level.ERROR,
        f"user {user} may have 2 connections, and one replica opens 4": Level.ERROR,
        f"user {user} may have 5 channels, and one replica opens up to 8": Level.ERROR,
    }
    await limit(vhost_connections=5, vhost_queues=5, user_connections=5, user_channels=8)
    async with await connect(clerk.url, "one"), await connect(clerk.url, "two"):
        expected = {
            f"{each} may have 5 connections, and 2 are open: no room for another replica's 4": Level.WARNING
            for each in ("virtual host", f"user {user}")
        }

        async def named() -> bool:
            return await found() == expected

        await eventually(named, timeout=20)


def test_a_node_that_runs_out_of_something_is_told() -> None:
    """File descriptors, connections and processes, from nine tenths on; versions that do not say are not asked."""
    node = {"fd_used": 900, "fd_total": 1000, "sockets_used": 899, "sockets_total": 1000, "proc_used": 7}
    (told,) = node_resources("node a", node)
    assert told.message == "uses 900 of 1000 file descriptors: it will soon refuse connections"


def test_open_files_that_do_not_suffice_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each order in flight has a connection; orders without one would fail, and the API be called down."""

    def problems(allowed: int, **settings: str) -> list[str]:
        limits = {resource.RLIMIT_NOFILE: (allowed, allowed)}
        fake = SimpleNamespace(**{name: getattr(resource, name) for name in ("RLIMIT_NOFILE", "RLIM_INFINITY")})
        fake.getrlimit = limits.__getitem__
        monkeypatch.setattr(budgets, "resource", fake)
        return [each.message for each in bad(check_budgets(read_settings(settings)))]

    (message,) = problems(64)
    assert message.startswith("64 open files are allowed, and up to 114 are needed")
    assert problems(114) == problems(resource.RLIM_INFINITY, CONSUMER_CONCURRENCY="65535") == []
    assert len(problems(1024, CONSUMER_CONCURRENCY="1000")) == 1


@pytest.mark.parametrize("text", ["[Errno 24] Too many open files", "Multiple exceptions: [Errno 24] x, [Errno 99] y"])
def test_too_many_open_files_are_called_so(text: str) -> None:
    """As the reason why Neuroon, or the broker, cannot be reached."""
    assert words(OSError(errno.EMFILE, "Too many open files")) == "too many open files"
    assert words(OSError(text)) == "too many open files"
    assert "LimitNOFILE" in (remedy(text) or "")


async def test_a_wildcard_at_a_direct_exchange_is_told(vhost: str, names: Names) -> None:
    """It matches itself alone, so that no order would arrive; a direct exchange needs a key without one."""
    async with await connect(vhost, "test") as connection, short_channel(connection) as channel:
        await channel.exchange_declare(names.exchange, exchange_type="direct", durable=True)
    async with Sandbox() as sandbox:
        environ = environment(vhost, names, sandbox)
        wanted = wanted_topology(read_settings(environ))
        (found,) = bad(await check_broker(vhost, wanted, create=True))
        assert (found.check, found.level) == (f"exchange {names.exchange}", Level.ERROR)
        assert found.message.startswith(f"exchange '{names.exchange}' is direct, and CONSUMER_ROUTING_KEY='#'")
        with capture_logs() as lines:
            async with InProcess(environ):
                assert found.message in {line.get("why") for line in lines if line["log_level"] == "warning"}
        fitting = environ | {"CONSUMER_ROUTING_KEY": "order.paid"}
        assert bad(await check_broker(vhost, wanted_topology(read_settings(fitting)), create=True)) == []
        # Others bind the queue where CONSUMER_DECLARE is off, by a key that only the management API shows.
        assert bad(await check_broker(vhost, wanted, create=False)) == []


@pytest.mark.parametrize("kind", ["topic", "fanout", "headers"])
@pytest.mark.parametrize("durable", [True, False])
async def test_a_wildcard_at_any_other_exchange_is_good(vhost: str, names: Names, kind: str, durable: bool) -> None:
    """Finding out its type changes nothing, whatever else about it is not as ours would be."""
    async with await connect(vhost, "test") as connection, short_channel(connection) as channel:
        await channel.exchange_declare(names.exchange, exchange_type=kind, durable=durable)
        wanted = wanted_topology(read_settings(environment(vhost, names)))
        assert bad(await check_broker(vhost, wanted, create=True)) == []


async def test_an_old_queue_that_fills_is_told(broker: PrivateBroker, vhost: str, names: Names, tmp_path: Path) -> None:
    """Left behind by another CONSUMER_QUEUE and still bound; not another's queue, nor one that somebody consumes."""
    async with healthy(vhost, names, tmp_path) as environ, await connect(vhost, "test") as connection:
        old = f"{names.queue}-old"
        wanted = wanted_topology(read_settings(environ))
        await declare(connection, wanted_topology(read_settings(environ | {"CONSUMER_QUEUE": old})))
        async with short_channel(connection) as channel:
            await channel.queue_declare("theirs", durable=True)
            await channel.queue_bind("theirs", names.exchange, "#")
        publisher = await Publisher.open(connection)
        await publisher.publish(b"{}", {}, Properties(), exchange=names.exchange, routing_key="order.paid")

        async def found() -> list[tuple[str, Level, str]]:
            findings = await check_management(broker.management_url, virtual_host(vhost), wanted, 40.0)
            return [(each.check, each.level, each.message) for each in bad(findings)]

        message = (
            f"was declared by this program under another CONSUMER_QUEUE; it is still bound to exchange "
            f"{names.exchange}, holds 1 messages, and has no consumer: it fills"
        )

        async def named() -> bool:
            return await found() == [(f"queue {old}", Level.ERROR, message)]

        await eventually(named, timeout=20)
        async with short_channel(connection) as consuming:
            consumed: Any = lambda _: None  # noqa: E731 - never called with anything that matters
            await consuming.basic_consume(old, consumed)

            async def quiet() -> bool:
                return await found() == []

            await eventually(quiet, timeout=20)
