"""Before anything is sent or destroyed: show what it would touch, and ask."""

import sys

import click

from consumer.cli.common import WRONG_USAGE, complain, print_json
from consumer.cli.dlq import printing
from consumer.deadletters.summary import Summary
from consumer.deadletters.sweep import Tally
from consumer.terminal import echo


def agreed(what: str, summary: Summary, *, yes: bool) -> bool:
    """Whether to go on. Without a terminal to ask at and without --yes, nothing is done: exit status 2."""
    printing.print_summary(summary, err=True)
    if yes:
        return True
    if not sys.stdin.isatty():
        complain(f"nothing was done: to {what} them, expected --yes, since there is no terminal to ask at")
        sys.exit(WRONG_USAGE)
    return click.confirm(f"{what} {printing.orders(summary.count)}?", err=True)


def print_dry_run(what: str, summary: Summary, *, as_json: bool) -> None:
    """What would be touched."""
    if as_json:
        print_json(
            {"operation": None, "dryRun": True, "matched": summary.count, "done": 0, "failed": 0, **_plan(summary)}
        )
    else:
        echo(f"would {what}:")
        printing.print_summary(summary)


def print_untouched(summary: Summary, *, as_json: bool) -> None:
    """Nothing was there to do anything to, or it was not agreed to."""
    if as_json:
        print_json({"operation": None, "matched": summary.count, "done": 0, "failed": 0})
    elif not summary.count:
        echo("no dead letter matches")
    else:
        echo("nothing was done")


def print_done(done: str, tally: Tally) -> None:
    """How it ended."""
    echo(f"{printing.orders(tally.done)} {done}")
    if tally.failed:
        echo(f"{printing.orders(tally.failed)} not confirmed by the broker, and still there")
    if tally.left:
        echo(f"{printing.orders(tally.left)} left: {tally.stopped}; run it again to go on")
    elif tally.stopped:
        complain(tally.stopped)


def _plan(summary: Summary) -> dict[str, object]:
    told = summary.as_dict()
    return {"value": told["value"], "groups": told["groups"]}
