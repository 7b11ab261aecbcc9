"""A backlog of 1,000,000: rate and memory must be at its end what they were at its beginning."""

from dataclasses import dataclass
from itertools import pairwise

from bench.harness.competitors import OURS, Competitor
from bench.harness.contest import Metric, Sample
from bench.harness.course import Plan, Point, run
from bench.harness.events import small
from bench.harness.stage import Stage

_PARTS = 20
_SLOWEST = 100  # orders a second below which it is given up


@dataclass(frozen=True, slots=True)
class Backlog:
    """A long drain of small orders, looked at after every twentieth."""

    name: str = "backlog"
    title: str = "A long backlog, drained in twenty parts"
    competitors: tuple[Competitor, ...] = (OURS,)
    runs: int | None = 1
    metrics: tuple[Metric, ...] = (
        Metric("rate", "orders/s", more_is_better=True),
        Metric("slowest", "slowest part", more_is_better=True),
        Metric("fastest", "fastest part", more_is_better=True),
        Metric("orders", "of orders"),
        Metric("first", "MB after the first"),
        Metric("last", "MB at the end"),
        Metric("peak", "peak MB"),
    )

    def measure(self, stage: Stage, competitor: Competitor) -> Sample:
        """One drain."""
        orders = stage.orders(stage.backlog)
        part = orders // _PARTS
        plan = Plan(small(), orders, tuple(range(part, orders, part)), limit=60 + orders / _SLOWEST)
        course = run(stage, plan, competitor)
        points = course.points
        rates = [_rate(before, after) for before, after in pairwise(points)] or [0.0]
        figures = {
            "rate": _rate(points[0], points[-1]) if len(points) > 1 else 0.0,
            "orders": orders,
            "slowest": min(rates),
            "fastest": max(rates),
            "first": points[0].usage.memory,
            "last": points[-1].usage.memory,
            "peak": points[-1].usage.peak,
        }
        return Sample(figures, course.note)


def _rate(before: Point, after: Point) -> float:
    return (after.orders - before.orders) / (after.at - before.at)
