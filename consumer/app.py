"""The composition root: everything is opened here, run, drained and closed in reverse order."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial

import httpx
import structlog

from consumer import pipeline
from consumer.adapters.enrichment import NoEnrichmentError, load_enrichment
from consumer.adapters.interruption import unless
from consumer.adapters.ledger.batching import BatchedLedger
from consumer.adapters.ledger.opening import open_ledger
from consumer.adapters.neuroon import Neuroon
from consumer.adapters.rabbit import Handled, Rabbit
from consumer.adapters.rung_proof import RungProof, read_probe
from consumer.adapters.topology import Topology, topology
from consumer.adapters.trust import NoTrustError
from consumer.adapters.wire import Wire
from consumer.admission import Admission, Limits
from consumer.admission.measured import MeasuredNeuroon
from consumer.balance import BalanceWatch, longest_flight
from consumer.core.delivery import Delivery
from consumer.core.order import Malformed, OrderPaid, Refund
from consumer.core.reading import Ignored
from consumer.core.settlement import Ack
from consumer.core.shop import Shops
from consumer.deadletters.letter import Read
from consumer.doctor import Level, check_budgets, report_surroundings
from consumer.health import Health
from consumer.intake import Intake
from consumer.logsink import LogSink
from consumer.mappings import MappingError, load_reader
from consumer.pipeline import Pipeline, Surroundings
from consumer.settings import Settings, SettingsError, ShopsFileError, ShopsSource, require_shops
from consumer.stock import Stock
from consumer.supervision import Supervisor, TaskName, cancel
from consumer.telemetry import Telemetry
from consumer.tracing import FLUSH_SECONDS, Handling, Tracing, Untraced, asked_for, open_tracing
from consumer.web import Part, Web
from consumer.workload import Workload

# What the last traces get, even if the orders in flight have taken the whole grace.
LEAST_FLUSH_SECONDS = 0.5

log = structlog.get_logger(__name__)


def wanted_topology(settings: Settings) -> Topology:
    """The exchange, queues and binding that the settings ask for."""
    return topology(
        settings.routes, settings.consumer_exchange, settings.consumer_exchange_type, settings.consumer_routing_key
    )


def open_intake(settings: Settings, shops: Callable[[], Shops]) -> Intake:
    """What reads messages as CONSUMER_MAPPING and CONSUMER_ENRICH ask; SettingsError when they cannot be used."""
    try:
        reader = load_reader(settings.consumer_mapping, settings.consumer_max_lines)
    except MappingError as error:
        raise SettingsError([f"CONSUMER_MAPPING: {problem}" for problem in error.problems]) from error
    name = settings.consumer_enrich
    if name is None:
        return Intake(reader, shops)
    try:
        return Intake(reader, shops, load_enrichment(name, settings.consumer_enrich_timeout))
    except NoEnrichmentError as error:
        raise SettingsError([f"CONSUMER_ENRICH={name!r}: {error}"]) from error


def open_neuroon(
    settings: Settings, dress: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport] = lambda wire: wire
) -> Neuroon:
    """The endpoint as the settings describe it, through a wire that `dress` may put something around.

    SettingsError when there is no certificate authority to trust.
    """
    try:
        wire = Wire()
    except NoTrustError as error:
        raise SettingsError([str(error)]) from error
    return Neuroon(
        timeout=settings.consumer_request_timeout,
        known_conflicts=settings.neuroon_conflict == "known",
        accept_any_2xx=settings.neuroon_accept_any_2xx,
        wire=dress(wire),
    )


def letter_reader(settings: Settings, shops: Callable[[], Shops]) -> Read:
    """A reader of one order per letter; SettingsError when the mapping cannot be used.

    The shop's own function that completes events is not called: a look at a letter asks nothing of the shop.
    """
    intake = open_intake(settings.model_copy(update={"consumer_enrich": None}), shops)

    def read(delivery: Delivery) -> OrderPaid | Malformed | Refund:
        reading = intake(delivery)
        match reading:
            case OrderPaid() | Malformed() | Refund():
                return reading
            case Ignored(why):
                return Malformed(f"would be ignored now: {why}", reading.order_id, reading.shop_id)
            case _:
                return Malformed("an array of orders, which would be taken apart now")

    return read


class App:
    """The whole program. Opening it takes no part of the outside world for granted: the broker may come later."""

    def __init__(
        self,
        settings: Settings,
        shops: ShopsSource,
        telemetry: Telemetry | None = None,
        tracing: Tracing | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.settings, self.wanted = settings, wanted_topology(settings)
        self.shops = shops
        self.telemetry = telemetry or Telemetry(settings.consumer_metrics_shops)
        self.tracing = tracing or Untraced()
        self.supervisor = supervisor or Supervisor(self.telemetry.task_failed)
        self._leave_by: float | None = None  # the loop's time at which the grace is over
        self.neuroon = open_neuroon(settings, self.tracing.wire)
        self.ledger = open_ledger(
            settings.ledger_url.get_secret_value(), self.telemetry.ledger_errors.inc, self.supervisor
        )
        self.admission = self._new_admission()
        self.workload = Workload()
        self.pipeline = self._new_pipeline()
        self.rabbit = Rabbit(
            settings.amqp_url.get_secret_value(),
            self.wanted,
            prefetch=settings.consumer_concurrency,
            create=settings.consumer_declare,
            handler=self,
        )
        self.rabbit.session_lost = self.telemetry.sessions_lost.inc
        self.rabbit.settling_failed = self.telemetry.settling_failures.inc
        management = settings.rabbitmq_management_url
        self.proof = RungProof(
            settings.amqp_url.get_secret_value(),
            self.wanted,
            None if management is None else management.get_secret_value(),
        )
        self.rabbit.uncompared = self.proof.suspect
        self.rabbit.settling.refusals.refused = lambda queue: self.telemetry.queue_refusals.labels(queue).inc()
        self.stock = self._new_stock()
        self.health = Health(self.rabbit, self.admission, self.supervisor, shops, _patience(settings))
        self._show_gauges()

    def _new_admission(self) -> Admission:
        settings = self.settings
        limits = Limits(
            settings.consumer_concurrency, settings.consumer_request_timeout, settings.consumer_hold_delay.seconds
        )
        admission = Admission(
            self.tracing.neuroon(MeasuredNeuroon(self.neuroon, self.telemetry)),
            time.monotonic,
            limits,
            lambda: {shop.api_url for shop in self.shops.shops.shops},
            self.supervisor,
        )
        admission.changed = self._admission_changed
        return admission

    def _new_pipeline(self) -> Handling:
        pipeline = Pipeline(
            read=open_intake(self.settings, lambda: self.shops.shops),
            courier=self.admission,
            ledger=self.ledger,
            routes=self.settings.routes,
            world=Surroundings(clock=time.time, draw=random.random, shops=lambda: self.shops.shops),
            workload=self.workload,
        )
        return self.tracing.pipeline(pipeline)

    def _new_stock(self) -> Stock:
        settings = self.settings
        return Stock(
            settings.amqp_url.get_secret_value(),
            self.wanted,
            settings.routes.queues,
            self.telemetry,
            letter_reader(settings, lambda: self.shops.shops) if settings.consumer_metrics_value else None,
            self.workload,
        )

    def _show_gauges(self) -> None:
        """Gauges that are asked when somebody scrapes."""
        self.telemetry.ledger_pending.set_function(lambda: self.ledger.condition.pending)
        self.telemetry.in_flight.set_function(lambda: self.rabbit.in_flight)
        self.telemetry.api_paused.set_function(lambda: len(self.admission.paused()))
        self._show_shops()

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set, then drain. Raises TopologyError when the queues at the broker do not fit."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close_tracing)
            stack.push_async_callback(self.neuroon.close)
            stack.push_async_callback(self.ledger.close)
            stack.push_async_callback(self.admission.close)
            await unless(stop, self.ledger.open())
            if self.settings.consumer_http_addr is not None:
                web = Web(self.telemetry.registry, live=self.health.live, ready=self._ready)
                port = await web.start(*self.settings.consumer_http_addr)
                stack.push_async_callback(web.stop)
                log.info("probes and metrics", port=port)
            stack.push_async_callback(self.rabbit.close)
            await self._consume(stop)

    async def _consume(self, stop: asyncio.Event) -> None:
        background = self._start_background()
        consuming = asyncio.create_task(self.rabbit.run())
        proving = asyncio.create_task(self.proof.run())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({consuming, proving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._leave_by = asyncio.get_running_loop().time() + self.settings.consumer_shutdown_grace
            drained = await self.rabbit.drain(self.settings.consumer_shutdown_grace)
            await consuming  # raises what ended it, if it was not us
            if proving.done():
                await proving  # the same
            log.info("stopped", finished=drained.finished, returned=drained.returned)
        finally:
            await cancel((*background, consuming, proving, stopping))

    async def handle(self, delivery: Delivery) -> Handled:
        """Where a delivery goes; see `Pipeline.handle`."""
        if (probe := read_probe(delivery)) is not None:
            await self.proof.answer(probe)
            return Ack(), self.health.moved
        self.telemetry.backlog.taken(delivery.properties.published_at, time.time())
        settlement, settled = self._handled(await self.pipeline.handle(delivery))
        return await self.proof.detour(settlement), settled

    async def escaped(self, delivery: Delivery, error: Exception) -> Handled:
        """Where a delivery goes on which our own code failed; see `Pipeline.escaped`."""
        settlement, settled = self._handled(await self.pipeline.escaped(delivery, error))
        return await self.proof.detour(settlement), settled

    def hand_back(self, delivery: Delivery) -> Handled:
        """Where a delivery goes that is not to be tried now; see `Pipeline.hand_back`."""
        settlement, settled = self._handled(self.pipeline.hand_back(delivery))
        return self.proof.around(settlement), settled

    def _handled(self, handled: pipeline.Handled) -> Handled:
        def settled() -> None:
            self.health.moved()
            if (report := handled.report) is not None:
                self.telemetry.settled(report.outcome, report.subject, report.journey, report.at, report.milliseconds)

        return handled.settlement, settled

    async def _close_tracing(self) -> None:
        """Send the last traces within what the orders in flight have left of the grace."""
        left = FLUSH_SECONDS
        if self._leave_by is not None:
            left = self._leave_by - asyncio.get_running_loop().time()
        await self.tracing.close(max(LEAST_FLUSH_SECONDS, min(left, FLUSH_SECONDS)))

    def _ready(self) -> Mapping[str, Part]:
        condition = self.ledger.condition
        told = f"{condition.message}; {condition.pending} entries wait, {condition.lost} were given up"
        return {**self.health.ready(), "ledger": Part(condition.ok, told, vital=False)}

    def _admission_changed(self) -> None:
        self._show_shops()
        self.rabbit.want(self.admission.prefetch())

    def _start_background(self) -> list[asyncio.Task[None]]:
        start = self.supervisor.start
        tasks = [
            start(TaskName.SHOPS, self._watch_shops),
            start(TaskName.HEALTH, self.health.tick),
            start(TaskName.QUEUE_METRICS, self.stock.run, self.stock.forget),
        ]
        report = partial(report_surroundings, self.settings, self.wanted, lambda: self.rabbit.linked)
        tasks.append(start(TaskName.SURROUNDINGS, report, ends=True))
        if isinstance(self.ledger, BatchedLedger):
            url, routes = self.settings.amqp_url.get_secret_value(), self.settings.routes
            longest = longest_flight(self.settings.consumer_request_timeout)
            balance = BalanceWatch(self.ledger.store, url, routes, self.telemetry.balance, longest)
            tasks.append(start(TaskName.BALANCE, balance.run, balance.forget))
        return tasks

    async def _watch_shops(self) -> None:
        await self.shops.watch(self._show_shops)

    def _show_shops(self) -> None:
        self.telemetry.hold(self.shops.shops.on_hold.union(self.admission.held()))
        self.telemetry.shops_unusable_since.set(self.shops.unusable_since or 0)
        self.telemetry.throttle(self.admission.throttled())  # some are so no longer, by mere time


def _patience(settings: Settings) -> float:
    """Seconds after which waiting orders and no movement mean "stuck": beyond what the slowest POSTs can explain."""
    return max(120.0, 6 * settings.consumer_request_timeout)


def load_shops(settings: Settings, environ: Mapping[str, str]) -> ShopsSource:
    """The configured shops, of which there is at least one; SettingsError otherwise."""
    require_shops(settings)
    try:
        return settings.shops_source(environ)
    except ShopsFileError as error:
        raise SettingsError([str(error)]) from error


async def serve(settings: Settings, environ: Mapping[str, str], sink: LogSink) -> None:
    """Run until SIGTERM or SIGINT, which drain; a second signal leaves at once, with status 1. Logs go to `sink`."""
    app = App(settings, load_shops(settings, environ), tracing=open_tracing(settings, environ))
    sink.failed = partial(app.supervisor.failed, TaskName.LOG)
    for finding in check_budgets(settings):
        if finding.level is not Level.OK:
            log.warning("budgets do not fit", why=finding.message, cure=finding.cure)
    if asked_for(environ):
        log.info("traces are exported")
    await until_signalled(app.run)


async def until_signalled(run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Call `run` with an event that the first signal sets."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)  # the operator insists: what is in flight comes back from the broker
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await run(stop)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
