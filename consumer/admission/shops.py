"""Which shops may be posted for now: what is known of each, and what each answer teaches."""

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

import structlog

from consumer.core.breaker import Free, Held, ShopState, Waiting
from consumer.core.ladder import LONGEST_FLOOR
from consumer.core.outcome import Misconfigured, Reply, Retry, RetryReason, Throttled, Unavailable, is_long
from consumer.core.shop import Shop

# For so long after its last 429 a shop counts as throttled, though it may ask again. A limit that is hit again and
# again with short waits between is then one state and not many, however rarely somebody scrapes.
LINGER_SECONDS = 60.0

# More would make a number that is none; the longest pause is reached long before.
_DOUBLINGS = 32

TOO_MANY = "too many requests"

log = structlog.get_logger(__name__)

_FREE = Free()


class ShopStates:
    """The shops that are held or throttled. `hold`: seconds between two orders that try for one.

    `clock` gives seconds and never jumps. `changed` is called when a shop is held, or no longer.
    """

    def __init__(self, clock: Callable[[], float], hold: float, changed: Callable[[], None]) -> None:
        self._clock, self._hold, self._changed = clock, hold, changed
        self._shops: dict[str, tuple[Shop, ShopState]] = {}

    def held(self) -> dict[str, Held]:
        """The shops that are held, by id."""
        return {shop_id: state for shop_id, (_, state) in self._shops.items() if isinstance(state, Held)}

    def throttled(self) -> dict[str, float]:
        """The shops that ask too often, by id, and for how many seconds each is not to ask (0: it may again)."""
        now = self._clock()
        return {
            shop_id: max(0.0, state.until - now)
            for shop_id, (_, state) in self._shops.items()
            if isinstance(state, Waiting) and now < state.until + LINGER_SECONDS
        }

    def wait(self, shop: Shop, attempt: int) -> Retry | None:
        """The wait of an order whose shop may not be asked now; None when it may."""
        known, state = self._shops.get(shop.id, (shop, _FREE))
        now = self._clock()
        match state:
            case Free():
                return None
            case Held(status, problem, probe_at):
                if known is shop and now < probe_at:
                    return Retry(RetryReason.HELD, attempt, None, problem, status)
                # Another key is worth a try at once.
                self._shops[shop.id] = (shop, Held(status, problem, now + self._hold))
            case Waiting(status, until, probe_at, probes) if now < until:
                if now < probe_at:
                    return Retry(RetryReason.THROTTLED, attempt, until - now, TOO_MANY, status)
                self._shops[shop.id] = (shop, replace(state, probe_at=now + self._pause(probes + 1), probes=probes + 1))
            case Waiting():
                pass
            case _:
                assert_never(state)
        return None

    def learn(self, shop: Shop, reply: Reply) -> None:
        """What an answer says of the shop."""
        now = self._clock()
        _, before = self._shops.get(shop.id, (shop, _FREE))
        match reply:
            case Misconfigured(status, problem, after):
                self._shops[shop.id] = (shop, Held(status, problem, now + self._hold_for(after)))
                if not isinstance(before, Held):
                    log.error("shop held", shop=shop.id, status=status, problem=problem, cure="neuroon-consumer check")
                    self._changed()
            case Throttled(_, after) if isinstance(before, Held):  # it says nothing of what is wrong
                self._shops[shop.id] = (shop, replace(before, probe_at=now + self._hold_for(after)))
            case Throttled(status, after):
                self._throttle(shop, before, status, after or 0.0, now)
            case Unavailable():
                return
            case _:
                self._free(shop, before, now)

    def _throttle(self, shop: Shop, before: ShopState, status: int, after: float, now: float) -> None:
        waiting = isinstance(before, Waiting) and now < before.until
        probes = before.probes if isinstance(before, Waiting) else 0
        probe_at = now + (self._pause(probes) if is_long(after) else after)
        self._shops[shop.id] = (shop, Waiting(status, now + after, probe_at, probes))
        if after and not waiting:
            log.warning("shop throttled", shop=shop.id, seconds=round(after, 1))

    def _free(self, shop: Shop, before: ShopState, now: float) -> None:
        if isinstance(before, Free):
            return
        del self._shops[shop.id]
        if isinstance(before, Held):
            log.info("shop free again", shop=shop.id)
            self._changed()
        elif now < before.until:
            log.info("shop no longer throttled", shop=shop.id)

    def _hold_for(self, after: float | None) -> float:
        """Seconds until the next order may try for a held shop, whose answer asked for a wait of `after` seconds."""
        return max(self._hold, min(after or 0.0, LONGEST_FLOOR))

    def _pause(self, probes: int) -> float:
        """Seconds until the next order may try for a throttled shop: ever longer, up to `LONGEST_FLOOR`."""
        return min(self._hold * 2.0 ** min(probes, _DOUBLINGS), max(self._hold, LONGEST_FLOOR))
