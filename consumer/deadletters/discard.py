"""Throwing dead letters away for good; what remains of them is the record and, if there is one, an export."""

from consumer.adapters.deadletterqueue import Held, Hold
from consumer.deadletters.audit import Audit
from consumer.deadletters.browse import Desk
from consumer.deadletters.letter import Letter
from consumer.deadletters.sweep import Control, Plan, Tally, sweep


async def discard(desk: Desk, planned: Plan, audit: Audit, control: Control) -> Tally:
    """Take the planned letters away. Raises AuditError, NoQueueError or one of LINK_ERRORS."""

    async def act(_: Hold, __: Held, letter: Letter) -> bool:
        value = None if letter.value is None else str(letter.value)
        audit.letter(letter, value=value, currency=letter.currency)
        return True

    return await sweep(desk, planned, act, control)
