"""100,000 dead letters: what an operator waits for. bench/deadletters.py by itself measures more of the commands."""

import os
from dataclasses import dataclass

from bench import deadletters
from bench.harness.competitors import OURS, Competitor
from bench.harness.contest import Metric, Sample
from bench.harness.stage import Stage
from consumer.devbroker import PrivateBroker

_LETTERS = 100_000


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """A summary of all, and a replay of all; with the default names of queues, hence at a broker of its own."""

    name: str = "deadletters"
    title: str = "Many dead letters: `dlq summary`, and `dlq replay --all`"
    competitors: tuple[Competitor, ...] = (OURS,)
    runs: int | None = 1
    metrics: tuple[Metric, ...] = (
        Metric("replayed", "replayed/s", more_is_better=True),
        Metric("letters", "of letters"),
        Metric("replay_memory", "replay, MB"),
        Metric("summary", "summary, s", 1),
        Metric("summary_memory", "summary, MB"),
    )

    def measure(self, stage: Stage, competitor: Competitor) -> Sample:
        """Both commands once."""
        letters = stage.orders(_LETTERS)
        with PrivateBroker() as broker:
            environ = os.environ | {"AMQP_URL": broker.url}
            deadletters.put(broker.url, letters)
            summary = deadletters.measure(environ, "summary", "summary")
            audit = str(stage.folder / "audit.jsonl")
            replay = deadletters.measure(environ, "replay of all", "replay", "--all", "--yes", "--audit", audit)
        figures = {
            "replayed": replay["done"] / replay["seconds"],
            "letters": letters,
            "replay_memory": replay["memory"],
            "summary": summary["seconds"],
            "summary_memory": summary["memory"],
        }
        return Sample(figures, f"{replay['failed']:,} failed" if replay["failed"] else "")
