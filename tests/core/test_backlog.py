"""The age of what waits: never told smaller than it is, by what was seen of a queue that hands out the oldest first."""

import math
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from consumer.core.backlog import Backlog


def test_nothing_is_known_before_anything_was_seen() -> None:
    """Unknown is no number, least of all zero."""
    backlog = Backlog()
    assert math.isnan(backlog.age(100))
    backlog.counted(5, 100)
    assert math.isnan(backlog.age(100))
    backlog.taken(90, 100)
    backlog.counted(math.nan, 110)
    assert math.isnan(backlog.age(120))


def test_an_empty_queue_has_no_age_and_a_new_order_no_old_one() -> None:
    """After an idle night the first order that waits is not as old as the last one that was taken."""
    backlog = Backlog()
    backlog.taken(100, 101)
    backlog.counted(0, 30_000)
    assert backlog.age(30_010) == 0
    backlog.counted(3, 30_015)
    assert backlog.age(30_020) == 20


def test_a_clock_that_was_a_year_ahead_hides_no_age() -> None:
    """The queue was empty next year; set right, the age of what waits counts from that moment on."""
    backlog = Backlog()
    backlog.counted(0, 1e8)
    backlog.counted(3, 500)
    assert backlog.age(500) == 0
    assert backlog.age(560) == 60
    backlog.taken(550, 561)
    assert backlog.age(561) == 11


def test_it_grows_while_nothing_is_taken_and_shrinks_with_the_backlog() -> None:
    """It counts from the newest order taken; an older one that came back tells nothing."""
    backlog = Backlog()
    backlog.counted(9, 500)
    backlog.taken(400, 500)
    assert backlog.age(500) == 100
    assert backlog.age(560) == 160
    backlog.taken(550, 561)
    backlog.taken(10, 561)
    assert backlog.age(561) == 11


def test_without_timestamps_it_is_unknown_until_the_queue_is_empty() -> None:
    """An order that does not say when it was published makes it unknown, as long as others wait behind it."""
    backlog = Backlog()
    backlog.counted(0, 100)
    backlog.counted(5, 115)
    assert backlog.age(120) == 20  # since it was seen empty nothing was taken
    backlog.taken(None, 121)
    assert math.isnan(backlog.age(122))
    backlog.counted(0, 130)
    assert backlog.age(130) == 0
    backlog.counted(2, 145)
    assert backlog.age(145) == 15


def test_a_publisher_ahead_of_us_makes_it_count_from_the_taking() -> None:
    """A timestamp in the future counts as now."""
    backlog = Backlog()
    backlog.counted(5, 100)
    backlog.taken(10_000, 100)
    assert backlog.age(160) == 60


@given(st.lists(st.tuples(st.sampled_from(["publish", "take", "count"]), st.integers(1, 1000)), max_size=200))
def test_no_waiting_order_is_older_than_told(steps: list[tuple[str, int]]) -> None:
    """Whatever is published, taken and counted, in whatever order and after whatever waits."""
    backlog, queue, now = Backlog(), deque[int](), 0
    for step, seconds in steps:
        now += seconds
        if step == "publish":
            queue.append(now)
        elif step == "take" and queue:
            backlog.taken(queue.popleft(), now)
        elif step == "count":
            backlog.counted(len(queue), now)
            told = backlog.age(now)
            assert math.isnan(told) or not queue or told >= now - queue[0]
