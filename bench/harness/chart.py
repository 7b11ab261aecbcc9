"""Bars, drawn by hand: a panel for each workload in which several competed."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.harness.competitors import ALL_PEERS
from bench.harness.contest import Result, Row
from bench.harness.figures import formatted, ratio
from bench.harness.table import base

_WIDTH, _NAMES, _VALUES = 820, 210, 130
_BAR, _GAP, _HEAD, _BETWEEN = 20, 7, 34, 24
_OURS, _OTHERS = "#0f766e", "#94a3b8"
# A picture without a background is read on white and on black pages: its texts are of a grey that both bear.
_STYLE = "text{font:13px system-ui,sans-serif;fill:#64748b}.title{font-weight:600;font-size:14px}"


def chart(results: Sequence[Result]) -> str:
    """An SVG of each workload's first figure."""
    top, panels = 0, []
    for result in results:
        if base(result.rows) is not None:
            drawn, height = _panel(result, top)
            panels.append(drawn)
            top += height + _BETWEEN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {max(top, 1)}" role="img">'
        f"<style>{_STYLE}</style>\n{''.join(panels)}</svg>\n"
    )


def _panel(result: Result, top: int) -> tuple[str, int]:
    """One workload's bars, and their height."""
    metric = result.workload.metrics[0]
    rows = [row for row in result.rows if metric.key in row.medians]
    against = base(rows)
    values = [row.medians[metric.key] for row in rows]
    first = against.medians[metric.key] if against else None
    better = "" if metric.more_is_better else ", less is better"
    title = escape(f"{result.workload.title} ({metric.title}{better})")
    labels = [f"{formatted(value, metric.digits)}  {_times(ratio(value, first))}" for value in values]
    shares = [value / max(values) if max(values) else 0.0 for value in values]
    tops = [top + _HEAD + number * (_BAR + _GAP) for number in range(len(rows))]
    bars = "".join(map(_bar, rows, shares, labels, tops))
    return f'<text class="title" x="0" y="{top + 18}">{title}</text>\n{bars}', _HEAD + len(rows) * (_BAR + _GAP)


def _bar(row: Row, share: float, label: str, top: int) -> str:
    """A name, a bar that is `share` of the longest, and its label."""
    colour = _OTHERS if row.competitor in ALL_PEERS else _OURS
    width, text = round(share * (_WIDTH - _NAMES - _VALUES)), top + _BAR - 5
    return (
        f'<text x="{_NAMES - 10}" y="{text}" text-anchor="end">{escape(row.competitor.name)}</text>'
        f'<rect x="{_NAMES}" y="{top}" width="{max(width, 1)}" height="{_BAR}" rx="3" fill="{colour}"/>'
        f'<text x="{_NAMES + width + 8}" y="{text}">{label}</text>\n'
    )


def _times(value: float | None) -> str:
    return "" if value is None else f"({value:.2f}x)"
