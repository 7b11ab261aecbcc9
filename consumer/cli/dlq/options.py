"""Options that several dlq commands have, and how their texts become values."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from consumer.core.outcome import DeadReason
from consumer.deadletters import filters
from consumer.deadletters.filters import Filter

F = TypeVar("F", bound=Callable[..., Any])

AUDIT_FILE = "neuroon-audit.jsonl"


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Unix seconds from "2026-01-31T03:00:00Z" or "2h ago"."""
    try:
        return None if value is None else filters.moment(value, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _rate(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Letters a second from "50", "50/s" or "30/m"; at least one a minute, so that no letter is held for long."""
    if value is None:
        return None
    number, _slash, unit = value.partition("/")
    try:
        rate = float(number) / {"": 1, "s": 1, "m": 60}[unit]
    except (ValueError, KeyError):
        rate = 0.0
    if not 1 / 60 <= rate <= 1e6:  # noqa: PLR2004 - more than that is no limit at all
        raise click.BadParameter("expected a number a second such as 50/s, or a minute such as 30/m; at least 1/m")
    return rate


_FILTERS = (
    click.option("--shop", metavar="SHOP", help="Only of this shop."),
    click.option("--reason", type=click.Choice([each.value for each in DeadReason]), help="Only with this reason."),
    click.option("--status", type=int, metavar="CODE", help="Only with this HTTP status as the last answer."),
    click.option("--order", metavar="ORDER", help="Only of this order."),
    click.option("--fingerprint", metavar="HEX", help="Only of this cause; `summary` names them."),
    click.option("--since", callback=_moment, metavar="WHEN", help="Only dead since: 2026-01-31T03:00:00Z, or 2h ago."),
    click.option("--until", callback=_moment, metavar="WHEN", help="Only dead until then."),
)
rate_option = click.option("--rate", callback=_rate, metavar="N/s", help="No more than so many a second.")
limit_option = click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="No more than N, the longest dead first."
)
all_option = click.option("--all", "every", is_flag=True, help="All dead letters; needed when nothing else is chosen.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only show what would be done.")
audit_option = click.option(
    "--audit", default=AUDIT_FILE, show_default=True, metavar="FILE", help="Where it is recorded; - for stdout."
)


def filter_options(command: F) -> F:
    """The options that choose letters."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def chosen(ids: tuple[str, ...], given: dict[str, Any]) -> Filter:
    """The filter that the ids and the options of `filter_options` amount to."""
    return Filter(ids=frozenset(ids), **given)


def something_chosen(wanted: Filter, *, every: bool) -> None:
    """A usage error if nothing is chosen, or all and something."""
    if wanted.is_empty and not every:
        raise click.UsageError("expected ids, a filter such as --reason, or --all")
    if not wanted.is_empty and every:
        raise click.UsageError("expected either --all or ids and filters")


def audit_fits(audit: str, *, as_json: bool) -> None:
    """A usage error if the audit and the result would both go to stdout as JSON."""
    if audit == "-" and as_json:
        raise click.UsageError("expected --audit FILE with --json: stdout takes the result and nothing else")
