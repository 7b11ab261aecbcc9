"""From the tables of a mapping file to a mapping that works; everything that is wrong with it is told at once."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from consumer.core.order import MAX_LINES
from consumer.mappings.amounts import MAX_EXPONENT, Amounts
from consumer.mappings.envelope import AUTO, Peel, known_envelopes
from consumer.mappings.eventrule import EventRule, Patterns
from consumer.mappings.linerule import LINE_FIELDS, LineRule
from consumer.mappings.mapping import ORDER_FIELDS, Mapping
from consumer.mappings.path import NOWHERE, Paths, compile_paths
from consumer.mappings.source import Key, MappingError, Source

# Every key that a mapping may have, by its table.
KEYS: dict[str, tuple[str, ...]] = {
    "": ("about", "extends", "envelope", "at", "amounts", "event", "order", "line"),
    "event": ("type", "take", "ignore", "refund", "ignore_when", "refund_when"),
    "order": (*ORDER_FIELDS, "shop_hint"),
    "line": (*LINE_FIELDS, "clicks", "skip"),
}
REQUIRED = (("order", "id"), ("order", "value"), ("order", "currency"), ("order", "lines"), ("line", "product"))


def compile_mapping(source: Source, max_lines: int = MAX_LINES) -> Mapping:
    """The mapping that `source` describes; MappingError with every problem it has. `max_lines`: see `Mapping`."""
    return _Compiler(source, max_lines).compile()


class _Compiler:
    def __init__(self, source: Source, max_lines: int) -> None:
        self._source, self._max_lines = source, max_lines
        self._problems: list[str] = []

    def compile(self) -> Mapping:
        self._problems += self._unknown_keys()
        self._problems += self._missing_keys()
        amounts = self._amounts()
        mapping = Mapping(
            name=self._source.name.rpartition("/")[2].removesuffix(".toml"),
            about=str(self._source.tables.get("about", "")),
            peel=self._peel(),
            at=self._paths(("at",), "event", default=("@",)),
            rule=self._rule(),
            amounts=amounts,
            order=self._fields("order", ORDER_FIELDS),
            line=LineRule(
                fields=self._fields("line", LINE_FIELDS),
                clicks=self._paths(("line", "clicks"), "line"),
                skip=self._paths(("line", "skip"), "line"),
                amounts=amounts,
                max_clicks=self._max_lines,
            ),
            shop_hint=self._paths(("order", "shop_hint"), "order"),
            max_lines=self._max_lines,
        )
        if self._problems:
            raise MappingError(self._problems)
        return mapping

    def _unknown_keys(self) -> Iterator[str]:
        for table, known in KEYS.items():
            content = self._source.tables.get(table, {}) if table else self._source.tables
            if not isinstance(content, dict):
                yield self._problem((table,), f"expected a table: [{table}]")
                continue
            for key in content:
                if key not in known:
                    yield self._problem((table, key) if table else (key,), _unknown(table, key))

    def _missing_keys(self) -> Iterator[str]:
        for table, key in (*REQUIRED, ("line", "quantity")):
            if self._value((table, key)) is None:
                yield self._problem((table,), f"[{table}] {key} is missing: expected the path to it")
        if self._value(("line", "total")) is None and self._value(("line", "unit_price")) is None:
            yield self._problem(("line",), "[line] expected the path to the line's total, or to its unit_price")

    def _fields(self, table: str, names: dict[str, str]) -> dict[str, Paths]:
        found = {name: self._paths((table, name), table) for name in names}
        return {name: paths for name, paths in found.items() if paths}

    def _rule(self) -> EventRule:
        return EventRule(
            type=self._paths(("event", "type"), "event", default=("$type",)),
            take=Patterns(self._texts(("event", "take"))),
            ignore=Patterns(self._texts(("event", "ignore"))),
            refund=Patterns(self._texts(("event", "refund"))),
            ignore_when=self._paths(("event", "ignore_when"), "order"),
            refund_when=self._paths(("event", "refund_when"), "order"),
        )

    def _peel(self) -> Peel:
        names = self._texts(("envelope",))
        known = known_envelopes()
        if names in {(), ("none",)}:
            return Peel()
        if names == (AUTO,):
            return Peel(auto=True)
        for name in names:
            if name not in known:
                near = get_close_matches(name, [*known, AUTO], n=1, cutoff=0.0)[0]
                self._complain(("envelope",), f"no envelope {name!r}; did you mean {near}? Known: {', '.join(known)}")
        return Peel(tuple(known[name] for name in names if name in known))

    def _amounts(self) -> Amounts:
        match self._value(("amounts",)):
            case None | "major":
                return Amounts()
            case "minor":
                return Amounts(None)
            case bool():
                pass
            case int(exponent) | {"exponent": int(exponent)} if 0 <= exponent <= MAX_EXPONENT:
                return Amounts(exponent)
            case {"exponent": str(path)}:
                at_order = self._compiled(("amounts",), (path,), "order")
                return Amounts(None, at_order, self._compiled(("amounts",), (path,), "line"))
        expected = f'expected "major", "minor", a number of decimals from 0 to {MAX_EXPONENT}, or {{exponent = "path"}}'
        self._complain(("amounts",), expected)
        return Amounts()

    def _paths(self, key: Key, base: str, default: tuple[str, ...] = ()) -> Paths:
        return self._compiled(key, self._texts(key) or default, base)

    def _compiled(self, key: Key, texts: tuple[str, ...], base: str) -> Paths:
        for text in texts:
            try:
                compile_paths((text,), base)
            except ValueError as error:
                self._complain(key, f'"{text}": {error}')
                return NOWHERE
        return compile_paths(texts, base)

    def _texts(self, key: Key) -> tuple[str, ...]:
        """A text, or a list of texts."""
        value = self._value(key)
        if value is None:
            return ()
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list) and texts and all(isinstance(text, str) and text.strip() for text in texts):
            return tuple(texts)
        self._complain(key, "expected a text, or a list of texts")
        return ()

    def _value(self, key: Key) -> Any:
        value: Any = self._source.tables
        for step in key:
            value = value.get(step) if isinstance(value, dict) else None
        return value

    def _complain(self, key: Key, problem: str) -> None:
        self._problems.append(self._problem(key, f"{_spelled(key)}: {problem}"))

    def _problem(self, key: Key, problem: str) -> str:
        return f"{self._source.place(key)}: {problem}"


def _spelled(key: Key) -> str:
    return key[0] if len(key) == 1 else f"[{key[0]}] {key[1]}"


def _unknown(table: str, key: str) -> str:
    where = f"[{table}] " if table else ""
    for other, keys in KEYS.items():
        if other != table and key in keys and key not in KEYS[table]:
            belongs = f"belongs into [{other}]" if other else "belongs above the first [table]"
            return f"{where}{key}: {belongs}"
    near = get_close_matches(key, KEYS[table], n=1, cutoff=0.0)[0]
    return f"{where}{key}: no such key; did you mean {near}? Known: {', '.join(KEYS[table])}"
