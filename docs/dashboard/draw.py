"""Draw the dashboard's panels from what Prometheus answered to their queries: draw.py ANSWERS.json PICTURE.png.

Places, titles, units and legends are those of the dashboard's JSON. It is a likeness, not Grafana's own rendering.
"""

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, MultipleLocator

DASHBOARD = Path(__file__).parents[2] / "deploy/k8s/components/monitoring/neuroon-consumer.json"
COLUMNS, COLUMN_INCHES, ROW_INCHES = 24, 0.66, 0.3
# Between panels, and inside one for title, labels and legend; in inches.
GAP, TITLE, LEFT, BOTTOM = 0.08, 0.34, 0.62, 0.62
MINUTE, THOUSAND = 60, 1000
PAPER, CARD, INK, FAINT = "#f4f5f5", "#ffffff", "#24292e", "#d8dadd"
COLOURS = ("#56a64b", "#3274d9", "#e0b400", "#e02f44", "#8f3bb8", "#ff780a", "#33a2e5", "#7a7d85")

Json = dict[str, Any]


def number(value: float, unit: str) -> str:
    """A number as a person reads it: seconds with their unit, large counts with a k."""
    if unit == "s":
        scale, name = (MINUTE, "min") if value >= 2 * MINUTE else (1, "s") if value >= 1 else (0.001, "ms")
        return f"{value / scale:.3g} {name}" if value else "0 s"
    short = f"{value / THOUSAND:.3g}k" if value >= THOUSAND else f"{value:.3g}"
    return f"{short}/s" if unit == "ops" else short


def legend(form: str, labels: dict[str, str]) -> str:
    """Grafana's `{{label}}`, filled in."""
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), form).strip() or "(none)"


def lines(panel: Json, answers: list[list[Json]]) -> list[tuple[str, list[float], list[float]]]:
    """Name, minutes and values of each series; what is unknown (NaN) leaves a gap."""
    return [
        (
            legend(target.get("legendFormat", ""), series["metric"]),
            [at / 60 for at, _ in series["values"]],
            [float(value) if math.isfinite(float(value)) else math.nan for _, value in series["values"]],
        )
        for target, found in zip(panel["targets"], answers, strict=True)
        for series in found
    ]


def _steps(top: float, unit: str) -> Locator:
    """Some four lines across, at whole minutes where seconds are many, at whole numbers of things."""
    if unit == "s" and top > 2 * MINUTE:
        return MultipleLocator(MINUTE * math.ceil(top / MINUTE / 4))
    return MaxNLocator(4, integer=unit == "short")


class Page:
    """The figure, in the dashboard's own grid."""

    def __init__(self, rows: int, span: tuple[float, float]) -> None:
        self._width, self._height = COLUMNS * COLUMN_INCHES, rows * ROW_INCHES
        self._start, self._end = span
        self.figure = Figure(figsize=(self._width, self._height), dpi=100, facecolor=PAPER)

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        box = (left / self._width, bottom / self._height, width / self._width, height / self._height)
        return self.figure.add_axes(box)

    def row(self, title: str, top: int) -> None:
        """A heading over panels."""
        y = 1 - (top * ROW_INCHES + 0.2) / self._height
        self.figure.text(0.006, y, title, fontsize=12, fontweight="bold", color=INK, va="center")

    def panel(self, panel: Json, answers: list[list[Json]]) -> None:
        """One panel, where the dashboard has it."""
        grid = panel["gridPos"]
        left, width = grid["x"] * COLUMN_INCHES + GAP / 2, grid["w"] * COLUMN_INCHES - GAP
        height = grid["h"] * ROW_INCHES - GAP
        bottom = self._height - (grid["y"] + grid["h"]) * ROW_INCHES + GAP / 2
        card = self._axes(left, bottom, width, height)
        card.set(xticks=[], yticks=[], facecolor=CARD)
        card.spines[:].set_color(FAINT)
        card.text(
            0.1 / width, 1 - 0.17 / height, panel["title"], fontsize=9.5, fontweight="bold", va="center", color=INK
        )
        unit = panel["fieldConfig"]["defaults"].get("unit", "short")
        found = lines(panel, answers)
        if panel["type"] == "stat":
            last = [value for _, _, values in found for value in values if not math.isnan(value)][-1]
            card.text(0.5, 0.45, number(last, unit), fontsize=26, ha="center", va="center", color=COLOURS[0])
            return
        inside = self._axes(left + LEFT, bottom + BOTTOM, width - LEFT - 0.12, height - BOTTOM - TITLE)
        self._plot(inside, found, unit)

    def _plot(self, axes: Axes, found: list[tuple[str, list[float], list[float]]], unit: str) -> None:
        for index, (name, minutes, values) in enumerate(found):
            colour = COLOURS[index % len(COLOURS)]
            axes.plot([at - self._start for at in minutes], values, color=colour, linewidth=1.1, label=name)
            axes.fill_between([at - self._start for at in minutes], values, color=colour, alpha=0.07, linewidth=0)
        axes.set_xlim(0, self._end - self._start)
        axes.set_ylim(bottom=0)
        if axes.get_ylim()[1] < 1 and unit == "short":
            axes.set_ylim(top=1)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} min"))
        axes.yaxis.set_major_locator(_steps(axes.get_ylim()[1], unit))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, unit)))
        axes.tick_params(labelsize=7.5, colors="#5a5f66", length=0)
        axes.grid(color=FAINT, linewidth=0.5)
        axes.spines[:].set_visible(False)
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(-0.02, -0.16),
            ncols=max(1, round(axes.get_position().width * self._width / 1.15)),
            fontsize=7,
            frameon=False,
            handlelength=1,
            columnspacing=1,
            handletextpad=0.4,
            borderaxespad=0,
            labelcolor=INK,
        )  # fmt: skip - one argument a line is no easier to read


def draw(dashboard: Json, answers: dict[str, list[list[Json]]]) -> Figure:
    """The whole dashboard over the time that the answers tell of."""
    moments = [
        at / 60 for panel in answers.values() for found in panel for series in found for at, _ in series["values"]
    ]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    page = Page(rows, (min(moments), max(moments)))
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            page.row(panel["title"], panel["gridPos"]["y"])
        else:
            page.panel(panel, answers[str(panel["id"])])
    return page.figure


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    draw(json.loads(DASHBOARD.read_text()), json.loads(source.read_text())).savefig(target)
