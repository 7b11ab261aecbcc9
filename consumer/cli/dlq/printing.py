"""Dead letters for people: lines, tables and progress."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from consumer.core.delivery import stamp
from consumer.core.escaping import escaped
from consumer.deadletters.follow import Followed
from consumer.deadletters.letter import Letter
from consumer.deadletters.summary import Growth, Summary
from consumer.deadletters.sweep import Control, Tally
from consumer.terminal import Styled, console, echo, styled

SHARED = "somebody else holds some of the dead letters just now (a look or a replay); they are not counted here"


def money(value: dict[str, Decimal]) -> str:
    """Such as "1,234.50 EUR, 900 JPY"."""
    return ", ".join(f"{value[currency]:,} {currency}" for currency in sorted(value)) or "unknown value"


def orders(count: int) -> str:
    """Such as "1 order" or "1,200 orders"."""
    return f"{count:,} order{'' if count == 1 else 's'}"


def print_summary(summary: Summary, changed: Growth | None = None, *, err: bool = False) -> None:
    """The totals, and two lines for each cause; with `changed`, what has come and gone since the look before."""
    echo(*_totals(summary, changed), err=err)
    ranked = summary.ranked()
    width = max((len(f"{group.count:,}") for group in ranked), default=0)
    for group in ranked:
        cause = group.reason if group.status is None else f"{group.reason} {group.status}"
        change = changed.causes.get((group.shop, group.reason, group.status, group.fingerprint), 0) if changed else 0
        whose = f"{group.shop or '?'}  {cause}  {money(group.value)}"
        head = f"{group.count:>{width},}  {summary.share(group):>4.0%}  {whose}"
        echo(styled(head, bold=True), f"  ({change:+,})" if change else "", err=err)
        span = f"{_moment(group.oldest)} to {_moment(group.newest)}"
        echo(f"{'':{width}}        {group.fingerprint}  {span}  {group.example}", err=err)
    if summary.shared:
        echo(styled(SHARED, fg="yellow"), err=True)


def _totals(summary: Summary, changed: Growth | None) -> Iterator[Styled]:
    text = f"{orders(summary.count)} dead"
    if summary.count:
        text += f", {money(summary.value)}, from {_moment(summary.oldest)} to {_moment(summary.newest)}"
    yield styled(text, bold=True)
    if changed is not None:
        yield styled(f"  {changed.total:+,} since the last look", fg="red" if changed.total > 0 else "green")


def print_letter(letter: Letter) -> None:
    """One letter on one line."""
    value = "?" if letter.value is None else f"{letter.value:,} {letter.currency}"
    cause = letter.reason if letter.status is None else f"{letter.reason} {letter.status}"
    place = f"{letter.shop or '?'} {letter.order or '?'}"
    echo(f"{_moment(letter.died_at):<24}  {letter.id}  {place}  {cause}  {value}  {letter.detail}")


def print_dossier(found: dict[str, object]) -> None:
    """Everything about one letter, indented as an outline."""
    for name, value in found.items():
        _outline(name, value, "")


def print_followed(followed: Followed) -> None:
    """What became of the replayed orders."""
    for outcome, count in sorted(followed.arrived.items()):
        echo(f"{orders(count)} {outcome}")
    if followed.left:
        echo(f"{orders(followed.left)} in no queue any more: delivered, or nothing had to be sent")
    if followed.waiting:
        echo(f"{orders(followed.waiting)} still on the way, or at an end that nobody has told")
    if followed.dead.count:
        echo("dead again:")
        print_summary(followed.dead)


@contextmanager
def progress(what: str, control: Control) -> Iterator[None]:
    """A bar on stderr that follows `control`, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
    )
    with Progress(*columns, TimeRemainingColumn(), console=console(err=True), transient=True) as bar:
        task = bar.add_task(what, total=None, rate="")

        def tell(tally: Tally) -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            rate = escaped(tally.note or "") or (f"{speed:,.0f}/s" if speed else "")
            bar.update(task, total=tally.matched, completed=tally.done + tally.failed, rate=rate)

        control.tell = tell
        yield


def _moment(moment: float | None) -> str:
    return "?" if moment is None else stamp(moment)


def _outline(name: str, value: object, indent: str) -> None:
    if isinstance(value, dict) and value:
        echo(indent, styled(name, bold=True), ":")
        for inner, each in value.items():
            _outline(str(inner), each, f"{indent}  ")
    elif isinstance(value, list) and value:
        echo(indent, styled(name, bold=True), ":")
        for each in value:
            _item(each, f"{indent}  ")
    elif value is not None:
        echo(f"{indent}{name}: {value}")


def _item(value: object, indent: str) -> None:
    if isinstance(value, dict):
        value = ", ".join(f"{name} {each}" for name, each in value.items() if each is not None)
    echo(f"{indent}- {value}")
