"""Neuroon as the metrics see it."""

import time
from dataclasses import dataclass

from consumer.adapters.neuroon import Neuroon
from consumer.core.conversion import Conversion
from consumer.core.outcome import Reply
from consumer.core.shop import Shop
from consumer.telemetry import Telemetry


@dataclass
class MeasuredNeuroon:
    """Neuroon, with every POST counted and timed."""

    neuroon: Neuroon
    telemetry: Telemetry

    async def probe(self, shop: Shop) -> Reply:
        """See `Neuroon.probe`."""
        return await self.neuroon.probe(shop)

    async def post(self, conversion: Conversion, shop: Shop) -> Reply:
        """See `Neuroon.post`."""
        started = time.perf_counter()
        reply = await self.neuroon.post(conversion, shop)
        self.telemetry.requested(shop.id, reply.status, time.perf_counter() - started)
        return reply
