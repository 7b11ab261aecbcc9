"""What a program costs before the first order and between orders."""

import time
from dataclasses import dataclass

from bench.harness.competitors import EVERYBODY, OURS, Competitor
from bench.harness.contest import Metric, Sample
from bench.harness.course import Plan, run
from bench.harness.events import canonical
from bench.harness.stage import Stage
from bench.workloads.latency import await_consumer

_SECONDS = 30
_CALM_SECONDS = 5.0  # what starting up leaves behind is over by then
_FEW = 100


@dataclass(frozen=True, slots=True)
class Start:
    """From the start of the process to the arrival of the first order, which waits for it."""

    name: str = "start"
    title: str = "From the start of the process to the first order at the API"
    competitors: tuple[Competitor, ...] = EVERYBODY
    runs: int | None = None
    metrics: tuple[Metric, ...] = (
        Metric("seconds", "seconds", 2),
        Metric("cpu", "CPU seconds", 2),
        Metric("memory", "MB"),
    )

    def measure(self, stage: Stage, competitor: Competitor) -> Sample:
        """One start."""
        course = run(stage, Plan(canonical(), _FEW, (1,)), competitor)
        first = course.points[0]
        figures = {"seconds": first.at - course.begun, "cpu": first.usage.cpu, "memory": first.usage.memory}
        return Sample(figures, course.note)


@dataclass(frozen=True, slots=True)
class Idle:
    """An empty queue."""

    name: str = "idle"
    title: str = "An empty queue"
    competitors: tuple[Competitor, ...] = (OURS,)
    runs: int | None = None
    metrics: tuple[Metric, ...] = (Metric("share", "% of a core", 2), Metric("memory", "MB"))

    def measure(self, stage: Stage, competitor: Competitor) -> Sample:
        """CPU over the time, which starting up is no part of."""
        stage.empty()
        with stage.scene(64) as scene, stage.on_stage(competitor, scene) as performance:
            await_consumer(stage, performance)
            time.sleep(_CALM_SECONDS)
            before, begun = performance.usage(), time.monotonic()
            time.sleep(stage.orders(_SECONDS))
            after, seconds = performance.usage(), time.monotonic() - begun
        return Sample({"share": (after.cpu - before.cpu) / seconds * 100, "memory": after.memory})
