"""Fixtures that every room of tests may use: brokers and databases which nobody else uses, and names in them."""

import asyncio
import functools
import gc
import inspect
import os
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import httpx
import hypothesis
import pytest

from consumer.devbroker import BrokerError, PrivateBroker, ports
from tests.support.mariadb import PrivateMariadb
from tests.support.postgres import PrivatePostgres
from tests.support.proxy import Proxy

# How long an example takes says how busy the machine is, and nothing about what is tested: no example has a deadline,
# and drawing slowly is no fault. How many are drawn is Hypothesis's own number, 100, where a test does not say.
hypothesis.settings.register_profile(
    "suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("suite")

# Without its fixtures, the slowest takes 40 s on a quiet machine and 100 s on a busy one. Far below
# faulthandler_timeout, which counts fixtures, too, and ends the process.
_TEST_SECONDS = 240.0


def pytest_configure() -> None:
    """Give each process of a run its own ports: one whose node is down must not lose its port to another's node."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = len(ports._RANGE) // processes
    ports._RANGE = ports._RANGE[number % processes * share :][:share]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Gzip holds the time at which it was made: in a name, it would make two processes collect different tests."""
    return argname if isinstance(val, bytes) and val.startswith(b"\x1f\x8b") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound every test that can be bounded: it then fails, with its name and with what it was waiting for."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _bounded(item.obj)


def _bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def bounded(**fixtures: object) -> None:
        async with asyncio.timeout(_TEST_SECONDS):
            await test(**fixtures)

    return bounded


@dataclass(frozen=True, slots=True)
class Names:
    """Names for one test in a broker that it shares with others."""

    prefix: str

    @property
    def exchange(self) -> str:
        return f"{self.prefix}.order.paid"

    @property
    def queue(self) -> str:
        return f"{self.prefix}.conversions"


@pytest.fixture(scope="session")
def broker() -> Iterator[PrivateBroker]:
    """One node for the whole run, with the management plugin; `own_broker` is the one to stop, pause and alarm."""
    with PrivateBroker(plugins=("rabbitmq_management",)) as node:
        yield node


@pytest.fixture
def names() -> Names:
    """An exchange and a queue prefix that no other test uses."""
    return Names(f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def vhost(broker: PrivateBroker) -> Iterator[str]:
    """URL of an empty virtual host: queues may have their usual names, and go with the test. About 40 ms."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    with httpx.Client(base_url=broker.management_url, trust_env=False, timeout=30) as management:
        management.put(f"/api/vhosts/{name}").raise_for_status()
        yield f"{broker.url}{name}"
        management.delete(f"/api/vhosts/{name}").raise_for_status()


@pytest.fixture(scope="session")
def _victim() -> Iterator[PrivateBroker]:
    with PrivateBroker() as node:
        yield node


@pytest.fixture
def own_broker(_victim: PrivateBroker) -> Iterator[PrivateBroker]:
    """A node that may be stopped, killed, paused and alarmed; whatever a test did to it, the next one finds it up.

    One for the whole run, since a start takes 7 s: what a test leaves in its queues is still there, so use `names`.
    """
    yield _victim
    try:
        _victim.resume()
        _victim.start()
        _victim.set_memory_alarm(False)
    except BrokerError:
        _victim.close()
        _victim.start()


@pytest.fixture
async def link(broker: PrivateBroker) -> AsyncIterator[Proxy]:
    """A link to the shared node that can be cut and stalled; connect to 127.0.0.1:`link.port`."""
    async with Proxy(("127.0.0.1", broker.port)) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """One PostgreSQL for the whole run; not to be stopped."""
    with PrivatePostgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: PrivatePostgres) -> str:
    """postgresql:// address of the shared server's superuser; tests make databases or schemas of their own."""
    return postgres.url


@pytest.fixture(scope="session")
def mariadb() -> Iterator[PrivateMariadb]:
    """One MariaDB for the whole run; not to be stopped."""
    with PrivateMariadb() as server:
        yield server


@pytest.fixture
def collected() -> Iterator[None]:
    """Collects what a client library leaves behind when a handshake fails: sockets that nobody can close any more.

    Else their ResourceWarnings, which are errors here, would fail whichever test runs when they are collected.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
