"""Everything that reads what strangers send, on as many examples as time allows; `make fuzz` takes longer over it."""

from importlib import import_module
from pathlib import Path

import hypothesis
import pytest

from tests.fuzz.target import Run, Target
from tests.fuzz.targets import TARGETS

# Of the examples that are drawn here, always the same: whoever changes the code sees what the change broke.
SEED = 1


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_what_must_hold_does(target: Target) -> None:
    """Whatever arrives, no parser raises what it does not document, quotes customer data, or works without bounds."""
    print(f"make fuzz TARGET={target.name} SEED={SEED}")
    Run(target).examples(hypothesis.settings().max_examples, SEED)


def test_every_target_is_listed() -> None:
    """A module of this folder that has a target is among those which the tests and `make fuzz` run."""
    modules = [import_module(f"tests.fuzz.{path.stem}") for path in sorted(Path(__file__).parent.glob("[a-z]*.py"))]
    defined = {target.name for module in modules if isinstance(target := getattr(module, "TARGET", None), Target)}
    assert defined == {target.name for target in TARGETS}
    assert len(defined) == len(TARGETS)
