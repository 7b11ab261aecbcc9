"""The benchmark itself, at its smallest."""

from dataclasses import replace

from bench.harness.competitors import OURS, TUTORIAL
from bench.harness.stage import Stage
from bench.harness.usage import usage
from bench.workloads.drain import DRAIN


def test_a_drain_of_a_few_orders_is_measured(vhost: str) -> None:
    """By this program and by one peer: every order arrives once, is acknowledged, and has its price."""
    tiny = replace(DRAIN, orders=2_000)  # 100 us and more each: CPU is counted in ticks of 10 ms
    with Stage(vhost) as stage:
        for competitor in (OURS, TUTORIAL):
            found = tiny.measure(stage, competitor)
            assert found.note == ""
            assert found.figures["rate"] > 0
            assert found.figures["cpu"] > 0
        # The broker works in bursts shorter than a tick, and so few orders may fall between two; what it took to start
        # does not.
        assert stage.broker_pid is not None
        assert usage(stage.broker_pid).cpu > 0
