"""Dead letters for people: lines, tables and progress."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from consumer.core.delivery import stamp
from consumer.deadletters.follow import Followed
from consumer.deadletters.letter import Letter
from consumer.deadletters.summary import Growth, Summary
from consumer.deadletters.sweep import Control, Tally

SHARED = "somebody else holds some of the dead letters just now (a look or a replay); they are not counted here"


def money(value: dict[str, Decimal]) -> str:
    """Such as "1,234.50 EUR, 900 JPY"."""
    return ", ".join(f"{value[currency]:,} {currency}" for currency in sorted(value)) or "unknown value"


def orders(count: int) -> str:
    """Such as "1 order" or "1,200 orders"."""
    return f"{count:,} order{'' if count == 1 else 's'}"


def print_summary(summary: Summary, changed: Growth | None = None, *, err: bool = False) -> None:
    """Totals and a table of causes; with `changed`, what has come and gone since the look before."""
    console = Console(stderr=err, highlight=False, soft_wrap=False)
    console.print(_totals(summary, changed))
    if summary.groups:
        console.print(_causes(summary, changed))
    if summary.shared:
        console.print(f"[yellow]{SHARED}[/yellow]")


def _totals(summary: Summary, changed: Growth | None) -> Text:
    text = Text(f"{orders(summary.count)} dead", style="bold")
    if summary.count:
        text.append(f", {money(summary.value)}")
    if summary.oldest is not None and summary.newest is not None:
        text.append(f", from {stamp(summary.oldest)} to {stamp(summary.newest)}")
    if changed is not None:
        text.append(f"  {changed.total:+,} since the last look", style="red" if changed.total > 0 else "green")
    return text


def _causes(summary: Summary, changed: Growth | None) -> Table:
    table = Table("shop", "reason", "status", "orders", "share", "value", "oldest", "newest", "fingerprint", "example")
    for group in summary.ranked():
        change = changed.causes.get((group.shop, group.reason, group.status, group.fingerprint), 0) if changed else 0
        table.add_row(
            Text(group.shop or "?"),
            Text(group.reason),
            str(group.status or ""),
            f"{group.count:,}" + (f" ({change:+,})" if change else ""),
            f"{summary.share(group):.0%}",
            money(group.value),
            _moment(group.oldest),
            _moment(group.newest),
            group.fingerprint,
            Text(group.example),
        )
    return table


def print_letter(letter: Letter) -> None:
    """One letter on one line."""
    value = "?" if letter.value is None else f"{letter.value:,} {letter.currency}"
    cause = letter.reason if letter.status is None else f"{letter.reason} {letter.status}"
    place = f"{letter.shop or '?'} {letter.order or '?'}"
    click.echo(f"{_moment(letter.died_at):<24}  {letter.id}  {place}  {cause}  {value}  {letter.detail}")


def print_dossier(found: dict[str, object]) -> None:
    """Everything about one letter, indented as an outline."""
    for name, value in found.items():
        _outline(name, value, "")


def print_followed(followed: Followed) -> None:
    """What became of the replayed orders."""
    for outcome, count in sorted(followed.arrived.items()):
        click.echo(f"{orders(count)} {outcome}")
    if followed.left:
        click.echo(f"{orders(followed.left)} in no queue any more: delivered, or nothing had to be sent")
    if followed.waiting:
        click.echo(f"{orders(followed.waiting)} still on the way")
    if followed.dead.count:
        click.echo("dead again:")
        print_summary(followed.dead)


@contextmanager
def progress(what: str, control: Control) -> Iterator[None]:
    """A bar on stderr that follows `control`, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None, rate="")

        def tell(tally: Tally) -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            rate = tally.note or (f"{speed:,.0f}/s" if speed else "")
            bar.update(task, total=tally.matched, completed=tally.done + tally.failed, rate=rate)

        control.tell = tell
        yield


def _moment(moment: float | None) -> str:
    return "?" if moment is None else stamp(moment)


def _outline(name: str, value: object, indent: str) -> None:
    if isinstance(value, dict) and value:
        click.echo(f"{indent}{click.style(name, bold=True)}:")
        for inner, each in value.items():
            _outline(str(inner), each, f"{indent}  ")
    elif isinstance(value, list) and value:
        click.echo(f"{indent}{click.style(name, bold=True)}:")
        for each in value:
            _item(each, f"{indent}  ")
    elif value is not None:
        click.echo(f"{indent}{name}: {value}")


def _item(value: object, indent: str) -> None:
    if isinstance(value, dict):
        told = ", ".join(f"{name} {each}" for name, each in value.items() if each is not None)
        click.echo(f"{indent}- {told}")
    else:
        click.echo(f"{indent}- {value}")
