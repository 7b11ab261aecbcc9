"""Where mappings come from: the built-in ones by name, all others from files."""

from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Protocol

from consumer.core.delivery import Delivery
from consumer.core.order import MAX_LINES
from consumer.mappings.canonical import CanonicalReader
from consumer.mappings.compiler import compile_mapping
from consumer.mappings.mapping import Mapping, Result
from consumer.mappings.source import MappingError, Source, read_source

CANONICAL = "canonical"
SUFFIX = ".toml"

# A mapping may extend one that extends another; more than this is a circle.
GENERATIONS = 4

HERE = Path()


class Reader(Protocol):
    """Makes an order of a decoded event."""

    @property
    def name(self) -> str:
        """As in CONSUMER_MAPPING."""

    @property
    def about(self) -> str:
        """What it is for, in a line."""

    @property
    def hints_at_shop(self) -> bool:
        """Whether an order's shop id is only what the platform calls the shop."""

    def read(self, document: object, delivery: Delivery) -> Result:
        """The order, or what the event is instead; never an exception."""


def load_reader(name_or_path: str, max_lines: int = MAX_LINES) -> Reader:
    """The mapping to work with, by its built-in name or as a file. MappingError if it cannot be used.

    `max_lines`: lines of an order, and entries of one map of clicks, beyond which an event is malformed.
    """
    mapping = load_mapping(name_or_path, max_lines)
    return CanonicalReader(mapping) if name_or_path == CANONICAL else mapping


def load_mapping(name_or_path: str, max_lines: int = MAX_LINES) -> Mapping:
    """The mapping itself, to be looked into. MappingError if it cannot be used."""
    return compile_mapping(_source(name_or_path, GENERATIONS), max_lines)


@cache
def builtin_names() -> tuple[str, ...]:
    """All built-in mappings: the canonical one first, the others by name."""
    files = (resources.files(__package__) / "builtin").iterdir()
    names = {file.name.removesuffix(SUFFIX) for file in files if file.name.endswith(SUFFIX)}
    return (CANONICAL, *sorted(names - {CANONICAL}))


def builtin_text(name: str) -> str:
    """The file of a built-in mapping; MappingError if there is none of that name."""
    if name not in builtin_names():
        near = get_close_matches(name, builtin_names(), n=1, cutoff=0.0)[0]
        raise MappingError([f"{name}: no such mapping built in, and no such file; did you mean {near}?"])
    return (resources.files(__package__) / "builtin" / f"{name}{SUFFIX}").read_text("utf-8")


def _source(name_or_path: str, generations: int, beside: Path = HERE) -> Source:
    own = _read(name_or_path, beside)
    base = own.tables.get("extends")
    if base is None:
        return own
    if not isinstance(base, str):
        raise MappingError([f"{own.place(('extends',))}: extends: expected a built-in mapping's name, or a file"])
    if generations == 0:
        raise MappingError([f"{own.place(('extends',))}: extends: goes round in a circle"])
    return own.over(_source(base, generations - 1, (beside / name_or_path).parent))


def _read(name_or_path: str, beside: Path) -> Source:
    if name_or_path in builtin_names():
        return read_source(f"{name_or_path}{SUFFIX}", builtin_text(name_or_path))
    path = beside / name_or_path
    if not path.is_file() and not name_or_path.endswith(SUFFIX) and "/" not in name_or_path:
        builtin_text(name_or_path)
    try:
        return read_source(str(path), path.read_text("utf-8-sig"))
    except OSError as error:
        raise MappingError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise MappingError([f"{path}: expected UTF-8 text"]) from error
