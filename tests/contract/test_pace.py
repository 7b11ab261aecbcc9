"""How often batches begin."""

import itertools
from types import SimpleNamespace

import pytest

from consumer.adapters import pace
from consumer.adapters.pace import PACE_SECONDS, Pace


class Clock:
    """Stands in for asyncio: time passes when somebody sleeps, or when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def get_running_loop(self) -> SimpleNamespace:
        return SimpleNamespace(time=lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "asyncio", clock)
    return clock


async def test_the_first_after_a_rest_begins_at_once(clock: Clock) -> None:
    """A lone order waits for nobody, neither the very first nor one after a rest."""
    turns = Pace()
    await turns.turn()
    clock.now += PACE_SECONDS
    await turns.turn()
    assert clock.slept == []


async def test_no_two_in_one_pace(clock: Clock) -> None:
    """In a row they begin one pace apart, however long each takes of it."""
    turns = Pace()
    begun = []
    for _ in range(4):
        await turns.turn()
        begun.append(clock.now)
        clock.now += PACE_SECONDS / 4
    assert [later - earlier for earlier, later in itertools.pairwise(begun)] == pytest.approx([PACE_SECONDS] * 3)
    assert clock.slept == pytest.approx([PACE_SECONDS * 3 / 4] * 3)
