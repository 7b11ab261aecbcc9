"""The way to one API: whether it is open, how many may be under way, and those who wait for their turn."""

import asyncio
from collections import deque

from consumer.core import breaker
from consumer.core.breaker import Closed, Open
from consumer.core.limit import Limit


class Gate:
    """For the API at one base URL. `suspicion` finds out whether it is down, `recovery` whether it is back."""

    def __init__(self, concurrency: int) -> None:
        self.state: breaker.Api = Closed()
        self.limit = Limit.full(concurrency)
        self.needed = max(3, min(breaker.FAILING_ORDERS, concurrency))
        self.under_way = 0
        self.suspicion: asyncio.Task[None] | None = None
        self.recovery: asyncio.Task[None] | None = None
        self.news = asyncio.Event()
        self._waiting: deque[asyncio.Future[bool]] = deque()

    def recover(self, recovery: asyncio.Task[None]) -> None:
        """Let this task find out whether it is back; an earlier search ends."""
        if self.recovery is not None:
            self.recovery.cancel()
        self.recovery = recovery

    async def enter(self) -> bool:
        """Wait for a turn; False when the API went down meanwhile."""
        if isinstance(self.state, Open):
            return False
        if self.under_way < int(self.limit.value):
            self.under_way += 1
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.leave()
            raise

    def leave(self) -> None:
        """Give the turn to the next."""
        self.under_way -= 1
        self.admit()

    def admit(self) -> None:
        """Let in as many of those who wait as the limit allows; all of them out when the API is down."""
        down = isinstance(self.state, Open)
        while self._waiting and (down or self.under_way < int(self.limit.value)):
            turn = self._waiting.popleft()
            if turn.done():
                continue
            if not down:
                self.under_way += 1
            turn.set_result(not down)
