"""Mapping files: those that somebody is still writing, and those that work in ways nobody thought of."""

import tomllib
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from consumer.core.delivery import Delivery
from consumer.core.order import Malformed, OrderPaid, Refund
from consumer.core.reading import Ignored
from consumer.mappings import MappingError, builtin_names, builtin_text
from consumer.mappings.compiler import KEYS, compile_mapping
from consumer.mappings.explain import explain
from consumer.mappings.mapping import Mapping
from consumer.mappings.source import Source, read_source
from tests.fuzz.expression import DOCUMENTS, EXPRESSIONS
from tests.fuzz.strategies import CANARY, altered, damaged
from tests.fuzz.target import Target

DETAIL_LENGTH = 10_000


@dataclass(frozen=True)
class Case:
    """A file as text, or as its tables; and the events that it is tried on."""

    text: str | None
    tables: dict[str, Any]
    events: list[Any]


_TEXTS = st.sampled_from([builtin_text(name) for name in builtin_names()])
_SCOPES = st.sampled_from(("", "", "", "$event | ", "$body | ", "$order | ", "$message | ", "$line | "))
_PATHS = st.builds(str.__add__, _SCOPES, EXPRESSIONS) | st.sampled_from(
    ("$header.X-Shopify-Topic", "$type", "$property.app_id", "$routing_key", "$header", "$nowhere.x", "lines", "id", "")
)
_VALUES = _PATHS | st.lists(_PATHS, max_size=3) | st.none() | st.booleans() | st.integers(-1, 20) | st.floats()
_AMOUNTS = st.sampled_from(("major", "minor", 2, 13, True)) | st.fixed_dictionaries({"exponent": _VALUES})
_TABLES = st.fixed_dictionaries(
    {
        "order": st.fixed_dictionaries(dict.fromkeys(("id", "value", "currency", "lines"), _PATHS))
        | st.dictionaries(st.sampled_from(KEYS["order"]), _VALUES),
        "line": st.fixed_dictionaries(dict.fromkeys(("product", "quantity", "total"), _PATHS))
        | st.dictionaries(st.sampled_from(KEYS["line"]), _VALUES),
    },
    optional={
        "about": _VALUES,
        "envelope": st.sampled_from(("auto", "none", "sns", "nosuch", ["sns", "nestjs"], ["auto"])) | _VALUES,
        "at": _VALUES,
        "amounts": _AMOUNTS | _VALUES,
        "event": st.dictionaries(st.sampled_from(KEYS["event"]), _VALUES),
    },
)
_EVENTS = DOCUMENTS | st.fixed_dictionaries(
    {"id": DOCUMENTS, "a": DOCUMENTS, "b": DOCUMENTS, "c": st.just("EUR"), "lines": st.lists(DOCUMENTS, max_size=3)}
)
_TOKENS = (
    b"[order]",
    b"[[",
    b"=",
    b'"',
    b"'''",
    b"\n",
    b"\r",
    b"[line]\n",
    b"= 1\n",
    b"= nan\n",
    b"order.id = ''\n",
    b"[" * 2_000,
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A built-in file, damaged; the tables of one, altered; and tables of nothing but generated paths."""
    events = draw(st.lists(_EVENTS, min_size=1, max_size=3))
    match draw(st.sampled_from(("text", "tables", "tables", "generated", "generated"))):
        case "text":
            return Case(draw(damaged(_TEXTS.map(str.encode), _TOKENS)).decode(errors="replace"), {}, events)
        case "tables":
            tables = draw(altered(_TEXTS.map(tomllib.loads)))
            return Case(None, tables if isinstance(tables, dict) else {}, events)
        case _:
            return Case(None, draw(_TABLES), events)


def check(case: Case) -> None:
    """A file is refused with words that say where, or it is a mapping that reads whatever comes."""
    try:
        mapping = _compiled(case)
    except MappingError as error:
        _check_problems(error.problems)
        return
    for event in case.events:
        _check_event(mapping, event)


def _check_problems(problems: list[str]) -> None:
    assert problems
    assert all(problem.startswith("fuzz.toml") for problem in problems)


def _compiled(case: Case) -> Mapping:
    if case.text is not None:
        return compile_mapping(read_source("fuzz.toml", case.text))
    return compile_mapping(Source("fuzz.toml", case.tables, {}))


def _check_event(mapping: Mapping, event: object) -> None:
    delivery = Delivery(b"", "orders", "order.paid", {"X-Shopify-Topic": "orders/paid"})
    result = mapping.read(event, delivery)
    match result:
        case Malformed(detail=text) | Refund(detail=text) | Ignored(why=text):
            assert 0 < len(text) <= DETAIL_LENGTH
            assert text.startswith('event type "') or CANARY not in text
        case OrderPaid():
            assert result.order_value >= 0
    for step in explain(mapping, event, delivery).steps:
        assert step.as_dict()["key"] == step.key


TARGET = Target("mappingfile", cases(), check)
