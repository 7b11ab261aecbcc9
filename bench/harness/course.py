"""One run of one competitor over a full queue: what had happened at each mark."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.harness.competitors import Competitor
from bench.harness.stage import Performance, Stage
from bench.harness.usage import Usage, usage

# Between the last arrival and the acknowledgement of the last message; the longest delay of the sink comes on top.
_SETTLE_SECONDS = 1.0
# How often it is looked whether a competitor still runs.
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Point:
    """So many distinct orders had arrived at monotonic second `at`, for so much CPU of everybody until then."""

    orders: int
    at: float
    usage: Usage
    broker_cpu: float
    sink_cpu: float


@dataclass(frozen=True, slots=True)
class Course:
    """The points of a run, and how it ended.

    `unsettled` orders had arrived and were not acknowledged; `failed` ones are dead or wait for a retry.
    """

    begun: float
    points: tuple[Point, ...]
    finished: bool
    duplicates: int
    keyless: int
    unsettled: int
    failed: int

    @property
    def note(self) -> str:
        """What must be said beside the figures; empty when all went as it should."""
        notes = [
            (not self.finished, f"only {self.points[-1].orders:,} orders in time"),
            (self.unsettled > 0, f"{self.unsettled:,} not acknowledged"),
            (self.failed > 0, f"{self.failed:,} dead or to be retried"),
            (self.duplicates > 0, f"{self.duplicates:,} posted twice"),
            (self.keyless > 0, f"{self.keyless:,} without the key"),
        ]
        return ", ".join(text for applies, text in notes if applies)


class NoCourseError(Exception):
    """Nothing arrived at all; the message ends with the competitor's last words."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`orders` of one `template` with so many in flight, each answered after `delay` seconds, in `limit` seconds."""

    template: bytes
    orders: int
    marks: tuple[int, ...]
    in_flight: int = 64
    delay: float = 0.0
    tls: bool = False
    limit: float = 30.0


def run(stage: Stage, plan: Plan, competitor: Competitor) -> Course:
    """Fill the queue, start the competitor, follow it to the last order or the limit; NoCourseError for no order."""
    stage.empty()
    stage.fill(plan.template, plan.orders)
    stage.sink.reset(plan.orders, [*plan.marks, plan.orders], plan.delay)
    with contextlib.ExitStack() as stack:
        performances = []
        for _ in range(competitor.processes):
            scene = stack.enter_context(stage.scene(plan.in_flight, tls=plan.tls))
            performances.append(stack.enter_context(stage.on_stage(competitor, scene)))
        points = tuple(_points(stage, plan, performances))
        if not points[-1].orders:
            raise NoCourseError(f"nothing arrived; it said last: {performances[0].last_words()}")
        finished = points[-1].orders == plan.orders
        if finished:
            time.sleep(_SETTLE_SECONDS + plan.delay)
    report = stage.sink.report()
    waiting, failed = stage.empty()
    duplicates, keyless = int(report["duplicates"]), int(report["keyless"])
    return Course(performances[0].begun, points, finished, duplicates, keyless, waiting if finished else 0, failed)


def _points(stage: Stage, plan: Plan, performances: list[Performance]) -> Iterator[Point]:
    deadline = time.monotonic() + plan.limit
    while (now := time.monotonic()) < deadline and all(each.process.poll() is None for each in performances):
        mark = stage.sink.next_mark(min(deadline, now + _LOOK_SECONDS))
        if mark is not None:
            yield _point(stage, performances, mark.orders, mark.at, mark.cpu)
            if mark.orders == plan.orders:
                return
    report = stage.sink.report()
    yield _point(stage, performances, int(report["distinct"]), report["at"], report["cpu"])


def _point(stage: Stage, performances: list[Performance], orders: int, at: float, sink_cpu: float) -> Point:
    found = [each.usage() for each in performances]
    whole = Usage(*(sum(values) for values in zip(*((u.cpu, u.memory, u.peak) for u in found), strict=True)))
    broker = usage(stage.broker_pid).cpu if stage.broker_pid is not None else 0.0
    return Point(orders, at, whole, broker, sink_cpu)
