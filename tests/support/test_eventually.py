"""Waiting for a condition."""

import asyncio

import pytest

from tests.support.eventually import eventually


async def test_it_returns_what_the_condition_gave_once_that_is_truthy() -> None:
    """A condition that becomes true later is waited for, and its value handed on."""
    values = iter([0, None, "", "there"])
    assert await eventually(lambda: next(values)) == "there"


async def test_a_coroutine_function_is_awaited() -> None:
    """A condition may ask a broker, or anything else that must be awaited."""
    values = iter([False, True])

    async def condition() -> bool:
        await asyncio.sleep(0)
        return next(values)

    assert await eventually(condition)


async def test_an_assertion_that_fails_is_not_yet() -> None:
    """A condition may be written as assertions."""
    seen: list[int] = []

    def condition() -> list[int]:
        seen.append(1)
        assert len(seen) == 3
        return seen

    assert await eventually(condition) == [1, 1, 1]


async def test_what_never_comes_fails_with_what_was_awaited_and_what_came_last() -> None:
    """The message is enough to know what is missing."""
    with pytest.raises(AssertionError, match=r"three orders: not within 0\.05 s; last seen: 0"):
        await eventually(lambda: 0, timeout=0.05, what="three orders")


async def test_without_a_name_the_failure_shows_the_condition_itself() -> None:
    """A short condition needs no name of its own."""
    arrived: list[str] = []
    with pytest.raises(AssertionError, match=r'arrived == \["ORD-1"\]'):
        await eventually(lambda: arrived == ["ORD-1"], timeout=0.05)


async def test_a_bug_in_the_condition_passes_at_once() -> None:
    """Only a failed assertion counts as not yet."""
    with pytest.raises(ZeroDivisionError):
        await eventually(lambda: 1 / 0, timeout=60)
