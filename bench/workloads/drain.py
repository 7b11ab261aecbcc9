"""A full queue, emptied as fast as can be into an API that answers at once: what the program itself costs."""

from dataclasses import dataclass

from bench.harness.competitors import EVERYBODY, OURS, OURS_FORGETFUL, OURS_SHOPIFY, OURS_TWICE, Competitor
from bench.harness.contest import Metric, Sample
from bench.harness.course import Course, Plan, run
from bench.harness.events import canonical, shopify
from bench.harness.stage import Stage

COST = (
    Metric("rate", "orders/s", more_is_better=True),
    Metric("cpu", "CPU µs/order"),
    Metric("peak", "peak MB"),
    Metric("broker", "broker µs/order"),
    Metric("sink", "sink µs/order"),
)


@dataclass(frozen=True, slots=True)
class Drain:
    """Rate and CPU from the end of the warm-up, a tenth of the orders, to the last order or the limit."""

    name: str
    title: str
    competitors: tuple[Competitor, ...] = EVERYBODY
    tls: bool = False
    orders: int = 20_000
    metrics: tuple[Metric, ...] = COST
    runs: int | None = None

    def measure(self, stage: Stage, competitor: Competitor) -> Sample:
        """One drain."""
        found = sample(run(stage, self._plan(stage.orders(self.orders), competitor), competitor))
        if not self.tls and "rate" in found.figures:
            stage.drained.setdefault(competitor.name, []).append(found.figures["rate"])
        return found

    def _plan(self, orders: int, competitor: Competitor) -> Plan:
        template = shopify() if competitor == OURS_SHOPIFY else canonical()
        return Plan(template, orders, (1, orders // 10), tls=self.tls)


def sample(course: Course) -> Sample:
    """What a course of marks (first order, end of the warm-up, last order) says between the last two."""
    warm = course.points[1 if len(course.points) > 2 else 0]  # noqa: PLR2004 - all three were reached
    last = course.points[-1]
    orders = last.orders - warm.orders
    figures = {"peak": last.usage.peak}
    if orders > 0:
        figures |= {
            "rate": orders / (last.at - warm.at),
            "cpu": (last.usage.cpu - warm.usage.cpu) / orders * 1e6,
            "broker": (last.broker_cpu - warm.broker_cpu) / orders * 1e6,
            "sink": (last.sink_cpu - warm.sink_cpu) / orders * 1e6,
        }
    return Sample(figures, course.note)


DRAIN = Drain("drain", "Drain a full queue into an API that answers at once, 64 in flight")
TLS = Drain("tls", "The same over TLS", tls=True)
PAIR = Drain("pair", "Two processes share the work of a drain", (OURS, OURS_TWICE))
MAPPING = Drain("mapping", "A drain of Shopify's orders/paid beside the canonical event", (OURS, OURS_SHOPIFY))
LEDGER = Drain("ledger", "A drain with the ledger in an SQLite file, and without one", (OURS_FORGETFUL, OURS))
