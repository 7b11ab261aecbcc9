"""Results as tables: for a terminal, and in Markdown."""

from rich.markup import escape
from rich.table import Table

from bench.harness.competitors import ALL_PEERS
from bench.harness.contest import Metric, Result, Row
from bench.harness.figures import formatted, ratio


def base(rows: list[Row]) -> Row | None:
    """Whom the others are held against: the first peer that ran, else the first of all, if there are others."""
    ran = [row for row in rows if row.medians]
    peers = [row for row in ran if row.competitor in ALL_PEERS]
    return (peers or ran)[0] if len(ran) > 1 else None


def columns(result: Result) -> list[str]:
    """The heads of the columns."""
    first, *others = result.workload.metrics
    return ["", first.title, "ratio", *(metric.title for metric in others)]


def lines(result: Result) -> list[list[str]]:
    """A line for each competitor."""
    against = base(result.rows)
    return [_line(row, against, result.workload.metrics) for row in result.rows]


def _line(row: Row, against: Row | None, metrics: tuple[Metric, ...]) -> list[str]:
    first, *others = metrics
    value = row.medians.get(first.key)
    times = ratio(value, against.medians.get(first.key)) if against else None
    cells = [formatted(row.medians.get(metric.key), metric.digits) for metric in others]
    ratio_cell = "-" if times is None else f"{times:.2f}x"
    return [row.competitor.name, formatted(value, first.digits), ratio_cell, *cells]


def notes(result: Result) -> list[str]:
    """What must be said beside the figures, a line for each competitor of whom there is something to say."""
    return [f"{row.competitor.name}: {row.note}" for row in result.rows if row.note]


def for_terminal(result: Result) -> Table:
    """One workload's table."""
    said = "\n".join(map(escape, notes(result)))
    table = Table(title=result.workload.title, title_justify="left", caption=said or None, caption_justify="left")
    for number, column in enumerate(columns(result)):
        table.add_column(column, justify="right" if number else "left", no_wrap=not number)
    for line in lines(result):
        table.add_row(*line)
    return table


def for_markdown(result: Result) -> str:
    """The same in Markdown, with numbers to the right."""
    heads = columns(result)
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines(result)]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    said = "".join(f"- {note}\n" for note in notes(result))
    return f"### {result.workload.title}\n\n{table}" + (f"\n{said}" if said else "")
