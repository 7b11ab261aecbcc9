"""From the bytes of a message to what it is: decoded, taken apart, completed, mapped.

body -> decode -> one order or an array -> enrich, if a shop has plugged that in -> mapping -> order
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from consumer.adapters.enrichment import Enrichment, EnrichmentFailedError
from consumer.core.array import array_elements
from consumer.core.body import Unreadable, decode, decompress
from consumer.core.delivery import Delivery
from consumer.core.exact import exact
from consumer.core.order import Malformed, malformed
from consumer.core.reading import Reading, Several, Unready
from consumer.core.shop import Shop, Shops
from consumer.mappings import Reader
from consumer.workload import LIGHT

# Elements of an array in one message. Each becomes a message of its own, and is confirmed by the broker.
MOST_ORDERS = 1_000


@dataclass(frozen=True)
class Intake:
    """Reads messages with one mapping. What comes back at once is a reading; a reading to wait for, if it enriches."""

    reader: Reader
    shops: Callable[[], Shops]
    enrichment: Enrichment | None = None

    def __call__(self, delivery: Delivery) -> Reading | Awaitable[Reading]:
        """What the message is; never an exception, whatever its bytes."""
        reading = self._read(delivery)
        if delivery.unreadable and isinstance(reading, Malformed):
            return replace(reading, detail=f"{reading.detail}; {delivery.unreadable}")
        return reading

    def _read(self, delivery: Delivery) -> Reading | Awaitable[Reading]:
        document = decode(delivery.body, delivery.properties.content_encoding)
        if isinstance(document, Unreadable):
            return self._unreadable(document)
        if isinstance(document, list):
            if len(document) != 1:
                return self._several(document, delivery)
            document = document[0]
        if self.enrichment is not None:
            return self._completed(self.enrichment, document, delivery)
        return self._map(document, delivery)

    async def wait_for(self, delivery: Delivery) -> Reading:
        """The same, waited for."""
        reading = self(delivery)
        return await reading if isinstance(reading, Awaitable) else reading

    async def _completed(self, enrichment: Enrichment, document: object, delivery: Delivery) -> Reading:
        try:
            document = await enrichment.complete(document)
        except EnrichmentFailedError as error:
            return Unready(str(error))
        if len(delivery.body) > LIGHT or delivery.properties.content_encoding is not None:
            return await asyncio.to_thread(self._map_completed, document, delivery)
        return self._map_completed(document, delivery)

    def _map_completed(self, document: object, delivery: Delivery) -> Reading:
        return self._map(exact(document), delivery)

    def _map(self, document: object, delivery: Delivery) -> Reading:
        order = self.reader.read(document, delivery)
        if order.shop_id is not None and self.reader.hints_at_shop:
            return replace(order, shop_id=self._known(order.shop_id))
        return order

    def _known(self, hint: str) -> str | None:
        """A platform's own name for the shop, if it can be an alias of ours.

        A single shop that answers to no alias leaves nothing to choose: the name is passed over. With an alias,
        or a second shop, a name that is none of them is an unknown shop, and stays one.
        """
        shops = self.shops()
        if len(shops.shops) == 1 and not shops.shops[0].aliases and not isinstance(shops.find(hint), Shop):
            return None
        return hint

    def _unreadable(self, document: Unreadable) -> Malformed:
        reading = malformed(document)
        return replace(reading, detail=self._signed(reading.detail))

    def _several(self, document: list[object], delivery: Delivery) -> Malformed | Several:
        if not document:
            return Malformed(self._signed("body: a list with nothing in it"))
        if len(document) > MOST_ORDERS:
            found = f"body: a list of {len(document):,}; at most {MOST_ORDERS:,} orders are taken in one message"
            return Malformed(self._signed(found))
        plain = decompress(delivery.body, delivery.properties.content_encoding)
        elements = None if isinstance(plain, Unreadable) else array_elements(plain.decode("utf-8-sig"))
        if elements is None:
            return Malformed(self._signed("body: a list that cannot be taken apart"))
        return Several(tuple(elements))

    def _signed(self, detail: str) -> str:
        return f"{detail}; mapping {self.reader.name}"
