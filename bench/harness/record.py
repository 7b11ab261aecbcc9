"""Results on the disk: everything as JSON, tables as Markdown, bars as a picture."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.harness.chart import chart
from bench.harness.contest import Result
from bench.harness.table import for_markdown


def as_json(facts: dict[str, Any], results: Sequence[Result]) -> dict[str, Any]:
    """Medians and single runs of every workload, and what they were measured on."""
    workloads = {
        result.workload.name: {
            "title": result.workload.title,
            "columns": {metric.key: metric.title for metric in result.workload.metrics},
            "competitors": {
                row.competitor.name: {
                    "median": row.medians,
                    "runs": [sample.figures for sample in row.samples],
                    "note": row.note,
                }
                for row in result.rows
            },
        }
        for result in results
    }
    return {"facts": facts, "workloads": workloads}


def as_markdown(facts: dict[str, Any], results: Sequence[Result]) -> str:
    """Every table, and below them what they were measured on."""
    packages = ", ".join(f"{name} {found}" for name, found in facts["packages"].items())
    rest = "".join(f"- {name}: {value}\n" for name, value in facts.items() if name != "packages")
    return "\n".join([*map(for_markdown, results), f"{rest}- {packages}\n"])


def write(folder: Path, facts: dict[str, Any], results: Sequence[Result]) -> list[Path]:
    """latest.json, .md and .svg, and the first again under the time of the measuring; what was written."""
    folder.mkdir(exist_ok=True)
    text = json.dumps(as_json(facts, results), indent=2, ensure_ascii=False) + "\n"
    contents = {
        f"{facts['measured'].replace(':', '').replace('+0000', 'Z')}.json": text,
        "latest.json": text,
        "latest.md": as_markdown(facts, results),
        "latest.svg": chart(results),
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
    return [folder / name for name in contents]
