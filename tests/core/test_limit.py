"""The limit of orders under way: up by steps, down by shares."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.core.limit import DECREASE, Limit


def test_a_healthy_api_is_never_throttled() -> None:
    """At the ceiling a success changes nothing, not even the object."""
    limit = Limit.full(64)
    assert limit.grown() is limit


def test_trouble_takes_a_share_once_a_round() -> None:
    """Of the many that were under way when it began only the first counts."""
    limit = Limit.full(100).shrunk(begun=10.0, now=11.0)
    assert limit.value == 100 * DECREASE
    assert limit.shrunk(begun=10.5, now=12.0) is limit
    assert limit.shrunk(begun=11.5, now=12.0).value < limit.value


def test_above_the_threshold_a_round_adds_one() -> None:
    """`value` successes make one more; TCP's congestion avoidance."""
    limit = Limit(100, 50.0, 50.0)
    for _ in range(50):
        limit = limit.grown()
    assert 50.9 < limit.value < 51.1


def test_after_an_outage_it_doubles_with_every_round() -> None:
    """From 1 to 64 within 63 successes: six rounds."""
    limit = Limit.full(64).shrunk(0.0, 1.0).restarted()
    assert limit.value == 1
    for _ in range(63):
        limit = limit.grown()
    assert limit.value == 64


@given(st.integers(1, 500), st.lists(st.booleans(), max_size=200))
def test_it_stays_between_one_and_the_ceiling(ceiling: int, course: list[bool]) -> None:
    """Whatever happens, at least one order may be under way and at most as many as configured."""
    limit = Limit.full(ceiling)
    for moment, good in enumerate(course):
        limit = limit.grown() if good else limit.shrunk(moment, moment)
        assert 1 <= limit.value <= ceiling
