"""What the probes tell: whether the program moves, and whether it may be sent work; with the reasons.

A restart helps a program that is stuck. It does not help against an API that is down, a shop with a wrong key, or a
broker that is away: these are told, and fail no probe but readiness, which asks for a link to the broker.

Nor does a restart help a background task that keeps failing: it has been restarted within the process, and would meet
the same data again. The exception is `tick`. Without it nothing knows whether the program moves, so /livez fails.
"""

import asyncio
import time
from collections.abc import Mapping

from consumer.adapters.rabbit import Rabbit
from consumer.admission import Admission
from consumer.core.delivery import stamp
from consumer.settings import ShopsSource
from consumer.supervision import Supervisor
from consumer.web import Part

TICK_SECONDS = 1.0
# A loop that did not turn for so long is blocked by something; a garbage collection or a slow disk takes less.
STANDSTILL_SECONDS = 10.0


class Health:
    """The parts of /livez and /readyz. `patience`: seconds without a settlement, though orders wait, until stuck."""

    def __init__(
        self, rabbit: Rabbit, admission: Admission, supervisor: Supervisor, shops: ShopsSource, patience: float
    ) -> None:
        self._rabbit, self._admission, self._supervisor, self._patience = rabbit, admission, supervisor, patience
        self._source = shops
        self._ticked = self._moved = time.monotonic()

    def moved(self) -> None:
        """An order was settled."""
        self._moved = time.monotonic()

    async def tick(self) -> None:
        """Run for as long as the program does."""
        while True:
            now = time.monotonic()
            if not (self._rabbit.consuming and self._rabbit.waiting):
                self._moved = now  # nothing to settle, or not allowed to: no reason to worry
            self._ticked = now  # last: a tick that fails here is none
            await asyncio.sleep(TICK_SECONDS)

    def live(self) -> Mapping[str, Part]:
        """Whether a restart would help."""
        now = time.monotonic()
        still, stuck = now - self._ticked, now - self._moved
        return {
            "loop": Part(still < STANDSTILL_SECONDS, f"last turned {still:.1f} s ago"),
            "orders": Part(
                stuck < self._patience,
                f"{self._rabbit.in_flight} in flight, {self._rabbit.waiting} wait, last movement {stuck:.0f} s ago",
            ),
        }

    def ready(self) -> Mapping[str, Part]:
        """Whether the broker has confirmed our consumer, or why we have none on purpose."""
        return {
            "broker": self._broker(),
            "queues": self._queues(),
            "api": self._api(),
            "shops": self._shops(),
            "shops file": self._shops_file(),
            "background": self._background(),
        }

    def _broker(self) -> Part:
        if self._rabbit.consuming:
            return Part(True, "consuming")
        if not self._rabbit.linked:
            return Part(False, "no link to the broker")
        if self._rabbit.blocked:
            return Part(True, "paused: the broker has an alarm and takes no publishes")
        return Part(bool(self._admission.paused()), "paused: the API is down")

    def _queues(self) -> Part:
        refusing = self._rabbit.settling.refusals.refusing
        told = ", ".join(f"{queue} takes no messages, for {seconds:.0f} s" for queue, seconds in refusing.items())
        return Part(not refusing, told or "all take messages", vital=False)

    def _api(self) -> Part:
        down = self._admission.paused()
        return Part(True, f"down: {', '.join(down)}" if down else "up")

    def _shops(self) -> Part:
        held = self._admission.held()
        reasons = dict.fromkeys(self._source.shops.on_hold, "by the shops file")
        reasons |= {shop: f"{state.status} {state.problem}" for shop, state in held.items()}
        parts = []
        if reasons:
            parts.append("held: " + ", ".join(f"{shop} ({reason})" for shop, reason in reasons.items()))
        if throttled := self._admission.throttled():
            parts.append("throttled: " + ", ".join(f"{shop} ({left:.0f} s)" for shop, left in throttled.items()))
        return Part(True, "; ".join(parts) or "none is held or throttled")

    def _shops_file(self) -> Part:
        since = self._source.unusable_since
        return Part(since is None, "usable" if since is None else f"unusable since {stamp(since)}", vital=False)

    def _background(self) -> Part:
        failing = self._supervisor.failing()
        told = "; ".join(f"{task} {how}" for task, how in failing.items())
        return Part(not failing, told or "no task is failing", vital=False)
