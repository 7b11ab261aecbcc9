"""What the probes tell: whether the program moves, and whether it may be sent work; with the reasons.

A restart helps a program that is stuck. It does not help against an API that is down, a shop with a wrong key, or a
broker that is away: these are told, and fail no probe but readiness, which asks for a link to the broker.
"""

import asyncio
import time
from collections.abc import Mapping

from consumer.adapters.rabbit import Rabbit
from consumer.admission import Admission
from consumer.web import Part

TICK_SECONDS = 1.0
# A loop that did not turn for so long is blocked by something; a garbage collection or a slow disk takes less.
STANDSTILL_SECONDS = 10.0


class Health:
    """The parts of /livez and /readyz. `patience`: seconds without a settlement, though orders wait, until stuck."""

    def __init__(self, rabbit: Rabbit, admission: Admission, patience: float) -> None:
        self._rabbit, self._admission, self._patience = rabbit, admission, patience
        self._ticked = self._moved = time.monotonic()

    def moved(self) -> None:
        """An order was settled."""
        self._moved = time.monotonic()

    async def tick(self) -> None:
        """Run for as long as the program does."""
        while True:
            self._ticked = time.monotonic()
            if not (self._rabbit.consuming and self._rabbit.waiting):
                self._moved = self._ticked  # nothing to settle, or not allowed to: no reason to worry
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
        return {"broker": self._broker(), "api": self._api(), "shops": self._shops()}

    def _broker(self) -> Part:
        if self._rabbit.consuming:
            return Part(True, "consuming")
        if not self._rabbit.linked:
            return Part(False, "no link to the broker")
        if self._rabbit.blocked:
            return Part(True, "paused: the broker has an alarm and takes no publishes")
        return Part(bool(self._admission.paused()), "paused: the API is down")

    def _api(self) -> Part:
        down = self._admission.paused()
        return Part(True, f"down: {', '.join(down)}" if down else "up")

    def _shops(self) -> Part:
        held = self._admission.held()
        parts = []
        if held:
            parts.append("held: " + ", ".join(f"{shop} ({each.status} {each.problem})" for shop, each in held.items()))
        if throttled := self._admission.throttled():
            parts.append("throttled: " + ", ".join(f"{shop} ({left:.0f} s)" for shop, left in throttled.items()))
        return Part(True, "; ".join(parts) or "none is held or throttled")
