"""Every background task of the program fails once, is logged and counted, and does its work when it runs again."""

import asyncio
import io
import math
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from consumer.adapters.ledger import LedgerRefusedError
from consumer.adapters.ledger.batching import BatchedLedger
from consumer.adapters.ledger.lane import Lane
from consumer.adapters.link import connect
from consumer.adapters.rabbit import Rabbit
from consumer.app import App, load_shops, serve
from consumer.core import breaker
from consumer.core.breaker import Probing
from consumer.core.conversion import Conversion
from consumer.core.outcome import Accepted, Delivered, Reply
from consumer.core.shop import Shop
from consumer.devbroker.ports import free_ports
from consumer.doctor import check_management
from consumer.logsink import LogSink
from consumer.settings import read_settings
from consumer.supervision import Pauses, Supervisor, TaskName
from consumer.telemetry import Telemetry
from tests.conftest import Names
from tests.support.eventually import eventually
from tests.support.ledger import record
from tests.support.program import environment

NO_BROKER = "amqp://guest:guest@127.0.0.1:9/"
NO_API = "http://guest:guest@127.0.0.1:9"
TEXT = "the order ORD-1 of Jane Doe"

# Waits until the task has run again and done its work.
Again = Callable[[], Awaitable[None]]


class Failing:
    """Stands for a function: raises at its first calls, and is what it stands for at all others."""

    def __init__(self, real: Callable[..., Any], times: float = 1) -> None:
        self.real, self.times, self.calls = real, times, 0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls <= self.times:
            raise OverflowError(TEXT)
        return self.real(*arguments, **named)

    async def again(self) -> None:
        await eventually(lambda: self.calls > self.times)


class Quick:
    """A Neuroon that answers at once."""

    async def post(self, conversion: Conversion, shop: Shop) -> Reply:
        return Accepted(200)

    async def probe(self, shop: Shop) -> Reply:
        return Accepted(200)


@pytest.fixture
def environ(names: Names, tmp_path: Path) -> dict[str, str]:
    return environment(NO_BROKER, names, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db", RABBITMQ_MANAGEMENT_URL=NO_API)


@asynccontextmanager
async def running(app: App) -> AsyncIterator[App]:
    """The program without a broker, for as long as the context lasts."""
    stop = asyncio.Event()
    run = asyncio.create_task(app.run(stop))
    try:
        yield app
    finally:
        stop.set()
        await run


@pytest.fixture
def app(environ: dict[str, str]) -> App:
    settings, telemetry = read_settings(environ), Telemetry()
    supervisor = Supervisor(telemetry.task_failed, Pauses(first=0.02, longest=0.02))
    return App(settings, load_shops(settings, environ), telemetry, supervisor=supervisor)


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """For a program that does often what it usually does rarely."""
    monkeypatch.setattr("consumer.settings.source.POLL_SECONDS", 0.02)
    monkeypatch.setattr("consumer.health.TICK_SECONDS", 0.02)
    monkeypatch.setattr("consumer.balance.FIRST_PAUSE", 0.02)
    return monkeypatch


def failures(app: App, task: TaskName) -> float | None:
    """What the metric says."""
    return app.telemetry.registry.get_sample_value(
        "neuroon_consumer_background_task_failures_total", {"task": task.value}
    )


def inject(app: App, task: TaskName, patch: pytest.MonkeyPatch) -> Again:
    """Make `task` fail the next time that it works. What is returned makes it work, and waits until it has again."""
    failing = Failing(connect)
    match task:
        case TaskName.SHOPS:
            patch.setattr(app.shops, "reload", failing := Failing(app.shops.reload))
        case TaskName.HEALTH:
            patch.setattr(Rabbit, "consuming", property(failing := Failing(lambda _: False)))
        case TaskName.QUEUE_METRICS:
            patch.setattr("consumer.stock.connect", failing)
        case TaskName.BALANCE:
            patch.setattr("consumer.balance.connect", failing)
        case TaskName.LEDGER_WRITES:
            return _ledger_writes(app, patch)
        case TaskName.LEDGER_LOOKUPS:
            return _ledger_lookups(app, patch)
        case TaskName.API_RECOVERY:
            return _api_recovery(app)
        case TaskName.LOG:
            return _log(app)
        case TaskName.SURROUNDINGS:
            patch.setattr(Rabbit, "linked", True)
            patch.setattr("consumer.doctor.startup.check_management", failing := Failing(check_management))
    return failing.again


def _ledger(app: App) -> BatchedLedger:
    assert isinstance(app.ledger, BatchedLedger)
    return app.ledger


def _ledger_writes(app: App, patch: pytest.MonkeyPatch) -> Again:
    ledger = _ledger(app)
    patch.setattr(ledger._writes, "turn", Failing(ledger._writes.turn))

    async def again() -> None:
        await ledger.record(record("ORD-1", Delivered(200)))  # the order does not wait for the restart
        await eventually(lambda: ledger.store.standings([("shop_a", "ORD-1")]))

    return again


def _ledger_lookups(app: App, patch: pytest.MonkeyPatch) -> Again:
    ledger = _ledger(app)
    patch.setattr(ledger._lookups._pace, "turn", Failing(ledger._lookups._pace.turn))

    async def again() -> None:
        assert await ledger.delivered_before("shop_a", "ORD-1") is None  # it is posted without a look-up
        await ledger.store.write([record("ORD-1", Delivered(200))])
        await eventually(lambda: ledger.delivered_before("shop_a", "ORD-1"))

    return again


def _api_recovery(app: App) -> Again:
    neuroon = Quick()
    failing = Failing(neuroon.probe)
    neuroon.probe = failing  # type: ignore[method-assign]
    app.admission._neuroon = neuroon

    async def again() -> None:
        shop = next(iter(app.shops.shops.shops))
        api = app.admission._api(shop)
        app.admission._become(api, breaker.opened(api.state, time.monotonic()), shop)
        await eventually(lambda: isinstance(api.state, Probing))

    return again


def _log(app: App) -> Again:
    stream = io.StringIO()
    stream.write = failing = Failing(stream.write)  # type: ignore[method-assign]
    sink = LogSink(stream)
    sink.failed = partial(app.supervisor.failed, TaskName.LOG)

    async def again() -> None:
        sink.write("lost\n")
        await eventually(lambda: failing.calls == 1)
        sink.write("written\n")
        await eventually(lambda: stream.getvalue() == "written\n")
        sink.close()

    return again


@pytest.mark.parametrize("task", TaskName)
async def test_a_task_that_fails_is_logged_and_counted_and_works_again(
    app: App, patch: pytest.MonkeyPatch, task: TaskName
) -> None:
    """An exception that nobody foresaw ends one run of the task, and nothing else; its text is not logged."""
    assert failures(app, task) == 0
    again = inject(app, task, patch)
    with capture_logs() as lines:
        async with running(app):
            await again()
    failed = [line for line in lines if line["event"] == "background task failed"]
    assert [(line["task"], line["error"]) for line in failed] == [(task.value, "OverflowError")]
    assert TEXT not in str([{**line, "exc_info": None} for line in lines])
    assert failures(app, task) == 1


async def test_numbers_of_a_task_that_fails_are_unknown(app: App, patch: pytest.MonkeyPatch) -> None:
    """What queues and balance were is not shown as what they are."""
    app.telemetry.waiting(1, 2, 3)
    app.stock._show({"EUR": 5})  # type: ignore[dict-item]
    app.telemetry.balance({"received": 4})
    for module in ("stock", "balance"):
        patch.setattr(f"consumer.{module}.connect", Failing(lambda: None, math.inf))
    shown = [
        ("waiting", {"place": "main"}), ("waiting", {"place": "retry"}), ("dead_letters", {}),
        ("dead_letters_value", {"currency": "EUR"}), ("balance", {"place": "received"}),
    ]  # fmt: skip

    def values() -> list[float | None]:
        return [app.telemetry.registry.get_sample_value(f"neuroon_consumer_{name}", labels) for name, labels in shown]

    assert values() == [1, 2, 3, 5, 4]
    async with running(app):
        await eventually(lambda: all(value is not None and math.isnan(value) for value in values()))


async def test_a_tick_that_keeps_failing_is_a_reason_to_restart(app: App, patch: pytest.MonkeyPatch) -> None:
    """/livez fails for it alone: without it nothing knows whether the program moves, and a new process may."""
    patch.setattr("consumer.health.STANDSTILL_SECONDS", 0.3)
    for module in ("stock", "balance"):
        patch.setattr(f"consumer.{module}.connect", Failing(lambda: None, math.inf))
    patch.setattr(app.shops, "reload", Failing(lambda: None, math.inf))
    async with running(app):
        await eventually(lambda: len(app.supervisor.failing()) == 3)
        await eventually(lambda: all(part.ok for part in app.health.live().values()))
        patch.setattr(Rabbit, "consuming", property(Failing(lambda _: False, math.inf)))
        await eventually(lambda: not app.health.live()["loop"].ok)


@pytest.mark.parametrize("error", [ValueError, MemoryError, SystemExit])
async def test_whatever_a_call_raises_the_thread_of_the_ledger_goes_on(
    tmp_path: Path, error: type[BaseException]
) -> None:
    """It has no supervisor: what a call raises is the answer to that call, and the next one is answered too."""

    def fail(_: sqlite3.Connection) -> None:
        raise error

    lane = Lane(tmp_path / "ledger.db", lambda _: None)
    with pytest.raises(LedgerRefusedError if error is ValueError else error):
        await lane.call(fail)
    assert await lane.call(lambda connection: connection.execute("SELECT 1").fetchall()) == [(1,)]
    await lane.close()


async def test_the_thread_of_the_log_reports_to_the_metrics(environ: dict[str, str]) -> None:
    """`run` connects the two: a stream that fails in an unexpected way is counted, and logs are written again."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    environ |= {"CONSUMER_HTTP_ADDR": address}
    stream = io.StringIO()
    sink = LogSink(stream)
    serving = asyncio.create_task(serve(read_settings(environ), environ, sink))

    async def metrics() -> str:
        try:
            async with aiohttp.ClientSession() as http, http.get(f"http://{address}/metrics") as answer:
                return await answer.text()
        except aiohttp.ClientConnectionError:
            return ""

    await eventually(metrics)
    stream.write = Failing(stream.write)  # type: ignore[method-assign]
    sink.write("lost\n")
    counted = 'neuroon_consumer_background_task_failures_total{task="log"} 1.0'

    async def is_counted() -> bool:
        return counted in await metrics()

    await eventually(is_counted)
    sink.write("written\n")
    await eventually(lambda: "written\n" in stream.getvalue())
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
    sink.close()
