"""`dlq summary`, `dlq list`, `dlq show`: they change nothing."""

import sys
from typing import Any

import click

from consumer.cli.common import FAILED, complain, json_option, print_json, settings_or_exit
from consumer.cli.dlq import printing
from consumer.cli.dlq.desk import at_desk
from consumer.cli.dlq.options import audit_fits, audit_option, chosen, filter_options, limit_option
from consumer.deadletters import browse
from consumer.deadletters.audit import audit_to
from consumer.deadletters.browse import Desk, looking
from consumer.deadletters.dossier import dossier
from consumer.deadletters.filters import Filter
from consumer.deadletters.letter import Letter
from consumer.deadletters.summary import Growth, Summary, growth
from consumer.deadletters.sweep import Control
from consumer.terminal import echo


@click.command()
@filter_options
@click.option(
    "--watch", type=click.FloatRange(1), metavar="SECONDS", help="Print it again each time, with what has changed."
)
@json_option
def summary(watch: float | None, as_json: bool, **given: Any) -> None:
    """How much is stuck, whose, and why: orders and money by shop and cause.

    With --watch, the messages are read again when their number has changed. With --json each summary is a line.
    """
    wanted = chosen((), given)
    control = Control() if watch else None  # to stop watching is its proper end
    at_desk(settings_or_exit(), lambda desk: _summaries(desk, wanted, watch, control, as_json=as_json), control)


async def _summaries(
    desk: Desk, wanted: Filter, watch: float | None, control: Control | None, *, as_json: bool
) -> None:
    now = await browse.summarise(desk, wanted)
    _print_summary(now, None, as_json=as_json)
    if watch is None or control is None:
        return
    counted = await desk.queue.dead_count()
    while True:
        await control.sleep(watch)
        if control.stop.is_set():
            return
        before, count = now, await desk.queue.dead_count()
        if count != counted:  # else the messages themselves need not be read
            now, counted = await browse.summarise(desk, wanted), count
        _print_summary(now, growth(before, now), as_json=as_json)


def _print_summary(now: Summary, changed: Growth | None, *, as_json: bool) -> None:
    if as_json:
        print_json(now.as_dict() | ({} if changed is None else {"change": changed.total}))
    else:
        printing.print_summary(now, changed)


@click.command("list")
@filter_options
@limit_option
@click.option("--newest", is_flag=True, help="The last to die first; otherwise in the order of the queue.")
@json_option
def list_(limit: int | None, newest: bool, as_json: bool, **given: Any) -> None:
    """One line for each dead letter."""
    wanted = chosen((), given)

    async def work(desk: Desk) -> tuple[list[Letter], bool]:
        return (await browse.newest(desk, wanted, limit), False) if newest else await _first(desk, wanted, limit)

    # Printed when no letter is held any more: whoever reads the lines may be slow, as in `| less`, or gone.
    letters, shared = at_desk(settings_or_exit(), work)
    for letter in letters:
        _print(letter, as_json=as_json)
    if shared:
        echo(printing.SHARED, err=True)
    if not letters:
        echo("no dead letter matches", err=True)


async def _first(desk: Desk, wanted: Filter, limit: int | None) -> tuple[list[Letter], bool]:
    """The letters in the order of the queue, and whether some may be missing because somebody else holds them."""
    letters: list[Letter] = []
    async with looking(desk, wanted) as look:
        while limit is None or len(letters) < limit:
            found = await look.take()
            if found is None:
                break
            letters.append(found[1])
    return letters, look.shared


def _print(letter: Letter, *, as_json: bool) -> None:
    if as_json:
        print_json(letter.as_dict())
    else:
        printing.print_letter(letter)


@click.command()
@click.argument("identity", metavar="ID")
@click.option("--reveal", is_flag=True, help="Show the customer's fields too; this is recorded in the audit.")
@audit_option
@json_option
def show(identity: str, reveal: bool, audit: str, as_json: bool) -> None:
    """Everything about one dead letter, and what to do about it."""
    audit_fits(audit, as_json=as_json)

    async def work(desk: Desk) -> dict[str, object] | None:
        found = await browse.find(desk, identity)
        if found is None:
            return None
        held, letter = found
        if reveal:
            with audit_to(audit, "reveal") as record:
                record.started(1, filter={"ids": [identity]})
                record.letter(letter)
                record.ended(matched=1, done=1, failed=0)
        return dossier(held.delivery, letter, desk.read, desk.shops, reveal=reveal)

    found = at_desk(settings_or_exit(), work)
    if found is None:
        complain(f"no dead letter has the id {identity}")
        sys.exit(FAILED)
    if as_json:
        print_json(found)
    else:
        printing.print_dossier(found)
