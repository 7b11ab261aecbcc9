"""Waiting for a condition instead of for a while."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

_T = TypeVar("_T")
_POLL_SECONDS = 0.02


@overload
async def eventually(condition: Callable[[], Awaitable[_T]], *, timeout: float = ..., what: str = ...) -> _T: ...
@overload
async def eventually(condition: Callable[[], _T], *, timeout: float = ..., what: str = ...) -> _T: ...
async def eventually(condition: Callable[[], _T | Awaitable[_T]], *, timeout: float = 30.0, what: str = "") -> _T:
    """Wait until `condition` gives something truthy, and return it; a coroutine function will do as well.

    An assertion that fails inside counts as "not yet". After `timeout` seconds the test fails: the message tells `what`
    was awaited and what came last. Every other exception is a bug, and passes at once.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        seen: object
        try:
            given = condition()
            value = await given if inspect.isawaitable(given) else given
        except AssertionError as error:
            seen = error
        else:
            if value:
                return value
            seen = repr(value)
        if loop.time() > deadline:
            raise AssertionError(f"{what or _source(condition)}: not within {timeout:g} s; last seen: {seen}")
        await asyncio.sleep(_POLL_SECONDS)


def _source(condition: Callable[..., object]) -> str:
    try:
        return " ".join(inspect.getsource(condition).split())
    except (OSError, TypeError):
        return repr(condition)
