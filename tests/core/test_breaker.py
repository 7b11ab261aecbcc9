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
    answered,
    failed,
    opened,
    rested,
    succeeded,
    tells,
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


def test_an_answer_to_an_earlier_question_tells_nothing() -> None:
    """In an outage, orders that were posted before it are still answered; else they would speak for a dead API."""
    state = after(Closed(), "a", "b")
    assert isinstance(state, Closed)
    assert not tells(state, state.since - 0.1)
    assert tells(state, state.since)
    assert tells(Closed(), 0.0)
    assert tells(Probing(1), 0.0)


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


def probed(state: Open, *orders: str) -> Closed | Open | Probing:
    """One probe after the other, all of which fail; ends early when the API counts as up."""
    for name in orders:
        after_probe = failed(answered(state), name, 100.0, NEEDED)
        if not isinstance(after_probe, Open):
            return after_probe
        state = after_probe
    return state


@pytest.mark.parametrize("poison", ["a", "ab", "abc", "abcd"])
def test_the_same_few_orders_at_every_probe_are_to_blame_themselves(poison: str) -> None:
    """After an outage that the API itself told of: the second failure of the same order is its own."""
    assert isinstance(probed(opened(Closed(), 100.0), *poison), Open)
    assert isinstance(probed(opened(Closed(), 100.0), *poison, poison[0]), Closed)


@pytest.mark.parametrize("poison", ["a", "abcd"])
def test_what_is_left_of_a_real_outage_is_found_out_within_a_bound(poison: str) -> None:
    """Many orders opened it, all of them are delivered elsewhere, the few stay: within two rounds they are to blame."""
    tripped = after(Closed(), *"abcdefgh")
    assert isinstance(tripped, Open)
    assert isinstance(probed(tripped, *(poison * 2 * NEEDED)[: 2 * NEEDED]), Closed)


@pytest.mark.parametrize("waiting", ["abcde", "abcdefghijklmnop"])
def test_orders_that_take_turns_at_failing_tell_of_an_outage(waiting: str) -> None:
    """As many different ones as open the breaker, however often they come: none of them is to blame."""
    assert isinstance(probed(opened(Closed(), 100.0), *(waiting * 50)), Open)
    tripped = after(Closed(), *"abcde")
    assert isinstance(tripped, Open)
    assert isinstance(probed(tripped, *(waiting * 50)), Open)


def test_the_memory_of_probes_is_bounded() -> None:
    """A day of outage leaves no more behind than a minute."""
    state = probed(opened(Closed(), 100.0), *(f"ORD-{number}" for number in range(1000)))
    assert isinstance(state, Open)
    assert len(state.recent) == 2 * NEEDED


def test_an_api_that_answers_is_up_when_nothing_comes_to_try_it() -> None:
    """Unless as many orders as open the breaker have met it down, and none has met it up."""
    assert isinstance(rested(Probing(3, ("a",)), 100.0, NEEDED), Closed)
    many = Probing(3, tuple("abcde"))
    assert rested(many, 100.0, NEEDED) is many
