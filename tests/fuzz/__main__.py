"""`make fuzz`: each target for MINUTES, on examples that nobody has seen before. TARGET=name runs that one alone.

The seed of each target is printed; SEED= draws its examples again, the finding's among the first. A finding is printed,
and kept below .hypothesis/findings.
"""

import faulthandler
import os
import random
import sys
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.target import Run
from tests.fuzz.targets import TARGETS

# Hypothesis remembers what it has drawn in a run: runs of this many examples keep that small.
EXAMPLES = 1_000
# A run takes seconds; to shrink a finding, Hypothesis takes five minutes at most.
HANGING_SECONDS = 900.0

FINDINGS = Path(".hypothesis") / "findings"


@dataclass(frozen=True)
class Result:
    """What came of one target. `seed` draws the finding, if there is one, in the first run."""

    target: str
    executions: int
    seconds: float
    seed: int
    finding: str | None = None

    def __str__(self) -> str:
        end = "no findings" if self.finding is None else "1 finding"
        return f"{self.target:13} {self.executions:>9,} executions in {self.seconds:,.0f} s, {end}; seed {self.seed}"


def fuzz(name: str, seconds: float, seed: int) -> Result:
    """Runs of one target until the time is up, or until something is found."""
    warnings.simplefilter("error")  # as in the tests
    (target,) = (each for each in TARGETS if each.name == name)
    run, seeds, begin = Run(target), random.Random(seed), time.monotonic()
    drawn = seed
    while (spent := time.monotonic() - begin) < seconds:
        faulthandler.dump_traceback_later(HANGING_SECONDS, exit=True)
        try:
            run.examples(EXAMPLES, drawn)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            finding = "".join(traceback.format_exception(error))
            return Result(name, run.executions, time.monotonic() - begin, drawn, finding)
        drawn = seeds.randrange(2**32)
    faulthandler.cancel_dump_traceback_later()
    return Result(name, run.executions, spent, seed)


def report(result: Result) -> None:
    """Print it, and keep what was found."""
    print(result, flush=True)
    if result.finding is None:
        return
    FINDINGS.mkdir(parents=True, exist_ok=True)
    file = FINDINGS / f"{result.target}-{result.seed}.txt"
    again = f"make fuzz TARGET={result.target} SEED={result.seed}"
    file.write_text(f"{again}\n\n{result.finding}", "utf-8")
    print(f"{result.finding}\nkept in {file}; again: {again}\n", flush=True)


def main() -> int:
    """0 if nothing was found, 1 if something was, 2 if there is no such target."""
    names = [target.name for target in TARGETS]
    wanted = os.environ.get("TARGET")
    if wanted and wanted not in names:
        print(f"TARGET={wanted}: expected one of {', '.join(names)}", file=sys.stderr)
        return 2
    seconds = float(os.environ.get("MINUTES") or 10) * 60
    processes = int(os.environ.get("PROCESSES") or os.cpu_count() or 1)
    given = os.environ.get("SEED")
    with ProcessPoolExecutor(processes) as pool:
        started = [
            pool.submit(fuzz, name, seconds, int(given) if given else random.randrange(2**32))
            for name in ([wanted] if wanted else names)
        ]
        results = []
        for each in as_completed(started):
            results.append(each.result())
            report(results[-1])
    return 1 if any(result.finding for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
