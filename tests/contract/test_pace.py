"""How often batches begin."""

import asyncio
import itertools

import pytest

from consumer.adapters import pace
from consumer.adapters.pace import ENOUGH, Pace

HOUR = 3600.0


async def test_the_first_after_a_rest_begins_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lone order waits for nobody, neither the very first nor one after a rest."""
    turns = Pace()
    monkeypatch.setattr(pace, "PACE_SECONDS", 0.01)
    await turns.turn()
    await asyncio.sleep(0.02)
    monkeypatch.setattr(pace, "PACE_SECONDS", HOUR)
    async with asyncio.timeout(30):
        await turns.turn()


async def test_no_two_in_one_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a row they begin one pace apart at least."""
    monkeypatch.setattr(pace, "PACE_SECONDS", 0.05)
    loop, turns, begun = asyncio.get_running_loop(), Pace(), []
    for _ in range(4):
        await turns.turn()
        begun.append(loop.time())
    assert all(later - earlier >= 0.049 for earlier, later in itertools.pairwise(begun))


async def test_a_batch_that_is_large_enough_begins_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few wait for more to come; enough of them do not, however soon after the last batch."""
    monkeypatch.setattr(pace, "PACE_SECONDS", HOUR)
    turns = Pace()
    await turns.turn()
    waiting = asyncio.create_task(turns.turn())
    await asyncio.sleep(0)
    turns.gathered(ENOUGH - 1)
    await asyncio.sleep(0)
    assert not waiting.done()
    turns.gathered(ENOUGH)
    async with asyncio.timeout(30):
        await waiting
