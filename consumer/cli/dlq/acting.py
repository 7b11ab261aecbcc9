"""`dlq replay` and `dlq discard`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from consumer.cli.common import (
    FAILED,
    WRONG_USAGE,
    complain,
    json_option,
    print_json,
    settings_or_exit,
    tracing_or_exit,
)
from consumer.cli.dlq import asking, printing
from consumer.cli.dlq.desk import at_desk
from consumer.cli.dlq.memory import Memory
from consumer.cli.dlq.operation import Operation, carry_out
from consumer.cli.dlq.options import (
    all_option,
    audit_fits,
    audit_option,
    chosen,
    dry_run_option,
    filter_options,
    limit_option,
    rate_option,
    something_chosen,
    yes_option,
)
from consumer.core.settlement import Routes
from consumer.deadletters import browse
from consumer.deadletters.audit import Audit
from consumer.deadletters.browse import Desk
from consumer.deadletters.discard import discard as discard_letters
from consumer.deadletters.filters import Filter
from consumer.deadletters.follow import Followed, Following
from consumer.deadletters.pace import Pace
from consumer.deadletters.repair import Repair, RepairError, repair
from consumer.deadletters.replay import Replay
from consumer.deadletters.sweep import Control, Plan, Tally, plan
from consumer.settings import Settings
from consumer.tracing import Tracing

# A try's answer is on its way for so long after its time-out, at most.
MARGIN_SECONDS = 1.0
UNCONSUMED = (
    "no consumer takes orders from {}, where they wait: start neuroon-consumer, or find out why it has paused (the API "
    "is down, or the broker has an alarm). Ctrl-C ends the waiting"
)


@dataclass(frozen=True)
class Task:
    """What was asked for on the command line."""

    wanted: Filter
    limit: int | None
    audit: str
    as_json: bool
    per_second: float | None = None
    follow: bool = False
    event: bytes | None = None
    why: str | None = None


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filter_options
@limit_option
@all_option
@rate_option
@click.option("--follow", is_flag=True, help="Wait for the orders, and tell what became of them.")
@click.option(
    "--event",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send the event in this file in place of the one letter's own; same order, same shop.",
)
@yes_option
@dry_run_option
@audit_option
@json_option
def replay(ids: tuple[str, ...], yes: bool, dry_run: bool, **given: Any) -> None:
    """Bring dead letters back to the main queue, for a new first try.

    Each is published, confirmed, and only then taken away: a crash sends at most one twice and loses none. Live
    orders go first. Ctrl-C stops between two letters; running it again goes on.
    """
    task = _task(ids, given)
    settings = settings_or_exit()
    tracing = tracing_or_exit(settings)
    if task.event is not None and len(ids) != 1:
        raise click.UsageError("expected exactly one ID with --event")
    planned, fixed = at_desk(settings, lambda desk: _plan_replay(desk, task))
    if not _go_on("replay", task, planned, yes=yes, dry_run=dry_run):
        return
    tally, followed, operation = _replay(settings, tracing, task, planned, fixed)
    if task.as_json:
        print_json(tally.as_dict(operation) | ({} if followed is None else {"followed": followed.as_dict()}))
    else:
        asking.print_done("replayed", tally)
        if followed is not None:
            printing.print_followed(followed)
    again = followed is not None and (followed.dead.count or followed.waiting)
    sys.exit(0 if tally.complete and not again else FAILED)


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filter_options
@limit_option
@all_option
@click.option("--why", required=True, help="Why they may go; it is recorded.")
@yes_option
@dry_run_option
@audit_option
@json_option
def discard(ids: tuple[str, ...], yes: bool, dry_run: bool, **given: Any) -> None:
    """Throw dead letters away for good. `dlq export` first, if anybody may ask for them."""
    task = _task(ids, given)
    if not (task.why or "").strip():
        raise click.UsageError("expected a reason with --why")
    settings = settings_or_exit()
    planned = at_desk(settings, lambda desk: plan(desk, task.wanted, task.limit))
    if not _go_on("discard", task, planned, yes=yes, dry_run=dry_run):
        return

    async def work(desk: Desk, record: Audit, control: Control, _: Memory | None) -> Tally:
        return await discard_letters(desk, planned, record, control)

    tally, operation = carry_out(settings, _operation("discard", task, planned), work)
    if task.as_json:
        print_json(tally.as_dict(operation))
    else:
        asking.print_done("discarded", tally)
    sys.exit(0 if tally.complete else FAILED)


def _task(ids: tuple[str, ...], given: dict[str, Any]) -> Task:
    """The task in the command's options; a usage error if they do not fit together."""
    limit, audit, as_json, every = (given.pop(name) for name in ("limit", "audit", "as_json", "every"))
    rate, follow, event = given.pop("rate", None), given.pop("follow", False), given.pop("event", None)
    why = given.pop("why", None)
    wanted = chosen(ids, given)
    something_chosen(wanted, every=every)
    audit_fits(audit, as_json=as_json)
    return Task(wanted, limit, audit, as_json, rate, follow, None if event is None else event.read_bytes(), why)


def _go_on(what: str, task: Task, planned: Plan, *, yes: bool, dry_run: bool) -> bool:
    """Show the plan; whether it is to be carried out."""
    missing = task.wanted.ids - planned.wanted.keys()
    for identity in sorted(missing):
        complain(f"no dead letter has the id {identity}, or it does not match, or somebody else holds it")
    if dry_run:
        asking.print_dry_run(what, planned.summary, as_json=task.as_json)
    elif not planned.summary.count or not asking.agreed(what, planned.summary, yes=yes):
        asking.print_untouched(planned.summary, as_json=task.as_json)
    else:
        return True
    if missing and not planned.wanted:
        sys.exit(FAILED)
    return False


def _operation(what: str, task: Task, planned: Plan) -> Operation:
    facts: dict[str, object] = {"filter": task.wanted.as_dict(), "limit": task.limit}
    if task.why is not None:
        facts["why"] = task.why
    return Operation(what, sum(planned.wanted.values()), task.audit, facts, task.why or "")


async def _plan_replay(desk: Desk, task: Task) -> tuple[Plan, Repair | None]:
    planned = await plan(desk, task.wanted, task.limit)
    if task.event is None or not planned.wanted:
        return planned, None
    found = await browse.find(desk, next(iter(planned.wanted)))
    if found is None:
        return planned, None
    try:
        return planned, repair(found[0].delivery, found[1], task.event, desk.read)
    except RepairError as error:
        complain(str(error))
        sys.exit(WRONG_USAGE)


def _replay(
    settings: Settings, tracing: Tracing, task: Task, planned: Plan, fixed: Repair | None
) -> tuple[Tally, Followed | None, str]:
    followed: Followed | None = None

    async def work(desk: Desk, record: Audit, control: Control, remembered: Memory | None) -> Tally:
        nonlocal followed
        run = Replay(desk, record, Pace(desk.queue, task.per_second), fixed, tracing.replayed)
        if not task.follow:
            return await run.run(planned, control)
        following = Following(desk, rungs(settings.routes), remembered, quiet_seconds(settings))
        run.on_replayed = following.sent
        following.on_unconsumed = lambda: complain(UNCONSUMED.format(settings.routes.queues.main))
        tally = await run.run(planned, control)
        followed = await following.watch(control, lambda _: None)
        return tally

    async def traced(desk: Desk, record: Audit, control: Control, remembered: Memory | None) -> Tally:
        try:
            return await work(desk, record, control, remembered)
        finally:
            await tracing.close()

    action = "replay" if fixed is None else "edit"
    tally, operation = carry_out(settings, _operation(action, task, planned), traced)
    return tally, followed, operation


def rungs(routes: Routes) -> list[str]:
    """The names of all retry queues."""
    ladder = routes.ladder
    return sorted({routes.queues.retry(rung.name) for rung in (*ladder.rungs, ladder.hold)})


def quiet_seconds(settings: Settings) -> float:
    """For how long empty queues prove that nothing is on its way: a try that is under way shows in none of them."""
    return settings.consumer_request_timeout + MARGIN_SECONDS
