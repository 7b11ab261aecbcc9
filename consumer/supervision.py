"""Supervision of background tasks: one that fails is logged, counted and restarted after a pause.

The pause doubles with each failure in a row, up to a bound: a task that always fails costs one log line a minute. A
failure is an exception, the return of a task that should run for ever, or a CancelledError without a cancellation:
client libraries leak those of their own tasks.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import structlog

log = structlog.get_logger(__name__)

# Failures in a row from which a task counts as failing. One failure and a working restart is an event, not a state.
FAILURES = 2
CANCEL_AGAIN_SECONDS = 0.1


class TaskName(StrEnum):
    """Every supervised task; the label `task` of the metric."""

    SHOPS = "shops"
    HEALTH = "health"
    QUEUE_METRICS = "queue_metrics"
    BALANCE = "balance"
    LEDGER_WRITES = "ledger_writes"
    LEDGER_LOOKUPS = "ledger_lookups"
    API_RECOVERY = "api_recovery"
    SURROUNDINGS = "surroundings"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds before a failed task is restarted: `first`, then twice as long each time, up to `longest`.

    A task that has not failed for `steady` seconds has recovered, and its next failure is the first of a row again.
    That must be longer than any task rests between two rounds of work; the balance rests for 300 s or more.
    """

    first: float = 1.0
    longest: float = 60.0
    steady: float = 600.0


@dataclass(frozen=True, slots=True)
class Streak:
    """Failures of one task in a row: how many, when the first and the last, and the type of the last exception."""

    times: int
    since: float
    last: float
    error: str

    def describe(self, now: float) -> str:
        """In words, without the text of the exception, which may quote data. `now` is a time of the same clock."""
        last = f"last {now - self.last:.0f} s ago ({self.error})"
        return f"has been failing for {now - self.since:.0f} s: {self.times} failures, {last}"


class Supervisor:
    """Keeps background tasks running. `count` is called at each failure; `clock` returns seconds that only go up."""

    def __init__(
        self,
        count: Callable[[TaskName], None] = lambda _: None,
        pauses: Pauses = Pauses(),
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._count, self._pauses, self._clock, self._sleep = count, pauses, clock, sleep
        self._streaks: dict[TaskName, Streak] = {}

    def start(
        self,
        task: TaskName,
        run: Callable[[], Coroutine[Any, Any, None]],
        on_failure: Callable[[], None] = lambda: None,
        *,
        ends: bool = False,
    ) -> asyncio.Task[None]:
        """Call `run`, and again after each failure, until the task is cancelled; with `ends`, until `run` returns.

        `on_failure` is called before the pause, to withdraw what the task had reported or to release what waits for it.
        """
        return asyncio.create_task(self._keep_running(task, run, on_failure, ends=ends), name=task)

    def failed(self, task: TaskName, error: BaseException | None) -> float:
        """Log and count a failure; None means that the task returned. Gives the seconds to wait before the restart.

        Threads that restart themselves call it too.
        """
        now, kind = self._clock(), "returned" if error is None else type(error).__name__
        streak = self._streaks.get(task)
        if streak is None or now - streak.last >= self._pauses.steady:
            streak = Streak(0, now, now, kind)
        streak = self._streaks[task] = replace(streak, times=streak.times + 1, last=now, error=kind)
        pause = min(self._pauses.first * 2.0 ** min(streak.times - 1, 30), self._pauses.longest)
        self._count(task)
        log.error(
            "background task failed",
            task=task.value,
            failures=streak.times,
            retry_in_seconds=pause,
            error=kind,
            exc_info=error,
        )
        return pause

    def failing(self) -> Mapping[TaskName, str]:
        """The tasks that keep failing, each with a description."""
        now = self._clock()
        return {
            task: streak.describe(now)
            for task, streak in dict(self._streaks).items()  # a copy: threads add to it
            if streak.times >= FAILURES and now - streak.last < self._pauses.steady
        }

    async def _keep_running(
        self,
        task: TaskName,
        run: Callable[[], Coroutine[Any, Any, None]],
        on_failure: Callable[[], None],
        *,
        ends: bool,
    ) -> None:
        while True:
            error: BaseException | None = None
            try:
                await run()
            except (Exception, asyncio.CancelledError) as caught:  # noqa: BLE001 - whatever it is, it is logged
                error = caught
            if _cancelled_by_us() or (ends and error is None):
                return
            pause = self.failed(task, error)
            try:
                on_failure()
            except Exception as another:  # noqa: BLE001 - it must not end what keeps the task running
                pause = self.failed(task, another)
            await self._sleep(pause)


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until all have ended.

    A cancellation can be lost, so it is repeated: `asyncio.wait_for` of Python 3.11, which the AMQP client calls, drops
    one that arrives together with its result. A task that then goes on to a pause of minutes would hold up a shutdown.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)


def _cancelled_by_us() -> bool:
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0
