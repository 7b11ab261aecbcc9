"""The stage of a benchmark: the sink, and a queue as the program declares it."""

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.harness.competitors import Competitor, Scene
from bench.harness.cores import COMPETITOR, on_core
from bench.harness.publishing import Publisher
from bench.harness.sinkprocess import SinkProcess
from bench.harness.usage import Usage, broker_of, usage
from consumer.adapters.link import connect, short_channel
from consumer.adapters.topology import declare, queue_state
from consumer.app import wanted_topology
from consumer.devbroker.guard import Guard
from consumer.settings import read_settings

QUEUE = "bench"
_STOP_SECONDS = 30.0
_LOG_END = 200


class Stage:
    """Everything that is not measured, at a broker that nobody else uses. A context manager.

    `quick` and `backlog` are for the workloads; `pin`: competitors have a core to themselves.
    """

    def __init__(self, amqp_url: str, *, quick: bool = False, pin: bool = False, backlog: int = 1_000_000) -> None:
        self.amqp_url, self.quick, self.backlog = amqp_url, quick, backlog
        self.drained: dict[str, list[float]] = {}
        """Rates of the drains so far, by competitor: other workloads go by them."""
        self._pin = pin
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neuroon-bench-")))
            self.sink = stack.enter_context(SinkProcess(self.folder))
            self.broker_pid = broker_of(os.getpid())
            settings = read_settings({"CONSUMER_QUEUE": QUEUE, "CONSUMER_EXCHANGE": f"{QUEUE}.order.paid"})
            self._topology = wanted_topology(settings)
            asyncio.run(self._declare())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def orders(self, usual: int) -> int:
        """How many orders a workload takes: a tenth of the usual with --quick."""
        return usual // 10 if self.quick else usual

    def fill(self, template: bytes, orders: int) -> None:
        """Put that many orders into the queue, confirmed."""
        with Publisher(self.amqp_url) as publisher:
            publisher.fill(QUEUE, template, orders)

    def consumed(self) -> bool:
        """Whether somebody consumes from the queue."""
        return asyncio.run(self._consumers()) > 0

    def empty(self) -> tuple[int, int]:
        """Throw away whatever is ready in any queue; how many waited, and how many were dead or to be retried."""
        return asyncio.run(self._purge())

    @contextmanager
    def scene(self, in_flight: int, *, tls: bool = False) -> Iterator[Scene]:
        """Surroundings for one competitor, with a folder of its own."""
        api = self.sink.tls_url if tls else self.sink.url
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield Scene(self.amqp_url, QUEUE, api, self.sink.authority, in_flight, Path(folder))

    @contextmanager
    def on_stage(self, competitor: Competitor, scene: Scene) -> Iterator["Performance"]:
        """Start a competitor; stop it at the end, by force if need be."""
        output = scene.folder / "output"
        path = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        begun = time.monotonic()
        with output.open("wb") as file, on_core(COMPETITOR if self._pin else None):
            process = subprocess.Popen(
                competitor.command,
                env=path | competitor.environ(scene),
                cwd=scene.folder,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        guard = Guard('kill -9 "$2"', str(process.pid))  # should this process be killed, nothing consumes for ever
        try:
            yield Performance(process, begun, output)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            guard.dismiss()

    async def _declare(self) -> None:
        async with await connect(self.amqp_url, "bench") as connection:
            await declare(connection, self._topology)

    async def _consumers(self) -> int:
        async with await connect(self.amqp_url, "bench") as connection:
            state = await queue_state(connection, QUEUE)
        return state.consumers if state else 0

    async def _purge(self) -> tuple[int, int]:
        purged = {}
        async with await connect(self.amqp_url, "bench") as connection, short_channel(connection) as channel:
            for queue in self._topology.queues:
                purged[queue.name] = (await channel.queue_purge(queue.name)).message_count or 0
        return purged.pop(QUEUE), sum(purged.values())


class Performance:
    """A competitor that runs: its process, when it was started (monotonic), and what it prints."""

    def __init__(self, process: subprocess.Popen[bytes], begun: float, output: Path) -> None:
        self.process, self.begun, self._output = process, begun, output

    def usage(self) -> Usage:
        """Its CPU and memory, with those of its children."""
        return usage(self.process.pid)

    def last_words(self) -> str:
        """The last line that it printed."""
        printed = self._output.read_text(errors="replace").split("\n")
        return next((line[:_LOG_END] for line in reversed(printed) if line.strip()), "nothing")
