"""One operation on dead letters: recorded from its first line to its last, stoppable, and clear about what it left."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from consumer.adapters.deadletterqueue import NoQueueError
from consumer.adapters.link import LINK_ERRORS, describe
from consumer.cli.dlq import printing
from consumer.cli.dlq.desk import at_desk
from consumer.cli.dlq.memory import Memory, memory
from consumer.deadletters.audit import Audit, AuditError, audit_to
from consumer.deadletters.browse import Desk
from consumer.deadletters.envelope import EnvelopeError
from consumer.deadletters.sweep import Control, Tally
from consumer.settings import Settings

# Keeps `Control.tally` up to date.
Work = Callable[[Desk, Audit, Control, Memory | None], Awaitable[object]]


@dataclass(frozen=True)
class Operation:
    """What is done to how many letters, and where it is recorded; `why` goes to the ledger, `facts` to the audit."""

    action: str
    matched: int
    audit: str
    facts: dict[str, object]
    why: str = ""


def carry_out(settings: Settings, operation: Operation, work: Work) -> tuple[Tally, str]:
    """Do `work` with a progress bar; how far it came, and the operation's id.

    A signal ends it between two letters. So do a lost connection and an audit that cannot be written: the tally says in
    `stopped` what it was. What it did before stays done, and what it held goes back.
    """
    control = Control(tally=Tally(operation.matched))

    async def recorded(desk: Desk) -> str:
        async with memory(settings) as remembered:
            with audit_to(operation.audit, operation.action) as record:
                if remembered is not None:
                    remembered.listen(record, operation.why)
                record.started(operation.matched, **operation.facts)
                with printing.progress(operation.action, control):
                    await _to_an_end(work(desk, record, control, remembered), control)
                _record_end(record, control.tally)
                return record.operation

    identity = at_desk(settings, recorded, control)
    return control.tally, identity


async def _to_an_end(work: Awaitable[object], control: Control) -> None:
    try:
        await work
    except (AuditError, EnvelopeError, NoQueueError) as error:
        control.tally.stopped = str(error)
    except LINK_ERRORS as error:
        control.tally.stopped = f"the broker cannot be used: {describe(error)}"


def _record_end(record: Audit, tally: Tally) -> None:
    try:
        record.ended(matched=tally.matched, done=tally.done, failed=tally.failed, stopped=tally.stopped)
    except AuditError as error:
        tally.stopped = tally.stopped or str(error)
