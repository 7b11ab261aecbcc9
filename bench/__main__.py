"""`make bench`: this program beside what others would write in its place, on one machine."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.harness.contest import Result, Workload, hold
from bench.harness.cores import SURROUNDINGS, on_core
from bench.harness.machine import facts
from bench.harness.record import write
from bench.harness.stage import Stage
from bench.harness.table import for_terminal
from bench.workloads import WORKLOADS
from consumer.devbroker import PrivateBroker

RESULTS = Path(__file__).parent / "results"
_WIDTH = 120  # of tables that go into a file


def main() -> None:
    """Measure what was asked for; show it, and keep it."""
    chosen = _arguments(sys.argv[1:])
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    results: list[Result] = []
    written: list[Path] = []
    with (
        on_core(SURROUNDINGS if chosen.pin else None),
        PrivateBroker() as broker,
        Stage(broker.url, quick=chosen.quick, pin=chosen.pin, backlog=chosen.backlog) as stage,
    ):
        found = facts(broker) | {"pinned": chosen.pin, "quick": chosen.quick}
        for workload in _asked(chosen.workloads):
            competitors = tuple(each for each in workload.competitors if chosen.only in each.name)
            results.append(hold(stage, workload, competitors, chosen.runs, _say))
            console.print(for_terminal(results[-1]), "")
            # After each one: whoever stops a long benchmark keeps what there is.
            written = write(RESULTS, found, results)
    _say(f"written to {RESULTS}: {', '.join(file.name for file in written)}")


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    names = ", ".join(each.name for each in WORKLOADS)
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"{names}; all by default")
    parser.add_argument("--runs", type=int, default=3, help="how often each is measured; the medians are shown (3)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the orders: to see that it works")
    parser.add_argument("--pin", action="store_true", help="the competitor alone on core 0, all else on core 1")
    parser.add_argument("--only", default="", metavar="TEXT", help="only competitors whose name holds this")
    parser.add_argument("--backlog", type=int, default=1_000_000, metavar="N", help="orders of the backlog")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.workloads) - {each.name for each in WORKLOADS}:
        parser.error(f"no such workload: {', '.join(sorted(unknown))}. There are: {names}")
    return chosen


def _asked(names: Sequence[str]) -> list[Workload]:
    return [each for each in WORKLOADS if not names or each.name in names]


def _say(text: str) -> None:
    """Progress, apart from the results."""
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
