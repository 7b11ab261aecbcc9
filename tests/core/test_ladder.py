"""The retry ladder: which rung follows which try, and through which queues a wait is walked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.ladder import JITTER_SHARE, OVERSHOOT, Ladder, Rung

RUNGS = (Rung("5s", 5), Rung("30s", 30), Rung("2m", 120), Rung("10m", 600), Rung("1h", 3600))
LADDER = Ladder(RUNGS, hold=Rung("1m", 60), max_hold=7 * 86400)


def test_an_order_is_tried_once_more_than_there_are_rungs() -> None:
    """Once, and once after each rung."""
    assert LADDER.tries == 6
    assert Ladder(RUNGS[:1], LADDER.hold, 1).tries == 2


def test_the_rungs_are_climbed_in_order() -> None:
    """The first follows the first try; past the top there is the last."""
    assert [LADDER.rung(attempt) for attempt in range(1, 6)] == list(RUNGS)
    assert LADDER.rung(6) == LADDER.rung(1_000_000) == RUNGS[-1]


def test_jitter_only_lengthens() -> None:
    """A quarter of the draws adds each of the shorter rungs alike; all others wait just their rung."""
    assert [LADDER.jittered(3, draw / 100) for draw in (0, 12, 13, 24, 25, 99)] == [125, 125, 150, 150, 120, 120]


def test_the_shortest_rung_is_lengthened_by_itself() -> None:
    """Having no shorter one."""
    assert LADDER.jittered(1, 0.1) == 10
    assert LADDER.jittered(1, JITTER_SHARE) == 5


@given(st.integers(1, 10), st.floats(0, 1, exclude_max=True))
def test_any_draw_gives_the_rung_or_more(attempt: int, draw: float) -> None:
    """Never less than the rung, and never twice as much, but for the first."""
    wait, rung = LADDER.jittered(attempt, draw), LADDER.rung(attempt).seconds
    assert rung <= wait <= 2 * rung
    assert wait == rung or draw < JITTER_SHARE


@pytest.mark.parametrize(
    ("wait", "name"),
    [
        *(
            (0, "5s"),
            (0.02, "5s"),
            (3, "5s"),
            (5, "5s"),
            (10, "5s"),
            (23.9, "5s"),
            (24, "30s"),
            (30, "30s"),
            (47, "30s"),
        ),
        *((48, "1m"), (60, "1m"), (96, "2m"), (599.98, "10m"), (3600, "1h"), (86400, "1h")),
    ],
)
def test_a_hop_is_the_longest_that_overshoots_by_little(wait: float, name: str) -> None:
    """Hold's queue among them; a wait shorter than every queue takes the shortest."""
    assert LADDER.hop(wait).name == name


@given(st.floats(0, 7 * 86400))
def test_hops_come_to_an_end_and_cover_the_wait(wait: float) -> None:
    """Walked to its end, a wait lasts at least as long as it should, and not a quarter of a rung longer."""
    walked, hops = 0.0, 0
    while walked < wait:
        walked += LADDER.hop(wait - walked).seconds
        hops += 1
    assert walked <= max(wait * OVERSHOOT, wait + 5)
    # As often through the longest queue as it fits; through each shorter one as often as it fits into the next longer.
    assert hops <= wait / 3600 + (6 + 5 + 2 + 2 + 6)
