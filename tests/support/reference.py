"""The pages of docs/ that are written by the code: `python -m tests.support.reference` writes them anew."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase

from consumer.cli import main
from consumer.settings import SECRETS, Settings
from consumer.telemetry import Telemetry

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- written by the code: make docs -->\n", "<!-- until here -->\n"


def settings_table() -> str:
    """Every setting: its name, what stands for it when nothing is given, and its meaning."""
    lines = ["| name | default | meaning |", "|---|---|---|"]
    for field, info in Settings.model_fields.items():
        name = field.upper()
        default = "" if info.default is None else f"`{info.default}`"
        secret = "; **secret**: never shown in logs or errors" if name in SECRETS else ""
        lines.append(f"| `{name}` | {default} | {_cell(info.description or '')}{secret} |")
    return "\n".join(lines) + "\n"


def commands_list() -> str:
    """Every command, with its options."""
    return "\n".join(_command(main, "neuroon-consumer"))


def _command(command: click.Command, path: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        if path != "neuroon-consumer":
            yield f"## {path.removeprefix('neuroon-consumer ')}\n\n{_prose(command)}\n"
        for name in sorted(command.commands):
            yield from _command(command.commands[name], f"{path} {name}")
        return
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    level = "###" if path.count(" ") > 1 else "##"
    yield f"{level} {path.removeprefix('neuroon-consumer ')}\n\n    {usage}\n\n{_prose(command)}\n"
    records = [record for each in command.params if (record := each.get_help_record(context)) and each.name != "help"]
    if records:
        rows = [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in records]
        yield "\n".join(["| option | |", "|---|---|", *rows]) + "\n"


def _prose(command: click.Command) -> str:
    text = (command.help or "").replace("\b", "")
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    return "\n\n".join(part for part in paragraphs if part)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def metrics_table() -> str:
    """Every metric, as it is scraped."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in _metrics(Telemetry()):
        (described,) = metric.describe()
        name = f"{described.name}_total" if described.type == "counter" else described.name
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        kind = "histogram, 1 ms to 60 s" if isinstance(metric, Histogram) else described.type
        lines.append(f"| `{name}` | {kind} | {labels} | {_cell(described.documentation)} |")
    return "\n".join(lines) + "\n"


def _metrics(telemetry: Telemetry) -> Iterator[MetricWrapperBase]:
    for each in vars(telemetry).values():
        if isinstance(each, MetricWrapperBase):
            yield each


PAGES = {"settings.md": settings_table, "commands.md": commands_list, "metrics.md": metrics_table}


def renewed(page: str) -> str:
    """The page with the part between the marks as the code has it now."""
    text = (DOCS / page).read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    written = re.sub(r"\n{3,}", "\n\n", PAGES[page]())
    return f"{head}{BEGIN}\n{written.strip()}\n\n{END}{tail}"


if __name__ == "__main__":
    for page in PAGES:
        (DOCS / page).write_text(renewed(page))
