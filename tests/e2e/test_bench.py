"""The benchmark itself, at its smallest."""

from dataclasses import replace

from bench.harness.competitors import OURS, TUTORIAL
from bench.harness.stage import Stage
from bench.workloads.drain import DRAIN


def test_a_drain_of_a_few_orders_is_measured(vhost: str) -> None:
    """By this program and by one peer: every order arrives once, is acknowledged, and has its price."""
    tiny = replace(DRAIN, orders=2_000)  # CPU is counted in ticks of 10 ms, and the broker takes 20 us an order
    with Stage(vhost) as stage:
        for competitor in (OURS, TUTORIAL):
            found = tiny.measure(stage, competitor)
            assert found.note == ""
            assert found.figures["rate"] > 0
            assert found.figures["cpu"] > 0
            assert found.figures["broker"] > 0
