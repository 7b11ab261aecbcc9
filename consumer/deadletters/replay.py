"""Bringing dead letters back: published to the main queue, confirmed, and only then taken out of the dead letters.

A letter goes to the main queue itself and not through the exchange, because other queues bound there have had the
event. Its body stays as it is, byte for byte; its attempts begin anew, and its replay count tells that it has been
here.
"""

import base64
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from consumer.adapters.deadletterqueue import Held, Hold
from consumer.core.delivery import Delivery, foreign_headers, read_journey, write_journey
from consumer.core.headers import Headers
from consumer.deadletters.audit import Audit
from consumer.deadletters.browse import Desk
from consumer.deadletters.letter import Letter, original_place
from consumer.deadletters.pace import Pace
from consumer.deadletters.repair import Repair
from consumer.deadletters.sweep import Control, Plan, Tally, sweep

# Around one letter's publish; gives the headers to publish with instead of the given ones.
Around = Callable[[Letter, Mapping[str, object]], AbstractContextManager[Mapping[str, object]]]


@dataclass
class Replay:
    """How letters are sent back: at which pace, recorded where, with `repair` in place of the one letter's own event.

    `around` is entered for each publish; `on_replayed` is told of each letter that is on its way.
    """

    desk: Desk
    audit: Audit
    pace: Pace
    repair: Repair | None = None
    around: Around = lambda _, headers: nullcontext(headers)
    on_replayed: Callable[[Letter], None] = lambda _: None

    async def run(self, planned: Plan, control: Control) -> Tally:
        """Send the planned letters back, one confirmed and gone before the next is sent.

        Raises AuditError, NoQueueError or one of LINK_ERRORS; at most the letter in hand is then both here and there.
        """
        progress = Tally(sum(planned.wanted.values()))

        async def act(hold: Hold, held: Held, letter: Letter) -> bool:
            if not await self.pace.turn(control, progress):
                return False
            known = replace(letter, first_seen=letter.first_seen or time.time())
            await self._send(hold, held.delivery, known)
            self.on_replayed(known)
            return True

        return await sweep(self.desk, planned, act, control, progress)

    async def _send(self, hold: Hold, delivery: Delivery, letter: Letter) -> None:
        body, properties, facts = delivery.body, delivery.properties, {}
        if self.repair is not None:
            body = self.repair.body
            properties = replace(properties, content_encoding=None, content_type="application/json")
            facts = {"original": base64.b64encode(delivery.body).decode()}
        begun = self.audit.clock()  # what becomes of the order comes later than this, and may before the confirm
        with self.around(letter, replay_headers(delivery, letter)) as headers:
            await hold.publish(body, headers, properties, self.desk.queue.queues.main)
        self.audit.letter(letter, begun=begun, **facts)


def replay_headers(delivery: Delivery, letter: Letter) -> Headers:
    """The headers of a letter on its way back: as before a first try, but that it was seen before, and replayed."""
    place = original_place(delivery)
    headers = Headers.of(delivery.headers) | place
    journey = read_journey(replace(delivery, headers=headers, exchange=""), letter.first_seen or 0.0)
    journey = replace(
        journey,
        attempt=1,
        replays=journey.replays + 1,
        wait_left=0.0,
        waited=0.0,
    )
    return foreign_headers(delivery.headers) | write_journey(journey, letter.shop, letter.order)
