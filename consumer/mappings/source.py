"""A mapping file: TOML, and on which line each of its keys stands, so that an error can name it."""

import re
import tomllib
from dataclasses import dataclass
from typing import Any

Key = tuple[str, ...]

_HEADER = re.compile(r"\s*\[\s*([\w.-]+)\s*\]")
_ASSIGNMENT = re.compile(r"\s*([\w-]+(?:\s*\.\s*[\w-]+)*)\s*=")
_PLACE = re.compile(r"(.*) \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)", re.DOTALL)


class MappingError(Exception):
    """A mapping cannot be used; `problems` has a line for each, with file, line and what was expected."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# Tables in one another: a mapping has two.
DEEPEST = 10


@dataclass(frozen=True, slots=True)
class Source:
    """The tables of a mapping, and for each key the file and line it came from."""

    name: str
    tables: dict[str, Any]
    places: dict[Key, str]

    def place(self, key: Key) -> str:
        """Such as "shop.toml:7"; the file's name alone for a key that is not there."""
        while key:
            if key in self.places:
                return self.places[key]
            key = key[:-1]
        return self.name

    def over(self, base: "Source") -> "Source":
        """This mapping where it says something, `base` for the rest."""
        return Source(self.name, _merged(base.tables, self.tables), base.places | self.places)


def read_source(name: str, text: str) -> Source:
    """The TOML in `text`; MappingError where it is none."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError([_syntax_problem(name, text, str(error))]) from error
    except RecursionError as error:
        raise MappingError([f"{name}: expected TOML that is not nested so deep"]) from error
    if _is_deep(tables):
        raise MappingError([f"{name}: expected at most {DEEPEST} tables in one another"])
    return Source(name, tables, {key: f"{name}:{line}" for key, line in _key_lines(text).items()})


def _is_deep(tables: dict[str, Any]) -> bool:
    """Whether there are more than `DEEPEST` tables in one another; a dotted key makes one for each dot."""
    level = [tables]
    for _ in range(DEEPEST):
        level = [each for table in level for each in table.values() if isinstance(each, dict)]
    return bool(level)


def _syntax_problem(name: str, text: str, message: str) -> str:
    found = _PLACE.fullmatch(message)
    if found is None:
        return f"{name}: expected TOML: {message}"
    line = found[2] or str(len(text.splitlines()))
    column = f", column {found[3]}" if found[3] else ", at the end"
    return f"{name}:{line}: expected TOML: {found[1]}{column}"


def _key_lines(text: str) -> dict[Key, int]:
    """Where each key is. What looks like a key inside a text of several lines is taken for one, which does no harm."""
    lines: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = tuple(header[1].split("."))
            lines.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            lines.setdefault((*table, *re.split(r"\s*\.\s*", assignment[1])), number)
    return lines


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        under = merged.get(key)
        merged[key] = {**under, **value} if isinstance(under, dict) and isinstance(value, dict) else value
    return merged
