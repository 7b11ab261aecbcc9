"""What would become of an event, and how `convert` tells it: as JSON, or side by side on a terminal."""

import json
from dataclasses import dataclass
from typing import assert_never

from rich.table import Column, Table
from rich.text import Text

from consumer.core.conversion import Conversion
from consumer.core.outcome import Dead, Unattributed
from consumer.core.reading import Ignored
from consumer.mappings.explain import Explanation, spelled
from consumer.terminal import console, echo, styled

End = Conversion | Unattributed | Ignored | Dead

# Characters of a found value that are shown.
SHOWN = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """An event's end, and how the mapping came to it."""

    shop_id: str | None
    order_id: str | None
    end: End
    explanation: Explanation | None = None

    def as_json(self, *, explained: bool) -> str:
        """One line in the shape of `convert --json`."""
        more = ""
        if explained and self.explanation is not None:
            steps = [step.as_dict() for step in self.explanation.steps]
            told = {"mapping": self.explanation.mapping, "envelopes": self.explanation.envelopes, "explain": steps}
            more = "," + json.dumps(told, ensure_ascii=False)[1:-1]
        if isinstance(self.end, Conversion):
            # The payload is put in as it is: what is shown is what would be sent, to the byte.
            shop = json.dumps(self.shop_id, ensure_ascii=False)
            return f'{{"outcome":"conversion","shopId":{shop},"payload":{self.end.payload.decode()}{more}}}'
        ended = {**_told(self.end), "orderId": self.order_id, "shopId": self.shop_id}
        return json.dumps(ended, ensure_ascii=False)[:-1] + more + "}"

    def show(self, *, explained: bool) -> None:
        """For people: what was found where, and what would be sent."""
        _headline(self)
        if self.explanation is None:
            return
        if explained:
            _show_steps(self.explanation)
        else:
            _show_sides(self.explanation, self.end)


def _told(end: Unattributed | Ignored | Dead) -> dict[str, str | None]:
    match end:
        case Unattributed():
            return {"outcome": "unattributed"}
        case Ignored(why):
            return {"outcome": "ignored", "why": why}
        case Dead(reason, detail):
            return {"outcome": "dead", "reason": reason, "detail": detail}
        case _:
            assert_never(end)


def _headline(verdict: Verdict) -> None:
    name = f"order {verdict.order_id or '?'} of {f'shop {verdict.shop_id}' if verdict.shop_id else 'the one shop'}"
    colour, words = _words(verdict.end)
    echo(styled(f"{name}: {words}", fg=colour))


def _words(end: End) -> tuple[str, str]:
    match end:
        case Conversion():
            return "green", "conversion"
        case Unattributed():
            return "yellow", "unattributed, no line came from a search: nothing would be sent"
        case Ignored(why):
            return "yellow", f"ignored, {why}"
        case Dead(reason, detail):
            return "red", f"dead ({reason}), {detail}"
        case _:
            assert_never(end)


def _show_sides(explanation: Explanation, end: End) -> None:
    sent = json.loads(end.payload, parse_float=str) if isinstance(end, Conversion) else {}
    table = Table("", _folded("found at"), _folded("found"), "sent", title=_title(explanation), title_justify="left")
    for key, name in (("id", "orderId"), ("value", "orderValue"), ("currency", "currency"), ("clicks", None)):
        _add_side(table, explanation, f"order.{key}", sent.get(name, "") if name else "")
    for number in range(_lines(explanation)):
        _add_line(table, explanation, number)
    for item in sent.get("conversions", ()):
        search = f"{item['searchLogId']}: {item['quantity']} for {item['lineTotal']}"
        table.add_row("conversion", "", "", f"{item['productId']} by {search}")
    console().print(table)


def _add_line(table: Table, explanation: Explanation, number: int) -> None:
    name = f"line[{number}]"
    skip = explanation.used(f"{name}.skip")
    if skip is not None:
        table.add_row(f"{name} left out", skip.path, "", "")
        return
    for key in ("product", "quantity", "total", "unit_price"):
        step = explanation.used(f"{name}.{key}")
        if step is not None or key in {"product", "quantity"}:
            _add_side(table, explanation, f"{name}.{key}", "")


def _add_side(table: Table, explanation: Explanation, key: str, sent: object) -> None:
    step = explanation.used(key)
    tried = [each.path for each in explanation.steps if each.key == key]
    if step is None:
        table.add_row(key, " | ".join(tried), Text("nothing", "red") if tried else "", str(sent))
    else:
        table.add_row(key, step.path, _short(step.value), str(sent))


def _show_steps(explanation: Explanation) -> None:
    table = Table("", "key", _folded("path"), _folded("found"), title=_title(explanation), title_justify="left")
    for step in explanation.steps:
        mark = Text("✓", "green") if step.used else ""
        table.add_row(mark, step.key, step.path, _short(step.value) or Text("nothing", "dim"))
    console().print(table)


def _folded(header: str) -> Column:
    return Column(header, overflow="fold")


def _title(explanation: Explanation) -> str:
    peeled = f", envelopes taken off: {', '.join(explanation.envelopes)}" if explanation.envelopes else ""
    kind = f", type {explanation.type}" if explanation.type is not None else ""
    return f"mapping {explanation.mapping}{peeled}{kind}"


def _lines(explanation: Explanation) -> int:
    return len({step.key.partition(".")[0] for step in explanation.steps if step.key.startswith("line[")})


def _short(value: object) -> str:
    text = spelled(value) or ""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
