"""The numbered SQL files that make and change the tables, for each dialect.

A file that has been released is never changed: what is to differ is a further file. Which ones have been applied is
remembered in the table `neuroon_schema`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

_NAME = re.compile(r"([0-9]{3})_[a-z_]+\.sql")

REMEMBER = """CREATE TABLE IF NOT EXISTS neuroon_schema (
    version INT PRIMARY KEY,
    applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
)"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, and its statements in order."""

    version: int
    statements: tuple[str, ...]


def migrations(dialect: str, *, after: int = 0) -> Iterator[Migration]:
    """The files of `dialect` (sqlite or postgres) with a higher number than `after`, in order."""
    for file in sorted(_folder(dialect).iterdir(), key=lambda each: each.name):
        name = _NAME.fullmatch(file.name)
        if name is not None and int(name[1]) > after:
            yield Migration(int(name[1]), tuple(_statements(file.read_text(encoding="utf-8"))))


def newest(dialect: str) -> int:
    """The number of the last file of `dialect`."""
    return max(each.version for each in migrations(dialect))


def _folder(dialect: str) -> Traversable:
    return resources.files(__package__) / "sql" / dialect


def _statements(text: str) -> Iterator[str]:
    """A statement ends with a semicolon at the end of a line."""
    for statement in re.split(r";\s*$", text, flags=re.MULTILINE):
        if re.sub(r"--.*", "", statement).strip():
            yield statement.strip()
