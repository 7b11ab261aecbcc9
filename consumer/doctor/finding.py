"""What the doctor says: each finding tells what is so, and, where it is not good, what to do."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"  # it could not be found out


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `cure` is empty where nothing is to be done."""

    check: str
    level: Level
    message: str
    cure: str = ""


def good(check: str, message: str) -> Finding:
    """Nothing is to be done."""
    return Finding(check, Level.OK, message)


def warning(check: str, message: str, cure: str) -> Finding:
    """It works, and may not for long."""
    return Finding(check, Level.WARNING, message, cure)


def wrong(check: str, message: str, cure: str) -> Finding:
    """Orders would be lost, stuck or refused."""
    return Finding(check, Level.ERROR, message, cure)


def unknown(check: str, message: str, cure: str) -> Finding:
    """It could not be found out."""
    return Finding(check, Level.UNKNOWN, message, cure)
