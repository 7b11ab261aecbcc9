"""An event loop without clock and network: it runs what is ready, and whoever drives it says when a timer fires."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, cast

# A longer timer only guards against what never answers. Here everything is answered in the end, and it never fires.
GUARD_SECONDS = 20.0


class StepLoop:
    """Of an event loop, what tasks, futures and timers use. `run_ready` returns when all wait for something outside."""

    def __init__(self) -> None:
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[asyncio.TimerHandle] = []
        self._myself = cast("asyncio.AbstractEventLoop", self)

    def run_ready(self) -> None:
        """Run callbacks until none is ready."""
        while self._ready:
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        """Timers that may fire, the one that was set first in front."""
        self._timers = [each for each in self._timers if not each.cancelled()]
        return self._timers

    def fire_timer(self) -> None:
        """Fire the timer that was set first."""
        self.timers.pop(0)._run()

    def time(self) -> float:
        return 0.0

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self._myself, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self._myself, context)
        if when < GUARD_SECONDS:
            self._timers.append(timer)
        return timer

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if delay > 0:
            return self.call_at(delay, callback, *args, context=context)
        timer = asyncio.TimerHandle(0.0, callback, args, self._myself, context)
        self._ready.append(timer)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Asked for by TimerHandle.cancel; `timers` leaves them out."""

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self._myself)

    def create_task(self, coro: Any, **named: Any) -> "asyncio.Task[Any]":
        return asyncio.Task(coro, loop=self._myself, **named)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tasks of a killed process are dropped while they wait: nothing to report."""
