"""An API that takes its time: how near a program comes to orders in flight / latency, which is all that it could do."""

from dataclasses import dataclass

from bench.harness.competitors import EVERYBODY, Competitor
from bench.harness.contest import Metric, Sample
from bench.harness.course import Plan, run
from bench.harness.events import canonical
from bench.harness.stage import Stage
from bench.workloads.drain import sample

_DELAY = 0.1
_LIMIT = 60.0
_IDEAL_SECONDS = 8


@dataclass(frozen=True, slots=True)
class Slow:
    """A drain through an API of 100 ms."""

    in_flight: int
    competitors: tuple[Competitor, ...] = EVERYBODY
    runs: int | None = None
    metrics: tuple[Metric, ...] = (
        Metric("rate", "orders/s", more_is_better=True),
        Metric("share", "% of possible", more_is_better=True),
        Metric("cpu", "CPU µs/order"),
        Metric("peak", "peak MB"),
    )

    @property
    def name(self) -> str:
        """As slow500."""
        return f"slow{self.in_flight}"

    @property
    def title(self) -> str:
        """With what is possible at most."""
        return f"An API of 100 ms, {self.in_flight} in flight: {self.in_flight / _DELAY:,.0f} orders/s are possible"

    def measure(self, stage: Stage, competitor: Competitor) -> Sample:
        """One drain; as many orders as would take 8 seconds at best."""
        possible = self.in_flight / _DELAY
        orders = stage.orders(round(possible * _IDEAL_SECONDS))
        # The warm-up has every connection open: it is several rounds of all that is in flight.
        plan = Plan(canonical(), orders, (1, orders // 10), self.in_flight, _DELAY, limit=_LIMIT)
        found = sample(run(stage, plan, competitor))
        if "rate" in found.figures:
            found.figures["share"] = found.figures["rate"] / possible * 100
        return found
