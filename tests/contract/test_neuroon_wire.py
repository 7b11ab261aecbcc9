"""The wire by itself: lanes of one request each."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import httpx
import pytest

from consumer.adapters.wire import Lanes
from tests.support.eventually import eventually


class Lane(httpx.AsyncBaseTransport):
    """Answers once `go` is set; says how many requests it carries at a time."""

    def __init__(self, go: asyncio.Event) -> None:
        self.go, self.busy, self.hosts, self.closed = go, 0, set[str](), False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.hosts.add(request.url.host)
        self.busy += 1
        assert self.busy == 1
        try:
            await self.go.wait()
            if request.url.path == "/fail":
                raise httpx.ReadError("no")
            return httpx.Response(200)
        finally:
            self.busy -= 1

    async def aclose(self) -> None:
        self.closed = True


class LaneYard:
    """Lanes, and what was made of them."""

    def __init__(self, spare: int) -> None:
        self.go = asyncio.Event()
        self.made: list[Lane] = []
        self.lanes = Lanes(self._make, spare)

    def _make(self) -> Lane:
        self.made.append(Lane(self.go))
        return self.made[-1]

    async def send(self, url: str) -> None:
        response = await self.lanes.handle_async_request(httpx.Request("POST", url))
        await cast("httpx.AsyncByteStream", response.stream).aclose()


@pytest.fixture
def yard() -> LaneYard:
    return LaneYard(spare=2)


async def test_lanes_carry_one_request_each(yard: LaneYard) -> None:
    """Requests at a time have a lane each; of those left over, as many as are spared stay and serve again."""
    tasks = [asyncio.create_task(yard.send("http://a")) for _ in range(4)]
    await eventually(lambda: sum(each.busy for each in yard.made) == 4)
    yard.go.set()
    await asyncio.gather(*tasks)
    assert [each.closed for each in yard.made].count(True) == 2
    await yard.send("http://a")
    assert len(yard.made) == 4
    await yard.lanes.aclose()
    assert all(each.closed for each in yard.made)


async def test_lanes_lead_to_one_host_each(yard: LaneYard) -> None:
    """Shops with different base URLs do not take each other's connections."""
    yard.go.set()
    for _ in range(3):
        for url in ("http://a", "http://b", "http://a:81", "https://a"):
            await yard.send(url)
    assert [each.hosts for each in yard.made] == [{"a"}, {"b"}, {"a"}, {"a"}]


async def fail(yard: LaneYard) -> None:
    yard.go.set()
    with pytest.raises(httpx.ReadError):
        await yard.send("http://a/fail")


async def cancel(yard: LaneYard) -> None:
    task = asyncio.create_task(yard.send("http://a"))
    await eventually(lambda: yard.made and yard.made[0].busy)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    yard.go.set()


@pytest.mark.parametrize("end", [fail, cancel])
async def test_broken_lane(yard: LaneYard, end: Callable[[LaneYard], Awaitable[None]]) -> None:
    """A lane whose request failed or was cancelled is closed, and never used again."""
    await end(yard)
    assert [each.closed for each in yard.made] == [True]
    await yard.send("http://a")
    assert [each.closed for each in yard.made] == [True, False]
