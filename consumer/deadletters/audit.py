"""The record of what was done to dead letters: JSON lines, each written before its letter leaves the queue.

An operation is a line `started` (who, what filter, how many, why), a line `letter` for each letter, and a line
`ended`. The lines of one operation share its id. They are appended with one write each, so that those of two
operators never mix; they survive the death of this process at once, and that of the machine from the end of the
operation on.
"""

import getpass
import json
import os
import socket
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from consumer.core.delivery import stamp
from consumer.core.escaping import escaped_json
from consumer.deadletters.letter import Letter

STDOUT = "-"


class AuditError(Exception):
    """The record cannot be written, so nothing more may be done."""


@dataclass
class Audit:
    """The record of an operation: `action` is replay, edit, discard, import, export or reveal; `write` takes lines."""

    action: str
    write: Callable[[bytes], None]
    who: str
    clock: Callable[[], float] = time.time
    operation: str = field(default_factory=lambda: uuid.uuid4().hex)
    # Told of each letter as well, for whoever else remembers what became of orders.
    on_letter: Callable[[Letter, float], None] = lambda _, __: None

    def started(self, matched: int, **facts: object) -> None:
        """The operation begins; `facts` are what it was given."""
        self._line("started", matched=matched, **facts)

    def letter(self, letter: Letter, *, begun: float | None = None, **facts: object) -> None:
        """This letter is dealt with, since `begun` (Unix seconds) if not now; called before it leaves the queue."""
        self._line("letter", id=letter.id, orderId=letter.order, shopId=letter.shop, reason=letter.reason, **facts)
        self.on_letter(letter, self.clock() if begun is None else begun)

    def ended(self, **facts: object) -> None:
        """The operation is over; `facts` say how."""
        self._line("ended", **facts)

    def _line(self, event: str, **facts: object) -> None:
        line = {
            "at": stamp(self.clock()),
            "operation": self.operation,
            "action": self.action,
            "event": event,
            "who": self.who,
            **facts,
        }
        self.write(escaped_json(json.dumps(line, ensure_ascii=False, separators=(",", ":"))).encode() + b"\n")


@contextmanager
def audit_to(place: str, action: str) -> Iterator[Audit]:
    """An audit that is appended to the file `place` ("-": stdout). Raises AuditError when that cannot be done."""
    try:
        file = os.dup(1) if place == STDOUT else os.open(Path(place), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise AuditError(f"the audit {place!r} cannot be opened: {error.strerror}") from error
    try:
        if _is_torn(file, place):
            _write(file, place, b"\n")
        yield Audit(action, lambda line: _write(file, place, line), operator())
        _sync(file)
    finally:
        os.close(file)


def operator() -> str:
    """Who does this: user@host, and behind sudo the user that called it."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's numeric user has no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _write(file: int, place: str, line: bytes) -> None:
    try:
        while line:
            line = line[os.write(file, line) :]
    except OSError as error:
        raise AuditError(f"the audit {place!r} cannot be written: {error.strerror}") from error


def _is_torn(file: int, place: str) -> bool:
    """Whether the last line has no end, since the disk was full: the next one must not be joined to it."""
    found = os.fstat(file)
    if place == STDOUT or not stat.S_ISREG(found.st_mode) or not found.st_size:
        return False
    with Path(place).open("rb") as written:
        written.seek(-1, os.SEEK_END)
        return written.read(1) != b"\n"


def _sync(file: int) -> None:
    try:
        os.fsync(file)
    except OSError:
        return  # a pipe or a terminal has no disk to wait for
