"""Who may be posted now: outages, held and throttled shops, and a slow API cost the orders nothing.

Between the pipeline and Neuroon. The states and what leads from one to the next are values in `core/breaker.py` and
`core/limit.py`; here they are kept, asked, and told to those who pause the consumption or show it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog

from consumer.admission.gate import Gate
from consumer.admission.shops import ShopStates
from consumer.core import breaker
from consumer.core.breaker import Closed, Held, Open, Probing
from consumer.core.conversion import Conversion
from consumer.core.outcome import Outcome, Reply, Retry, RetryReason, Throttled, Unavailable, Untried, judge
from consumer.core.shop import Shop
from consumer.supervision import Supervisor, TaskName

# Within this time it is decided whether a failure is the API's or this order's alone: do others under way fail, too?
VERDICT_SECONDS = 0.5
# A probe that takes longer is as good as no answer.
PROBE_SECONDS = 3.0
# A POST that takes more than this share of the time it may take tells of an API that is overloaded.
SLOW_SHARE = 0.5

log = structlog.get_logger(__name__)


class Asking(Protocol):
    """Neuroon; every answer and every failure is a Reply."""

    async def post(self, conversion: Conversion, shop: Shop) -> Reply:
        """Send `conversion` for `shop`."""

    async def probe(self, shop: Shop) -> Reply:
        """Ask without sending an order."""


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `concurrency` orders at a time; seconds for a POST, and between two tries of a held shop."""

    concurrency: int
    timeout: float
    hold: float


class Admission:
    """Delivers conversions as far as API and shop may be asked. `changed` is called when the state of either does.

    `supervisor` keeps the task running that finds out whether an API is back.
    `clock` gives seconds and must not follow the wall clock where that is set: pauses are measured with it.
    """

    def __init__(
        self,
        neuroon: Asking,
        clock: Callable[[], float],
        limits: Limits,
        urls: Callable[[], set[str]],
        supervisor: Supervisor | None = None,
    ) -> None:
        self._neuroon, self._clock, self._limits, self._urls = neuroon, clock, limits, urls
        self._supervisor = supervisor or Supervisor()
        self._apis: dict[str, Gate] = {}
        self._shops = ShopStates(clock, limits.hold, self._shop_changed)
        self._closing = False
        self.changed: Callable[[], None] = lambda: None

    async def deliver(self, conversion: Conversion, shop: Shop, attempt: int) -> Outcome | Untried:
        """Post, unless that is known to be in vain. `Untried`: the API is down; the order is to stay where it is."""
        if (wait := self._shops.wait(shop, attempt)) is not None:
            return wait
        api = self._api(shop)
        if not await api.enter():
            return self._in_vain(attempt)
        begun = self._clock()
        try:
            reply = await self._neuroon.post(conversion, shop)
        finally:
            api.leave()
        self._shops.learn(shop, reply)
        if isinstance(reply, Unavailable):
            return await self._failed(api, shop, reply, f"{shop.id}/{conversion.order_id}", attempt, begun)
        self._answered(api, reply, begun)
        return judge(reply, attempt)

    async def close(self) -> None:
        """End what runs in the background."""
        self._closing = True
        tasks = [task for api in self._apis.values() for task in (api.suspicion, api.recovery) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def prefetch(self) -> int:
        """How many orders may be taken from the broker: none while the one API of all shops is down."""
        urls = self._urls()
        if len(urls) == 1:
            state = self._apis[url].state if (url := next(iter(urls))) in self._apis else Closed()
            if isinstance(state, Open):
                return 0
            if isinstance(state, Probing):
                return 1
        return self._limits.concurrency

    def paused(self) -> list[str]:
        """The base URLs that are down or being tried again."""
        return [url for url, api in self._apis.items() if not isinstance(api.state, Closed)]

    def held(self) -> dict[str, Held]:
        """The shops that are held, by id."""
        return self._shops.held()

    def throttled(self) -> dict[str, float]:
        """The shops that are throttled, by id, and for how many seconds each is not to be asked."""
        return self._shops.throttled()

    def _shop_changed(self) -> None:
        self.changed()

    def _api(self, shop: Shop) -> Gate:
        api = self._apis.get(shop.api_url)
        if api is None:
            api = self._apis[shop.api_url] = Gate(self._limits.concurrency)
        return api

    def _in_vain(self, attempt: int) -> Retry | Untried:
        """What becomes of an order whose API is down: it stays in the queue if that pauses, else it waits in a rung."""
        if len(self._urls()) == 1:
            return Untried()
        return Retry(RetryReason.UNAVAILABLE, attempt, None, "the API is down")

    # The API

    def _answered(self, api: Gate, reply: Reply, begun: float) -> None:
        now = self._clock()
        if breaker.tells(api.state, begun):
            self._become(api, breaker.succeeded(api.state, now))
            api.news.set()
        slow = now - begun > self._limits.timeout * SLOW_SHARE
        if isinstance(reply, Throttled) or slow:
            api.limit = api.limit.shrunk(begun, now)
        else:
            api.limit = api.limit.grown()
        api.admit()

    async def _failed(
        self, api: Gate, shop: Shop, reply: Unavailable, order: str, attempt: int, begun: float
    ) -> Outcome:
        now = self._clock()
        if not isinstance(api.state, Probing):  # whatever comes of a probe, it tells of no overload
            api.limit = api.limit.shrunk(begun, now)
        self._become(api, breaker.failed(api.state, order, now, api.needed), shop)
        if not isinstance(api.state, Open):
            await self._suspect(api, shop)
        free = isinstance(api.state, Open)
        retry = judge(reply, attempt)
        if free and isinstance(retry, Retry):
            return Retry(retry.reason, attempt, retry.after, retry.detail, retry.status)
        return retry

    async def _suspect(self, api: Gate, shop: Shop) -> None:
        """Wait until it is known whether the API is down as a whole; all that fail meanwhile wait for one answer."""
        if api.suspicion is None or api.suspicion.done():
            api.news.clear()
            api.suspicion = asyncio.create_task(self._find_out(api, shop))
        await asyncio.shield(api.suspicion)

    async def _find_out(self, api: Gate, shop: Shop) -> None:
        if not await self._alive(shop):
            self._become(api, breaker.opened(api.state, self._clock()), shop)
            return
        try:
            async with asyncio.timeout(VERDICT_SECONDS):
                await api.news.wait()
        except TimeoutError:
            return

    async def _alive(self, shop: Shop) -> bool:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return not isinstance(await self._neuroon.probe(shop), Unavailable)
        except TimeoutError:
            return False

    def _become(self, api: Gate, state: breaker.Api, shop: Shop | None = None) -> None:
        before, api.state = api.state, state
        if type(before) is type(state):
            return
        api.news.set()
        match state:
            case Open(until):
                log.warning(
                    "API down, consumption pauses",
                    url=shop.api_url if shop else "",
                    again_in_seconds=round(until - self._clock(), 1),
                )
                if shop is not None and not self._closing:
                    search = partial(self._recover, api, shop)
                    api.recover(self._supervisor.start(TaskName.API_RECOVERY, search, ends=True))
            case Probing():
                log.info("API answers again, trying one order")
                api.limit = api.limit.restarted()
            case Closed(failing):
                log.info("API up", failing=len(failing))
        api.admit()
        self.changed()

    async def _recover(self, api: Gate, shop: Shop) -> None:
        """Ask now and then whether the API is back, ever more rarely; then let one order try."""
        while isinstance(api.state, Open):
            await asyncio.sleep(max(0.0, api.state.until - self._clock()))
            if not isinstance(api.state, Open):
                return
            alive = await self._alive(shop)
            if not isinstance(api.state, Open):
                return
            if alive:
                self._become(api, breaker.answered(api.state))
            else:
                api.state = breaker.opened(api.state, self._clock())
        await self._rest(api, api.state)

    async def _rest(self, api: Gate, probing: breaker.Api) -> None:
        """Do not call an API down for want of an order to try."""
        while isinstance(probing, Probing) and api.state is probing:
            await asyncio.sleep(breaker.WINDOW_SECONDS)
            if api.state is probing and not api.under_way:
                self._become(api, breaker.rested(probing, self._clock(), api.needed))
