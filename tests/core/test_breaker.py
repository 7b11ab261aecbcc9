"""The breaker of an API as a value."""

import pytest

from consumer.core.breaker import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    WELL_SECONDS,
    WINDOW_SECONDS,
    Closed,
    Open,
    Probing,
    failed,
    opened,
    succeeded,
)

NEEDED = 5


def after(api: Closed, *orders: str, at: float = 100.0) -> Closed | Open | Probing:
    state: Closed | Open | Probing = api
    for name in orders:
        state = failed(state, name, at, NEEDED)
    return state


def test_it_opens_when_enough_different_orders_fail() -> None:
    """Five orders of five: open. Four: not yet."""
    assert isinstance(after(Closed(), *"abcd"), Closed)
    assert isinstance(after(Closed(), *"abcde"), Open)


def test_one_order_that_fails_again_and_again_opens_nothing() -> None:
    """Else an order that Neuroon cannot digest would stop all others."""
    assert isinstance(after(Closed(), *"aaaaaaaaaaaaaaaa"), Closed)


def test_as_many_successes_keep_it_closed() -> None:
    """A share of failures below a half is the orders' trouble, not the API's."""
    state = after(Closed(), *"abcd")
    for _ in range(6):
        state = succeeded(state, 100.0)
    assert isinstance(failed(state, "e", 100.0, NEEDED), Closed)


def test_failures_of_long_ago_are_forgotten() -> None:
    """What is older than the window does not add up with what is new."""
    state = after(Closed(), *"abcd")
    assert isinstance(failed(state, "e", 101.0 + WINDOW_SECONDS, NEEDED), Closed)


def test_a_healthy_api_costs_nothing() -> None:
    """Without failures, success changes nothing: not even a new value is made."""
    state = Closed()
    assert succeeded(state, 1.0) is state


def test_the_pauses_double_up_to_a_limit_and_begin_anew_after_a_good_while() -> None:
    """0.5, 1, 2, 4 s; and 0.5 s again for an API that was well for a minute."""
    state: Closed | Open | Probing = Closed(closed_at=1000.0)
    pauses = []
    for _ in range(8):
        state = opened(state, 1000.0)
        pauses.append(state.until - 1000.0)
    assert pauses[0] == FIRST_PAUSE
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    well = succeeded(Probing(8), 2000.0)
    assert isinstance(well, Closed)
    assert opened(well, 2001.0).until - 2001.0 == LONGEST_PAUSE
    assert opened(well, 2001.0 + WELL_SECONDS).until - 2001.0 - WELL_SECONDS == FIRST_PAUSE


@pytest.mark.parametrize("state", [Open(50.0, 1), Probing(1)])
def test_a_probe_decides_and_a_late_answer_does_not(state: Open | Probing) -> None:
    """While open, answers to earlier questions change nothing; while probing, the first one decides."""
    if isinstance(state, Open):
        assert succeeded(state, 60.0) is state
        assert failed(state, "a", 60.0, NEEDED) is state
    else:
        assert isinstance(succeeded(state, 60.0), Closed)
        assert isinstance(failed(state, "a", 60.0, NEEDED), Open)
