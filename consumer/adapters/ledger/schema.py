"""The numbered SQL files that make and change the tables, for each dialect, and which programs may use the result.

The tables that a released file leaves are never changed by editing it: what is to differ is a further file. Files only
add, so that an earlier program can go on using the tables while a rolling upgrade is under way; the first line of each
names the lowest number that a program must know to use the tables after it: `-- needs: 3`.

In PostgreSQL a file is a row of steps, each committed by itself, so that none holds the table for long. A step begins
with a line that says how it runs, and may run again after an end in the middle:

    -- at once        its statements, in one transaction (the first step, too)
    -- in batches     one statement over a range of orders, $1 to $2, both included, until all have been covered
    -- concurrently   one statement outside of a transaction, which lets the shop write meanwhile

SQLite takes all files in one transaction; a shop's large table has been copied before, see `sqlitetakeover`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from importlib.resources.abc import Traversable

from consumer import __version__
from consumer.adapters.ledger import LedgerDownError

_NAME = re.compile(r"([0-9]{3})_[a-z_]+\.sql")
_NEEDS = re.compile(r"-- needs: ([0-9]+)\n")

# The lowest number of tables that can be read as they are, without bringing them up to date.
READABLE = 3

REMEMBER = """CREATE TABLE IF NOT EXISTS neuroon_schema (
    version INT PRIMARY KEY,
    applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
)"""
# What a database of before has not: which program applied a file, and what it needs.
REMEMBERED_TOO = {"needs": "INT", "program": "TEXT"}


class Way(StrEnum):
    """How a step runs."""

    AT_ONCE = "at once"
    IN_BATCHES = "in batches"
    CONCURRENTLY = "concurrently"


@dataclass(frozen=True, slots=True)
class Step:
    """Statements that are committed together."""

    way: Way
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, the number that a program must know to use its result, and its steps in order."""

    version: int
    needs: int
    steps: tuple[Step, ...]

    @property
    def statements(self) -> tuple[str, ...]:
        """Of all steps."""
        return tuple(each for step in self.steps for each in step.statements)


def migrations(dialect: str, *, after: int = 0) -> Iterator[Migration]:
    """The files of `dialect` (sqlite or postgres) with a higher number than `after`, in order."""
    for file in sorted(_folder(dialect).iterdir(), key=lambda each: each.name):
        name = _NAME.fullmatch(file.name)
        if name is not None and int(name[1]) > after:
            text = file.read_text(encoding="utf-8")
            needs = _NEEDS.match(text)
            assert needs is not None, f"{file.name} does not begin with what it needs"  # noqa: S101 - a file of ours
            yield Migration(int(name[1]), int(needs[1]), tuple(_steps(text)))


def newest(dialect: str) -> int:
    """The number of the last file of `dialect`."""
    return max(each.version for each in migrations(dialect))


def version_of(applied: Sequence[tuple[int, int | None, str | None]], known: int) -> int:
    """The highest number in a database; `applied` are version, needs and program of each file.

    Raises LedgerDownError where the tables need a program that knows more than `known`. A file that this program does
    not know, and of which nothing says what it needs, is taken to need itself.
    """
    for version, needs, program in applied:
        least = version if needs is None else needs
        if version > known and least > known:
            by = f" by neuroon-consumer {program}" if program else ""
            raise LedgerDownError(
                f"the database was brought to schema {version}{by} and needs a program that knows schema {least}; "
                f"this is neuroon-consumer {__version__}, which knows {known}: install a newer one"
            )
    return max((version for version, _, _ in applied), default=0)


def _folder(dialect: str) -> Traversable:
    return resources.files(__package__) / "sql" / dialect


def _steps(text: str) -> Iterator[Step]:
    ways = "|".join(Way)
    parts = re.split(rf"^-- ({ways})$", f"-- {Way.AT_ONCE}\n{text}", flags=re.MULTILINE)[1:]
    for way, part in zip(parts[::2], parts[1::2], strict=True):
        statements = tuple(_statements(part))
        if statements:
            yield Step(Way(way), statements)


def _statements(text: str) -> Iterator[str]:
    """A statement ends with a semicolon at the end of a line."""
    for statement in re.split(r";\s*$", text, flags=re.MULTILINE):
        if re.sub(r"--.*", "", statement).strip():
            yield statement.strip()
