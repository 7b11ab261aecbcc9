"""Orders that come one by one: how long each takes from its publishing to its arrival at the API."""

import time
from array import array
from dataclasses import dataclass
from pathlib import Path

from bench.harness.competitors import EVERYBODY, OURS, Competitor
from bench.harness.contest import Metric, Sample
from bench.harness.course import NoCourseError
from bench.harness.events import canonical
from bench.harness.figures import median, percentile
from bench.harness.publishing import Publisher
from bench.harness.stage import QUEUE, Performance, Stage
from bench.workloads.drain import DRAIN

_SECONDS = 12
_WARM_UP = 0.2
_START_SECONDS = 30.0
_ARRIVAL_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Orders at half the rate at which the slowest of `paced_by` drains a queue."""

    name: str
    title: str
    competitors: tuple[Competitor, ...]
    paced_by: tuple[Competitor, ...]
    runs: int | None = None
    metrics: tuple[Metric, ...] = (
        Metric("p50", "p50 ms", 1),
        Metric("p99", "p99 ms", 1),
        Metric("rate", "at orders/s"),
        Metric("peak", "peak MB"),
    )

    def measure(self, stage: Stage, competitor: Competitor) -> Sample:
        """Publish for 12 seconds; the first fifth is for warming up."""
        rate = self._rate(stage)
        orders = stage.orders(round(rate * _SECONDS))
        stage.empty()
        stage.sink.reset(orders, [orders], 0.0)
        with stage.scene(64) as scene, stage.on_stage(competitor, scene) as performance:
            await_consumer(stage, performance)
            with Publisher(stage.amqp_url) as publisher:
                due = publisher.pace(QUEUE, canonical(), orders, rate)
            stage.sink.next_mark(time.monotonic() + _ARRIVAL_SECONDS)
            peak = performance.usage().peak
            waits = _waits(stage, scene.folder / "times", due)
        if not waits:
            raise NoCourseError("nothing arrived")
        lost = orders - round(orders * _WARM_UP) - len(waits)
        figures = {"p50": median(waits), "p99": percentile(waits, 99), "rate": rate, "peak": peak}
        return Sample(figures, f"{lost:,} orders not in time" if lost else "")

    def _rate(self, stage: Stage) -> float:
        for each in self.paced_by:
            if each.absent() is None and each.name not in stage.drained:
                DRAIN.measure(stage, each)
        names = [each.name for each in self.paced_by if each.name in stage.drained]
        return min(median(stage.drained[name]) for name in names) / 2


def await_consumer(stage: Stage, performance: Performance) -> None:
    """Wait until the queue is consumed from; NoCourseError if that does not come to be."""
    deadline = time.monotonic() + _START_SECONDS
    while not stage.consumed():
        if time.monotonic() > deadline or performance.process.poll() is not None:
            raise NoCourseError(f"it does not consume; it said last: {performance.last_words()}")
        time.sleep(0.2)


def _waits(stage: Stage, file: Path, due: list[float]) -> list[float]:
    """Milliseconds of every order after the warm-up that arrived."""
    stage.sink.times(file)
    arrived = array("d", file.read_bytes())
    warm = round(len(due) * _WARM_UP)
    return [(at - since) * 1000 for at, since in list(zip(arrived, due, strict=True))[warm:] if at]


LATENCY = Latency(
    "latency", "From publishing to arrival, at half the rate of the slowest peer's drain", EVERYBODY, EVERYBODY
)
OWN_LATENCY = Latency("ownlatency", "The same at half the rate of this program's own drain", (OURS,), (OURS,))
