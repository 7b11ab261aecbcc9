"""How many pods and queues a peak needs, from what one order costs.

    .venv/bin/python -m bench.model --peak 5000 --latency 0.1

The costs are those of docs/performance.md; measure yours with `make bench ARGS=drain`.
"""

import argparse
import math
from dataclasses import dataclass

# Of a core, at the peak: a queue that is emptied no faster than it fills never gets empty.
UTILISATION = 0.7


@dataclass(frozen=True, slots=True)
class Load:
    """Orders a second at the peak, and the seconds that Neuroon takes to answer one."""

    peak: float
    latency: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU an order: in the consumer, whose event loop has one core, and at the queue's leader."""

    consumer: float
    broker: float


@dataclass(frozen=True, slots=True)
class Need:
    """Consumers, orders in flight in each of them, and queues."""

    pods: int
    in_flight: int
    queues: int


def need(load: Load, cost: Cost, concurrency: int) -> Need:
    """What `load` takes; with `concurrency` in flight at the most in one consumer.

    Little's law: as many orders are in flight as come while one is answered. A quorum queue is one Erlang process, so
    that one core is what it can have; past it a consistent-hash exchange spreads the orders over several.
    """
    by_cpu = load.peak * cost.consumer / 1e6 / UTILISATION
    in_flight = load.peak * load.latency / UTILISATION
    pods = max(1, math.ceil(by_cpu), math.ceil(in_flight / concurrency))
    queues = max(1, math.ceil(load.peak * cost.broker / 1e6 / UTILISATION))
    return Need(max(pods, queues), max(1, math.ceil(in_flight / max(pods, queues))), queues)


def main() -> None:
    """Print what is needed."""
    parser = argparse.ArgumentParser(prog="python -m bench.model", description=__doc__)
    parser.add_argument("--peak", type=float, required=True, help="orders a second")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds that Neuroon takes to answer (0.1)")
    parser.add_argument("--consumer", type=float, default=170.0, help="microseconds of CPU an order (170)")
    parser.add_argument("--broker", type=float, default=20.0, help="the same at the broker (20)")
    parser.add_argument("--concurrency", type=int, default=64, help="CONSUMER_CONCURRENCY (64)")
    chosen = parser.parse_args()
    found = need(Load(chosen.peak, chosen.latency), Cost(chosen.consumer, chosen.broker), chosen.concurrency)
    print(f"{found.pods} pods, {found.in_flight} in flight in each, {found.queues} queue(s)")


if __name__ == "__main__":
    main()
