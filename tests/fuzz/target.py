"""A target: what is drawn, and what must hold for everything that is drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis
from hypothesis.strategies import SearchStrategy


@dataclass(frozen=True)
class Target:
    """`check` raises, an AssertionError or whatever the code under test raised, where something does not hold."""

    name: str
    cases: SearchStrategy[Any]
    check: Callable[[Any], None]


class Run:
    """Examples of one target. `executions` counts them, those that shrink a finding included."""

    def __init__(self, target: Target) -> None:
        self.executions = 0
        self._target = target

    def examples(self, number: int, seed: int) -> None:
        """Check this many examples; the same seed draws the same ones. Raises what the smallest failing one raised."""

        @hypothesis.settings(
            max_examples=number,
            database=None,  # the seed alone decides what is drawn
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            print_blob=False,
        )
        @hypothesis.seed(seed)
        @hypothesis.given(self._target.cases)
        def check(case: object) -> None:
            self._check(case)

        check()

    def _check(self, case: object) -> None:
        self.executions += 1
        try:
            self._target.check(case)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as panic:  # of a library in Rust; Hypothesis would not take it for a failing example
            raise AssertionError(f"{type(panic).__name__}: {panic}") from panic
