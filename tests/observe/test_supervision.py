"""The supervisor in a time of its own: what counts as a failure, when the task runs again, and what is reported."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from consumer.supervision import Pauses, Supervisor, TaskName, cancel
from consumer.telemetry import _place_instead_of_text
from tests.support.eventually import eventually

TASK = TaskName.BALANCE


class Time:
    """A clock that only a pause moves on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Work:
    """A task that ends in each of these ways, one after the other, and then runs until it is cancelled."""

    def __init__(self, *ends: Callable[[], Awaitable[None]]) -> None:
        self.ends = list(ends)
        self.runs = 0

    async def __call__(self) -> None:
        self.runs += 1
        if self.ends:
            await self.ends.pop(0)()
        else:
            await asyncio.Event().wait()


async def raises() -> None:
    raise OverflowError("the order ORD-1 of Jane Doe")


async def returns() -> None:
    return


async def leaks() -> None:
    """As a library does that has cancelled a task of its own."""
    foreign: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    foreign.cancel()
    await foreign


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def counted() -> list[TaskName]:
    return []


@pytest.fixture
def supervisor(time: Time, counted: list[TaskName]) -> Supervisor:
    return Supervisor(counted.append, Pauses(1.0, 60.0, 600.0), clock=time, sleep=time.sleep)


@pytest.mark.parametrize(("end", "kind"), [(raises, "OverflowError"), (returns, "returned"), (leaks, "CancelledError")])
async def test_every_unexpected_end_is_logged_and_counted_and_the_task_runs_again(
    supervisor: Supervisor, counted: list[TaskName], end: Callable[[], Awaitable[None]], kind: str
) -> None:
    """An exception, a return and a CancelledError of somebody else's are failures, and are named without their text."""
    work = Work(end)
    with capture_logs() as lines:
        task = supervisor.start(TASK, work)
        await eventually(lambda: work.runs == 2)
    (line,) = (_place_instead_of_text(None, "", line) for line in lines)
    assert (line["event"], line["log_level"]) == ("background task failed", "error")
    assert (line["task"], line["error"], line["retry_in_seconds"]) == ("balance", kind, 1.0)
    assert "Jane" not in str(line)
    assert counted == [TASK]
    assert not task.done()
    await cancel([task])
    assert counted == [TASK]


async def test_the_log_line_says_where_an_exception_came_from(supervisor: Supervisor) -> None:
    """The last place in its traceback is the line that raised it."""
    work = Work(raises)
    with capture_logs() as lines:
        task = supervisor.start(TASK, work)
        await eventually(lambda: work.runs == 2)
    assert _place_instead_of_text(None, "", lines[0])["at"][-1].endswith(" raises")
    await cancel([task])


async def test_a_task_that_is_cancelled_is_not_restarted(supervisor: Supervisor, counted: list[TaskName]) -> None:
    """Nor is one that swallows the cancellation, or fails while it is cancelled."""

    async def swallows() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async def stumbles() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await raises()

    works = [Work(), Work(swallows), Work(stumbles)]
    tasks = [supervisor.start(TASK, work) for work in works]
    await eventually(lambda: all(work.runs == 1 for work in works))
    await cancel(tasks)
    assert [work.runs for work in works] == [1, 1, 1]
    assert counted == []


async def test_pauses_double_up_to_the_longest(supervisor: Supervisor, time: Time) -> None:
    """A task that always fails soon runs once a minute, and no more rarely."""
    work = Work(*[raises] * 9)
    task = supervisor.start(TASK, work)
    await eventually(lambda: work.runs == 10)
    assert time.pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    await cancel([task])


async def test_pauses_begin_anew_after_a_steady_time(supervisor: Supervisor, time: Time) -> None:
    """A task that ran for ten minutes without a failure has recovered."""

    async def raises_late() -> None:
        time.now += 600
        await raises()

    work = Work(raises, raises, raises_late, raises)
    task = supervisor.start(TASK, work)
    await eventually(lambda: work.runs == 5)
    assert time.pauses == [1, 2, 1, 2]
    await cancel([task])


async def test_a_task_that_keeps_failing_is_reported_until_it_has_been_steady(
    supervisor: Supervisor, time: Time
) -> None:
    """One failure is no state; from the second on it is, with the time since the first, until the last one is old."""
    supervisor.failed(TASK, ValueError("Jane Doe"))
    assert supervisor.failing() == {}
    time.now += 30
    supervisor.failed(TASK, None)
    time.now += 5
    assert supervisor.failing() == {TASK: "has been failing for 35 s: 2 failures, last 5 s ago (returned)"}
    time.now += 595
    assert supervisor.failing() == {}
    supervisor.failed(TASK, None)
    assert supervisor.failing() == {}


async def test_each_task_has_failures_of_its_own(supervisor: Supervisor) -> None:
    """Two tasks that fail once each do not add up to one that keeps failing."""
    assert [supervisor.failed(task, None) for task in (TaskName.SHOPS, TaskName.LOG, TaskName.SHOPS)] == [1, 1, 2]
    assert supervisor.failing().keys() == {TaskName.SHOPS}


async def test_a_task_that_may_end_is_restarted_until_it_does(supervisor: Supervisor, counted: list[TaskName]) -> None:
    """With `ends`, a return is the end that was meant, and an exception still a failure."""
    work = Work(raises, returns)
    await supervisor.start(TASK, work, ends=True)
    assert work.runs == 2
    assert counted == [TASK]


async def test_what_the_task_had_reported_is_withdrawn_before_the_pause(supervisor: Supervisor, time: Time) -> None:
    """`on_failure` is called once for each failure, and not when the task is cancelled."""
    withdrawn: list[int] = []
    work = Work(raises, returns)
    task = supervisor.start(TASK, work, lambda: withdrawn.append(len(time.pauses)))
    await eventually(lambda: work.runs == 3)
    await cancel([task])
    assert withdrawn == [0, 1]


async def test_a_withdrawal_that_fails_does_not_end_the_task(supervisor: Supervisor, counted: list[TaskName]) -> None:
    """It is one more failure of the same task."""

    def stumbles() -> None:
        raise KeyError

    work = Work(raises)
    task = supervisor.start(TASK, work, stumbles)
    await eventually(lambda: work.runs == 2)
    assert counted == [TASK, TASK]
    await cancel([task])


async def test_a_cancellation_that_is_lost_is_repeated(supervisor: Supervisor, counted: list[TaskName]) -> None:
    """A task that drops its first cancellation and goes on, as in `asyncio.wait_for`, ends all the same."""
    begun = asyncio.Event()

    async def drops() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    task = supervisor.start(TASK, drops)
    await begun.wait()
    await cancel([task])
    assert task.done()
    assert counted == []


def test_a_thread_may_report_its_failures(counted: list[TaskName]) -> None:
    """It gets the seconds after which it is to go on."""
    supervisor, pauses = Supervisor(counted.append), list[float]()
    thread = threading.Thread(target=lambda: pauses.append(supervisor.failed(TaskName.LOG, ValueError())))
    thread.start()
    thread.join()
    assert (pauses, counted) == ([1.0], [TaskName.LOG])
