"""A workload measured: every competitor in turn, several times over, and the median of each figure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bench.harness.competitors import Competitor
from bench.harness.course import NoCourseError
from bench.harness.figures import median
from bench.harness.stage import Stage


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of a workload: its key in a sample, its column, how many digits, and whether more is better."""

    key: str
    title: str
    digits: int = 0
    more_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one run, by a metric's key, and a word about it where one is due."""

    figures: dict[str, float]
    note: str = ""


class Workload(Protocol):
    """Something to be measured. The first metric is the one whose ratio is shown."""

    @property
    def name(self) -> str:
        """One word, by which it is asked for."""

    @property
    def title(self) -> str:
        """What is done, in a line."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The columns."""

    @property
    def competitors(self) -> tuple[Competitor, ...]:
        """The rows; all ratios are to the first peer, or where there is none to the first of all."""

    @property
    def runs(self) -> int | None:
        """How often; None for as often as asked."""

    def measure(self, stage: Stage, competitor: Competitor) -> Sample:
        """One run."""


@dataclass(slots=True)
class Row:
    """A competitor's medians in a workload, the samples that they are of, and why there are none, if so."""

    competitor: Competitor
    medians: dict[str, float] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    absent: str | None = None

    @property
    def note(self) -> str:
        """The words about its runs, each once."""
        return self.absent or "; ".join(dict.fromkeys(sample.note for sample in self.samples if sample.note))


@dataclass(frozen=True, slots=True)
class Result:
    """A workload and its rows."""

    workload: Workload
    rows: list[Row]


def hold(
    stage: Stage, workload: Workload, competitors: tuple[Competitor, ...], runs: int, say: Callable[[str], None]
) -> Result:
    """Measure A B C A B C, so that what else the machine does hits all alike."""
    rows = {each: Row(each, absent=each.absent()) for each in competitors}
    rounds = workload.runs or runs
    for number in range(rounds):
        for competitor, row in rows.items():
            if row.absent is None:
                say(f"{workload.name}: {competitor.name}, run {number + 1} of {rounds}")
                row.samples.append(_measured(stage, workload, competitor))
    for row in rows.values():
        row.medians = medians([sample.figures for sample in row.samples])
    return Result(workload, list(rows.values()))


def medians(samples: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure over the samples that have it."""
    keys = dict.fromkeys(key for sample in samples for key in sample)
    return {key: median([sample[key] for sample in samples if key in sample]) for key in keys}


def _measured(stage: Stage, workload: Workload, competitor: Competitor) -> Sample:
    """A competitor that delivers nothing loses the run; it does not end the benchmark."""
    try:
        return workload.measure(stage, competitor)
    except NoCourseError as error:
        return Sample({}, str(error))
