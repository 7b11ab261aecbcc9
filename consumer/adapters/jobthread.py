"""A thread for a library that blocks: one job after the other, without holding up the event loop.

It is a plain one with a queue: a call through a ThreadPoolExecutor takes 40 us of CPU instead of 12, and a busy
consumer makes one for every four orders. It is a daemon, so that a disk or a server that hangs keeps no process alive.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

CLOSE_SECONDS = 5.0

_Jobs = SimpleQueue[Callable[[], None] | None]


class JobThread:
    """Started by the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: _Jobs | None = None  # the thread's; None: there is none
        self._lock = threading.Lock()

    async def call(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. A caller that is cancelled leaves the work to be done all the same."""
        with self._lock:
            if self._jobs is None:
                self._jobs = SimpleQueue()
                threading.Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True).start()
            jobs = self._jobs
        return await _done(jobs, work)

    async def close(self, last: Callable[[], object]) -> None:
        """End the thread with the job `last`; one that hangs is left behind after CLOSE_SECONDS."""
        jobs = self._jobs
        if jobs is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await _done(jobs, last)
            jobs.put(None)
            self._jobs = None


def _work(jobs: _Jobs) -> None:
    while (job := jobs.get()) is not None:
        job()


def _done(jobs: _Jobs, work: Callable[[], T]) -> asyncio.Future[T]:
    """The result of `work`, called by the thread of these jobs."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def job() -> None:
        answer: Callable[[], object]
        try:
            answer = partial(_answer, result, result.set_result, work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            answer = partial(_answer, result, result.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nothing awaits the result
            loop.call_soon_threadsafe(answer)

    jobs.put(job)
    return result


def _answer(result: asyncio.Future[Any], answer: Callable[[Any], None], value: object) -> None:
    if not result.done():
        answer(value)
