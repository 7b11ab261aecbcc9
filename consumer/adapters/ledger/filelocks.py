"""Orders in hand, as locks on single bytes of an empty file beside the ledger, at the offset that a key hashes to.

The kernel keeps them in memory and lets go of them when the process dies: nothing is written, and nothing is left over.
Where the kernel has them, the locks belong to the open file (F_OFD_SETLK) and not to the process: plain ones would be
gone as soon as anything in the process opens and closes the same file.
"""

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from consumer.adapters.ledger import Key
from consumer.adapters.ledger.locknumber import lock_number

# struct flock of Linux: type, whence, start, length, process; and the padding at its end.
_FLOCK = struct.Struct("hhqqi4x")
_OF_THE_FILE: int | None = getattr(fcntl, "F_OFD_SETLK", None) if sys.platform == "linux" else None
_TAKEN_BY_ANOTHER = {errno.EAGAIN, errno.EACCES}

log = structlog.get_logger(__name__)


class FileLocks:
    """The locks of one store on the file `path`, which is made when missing. One descriptor, until `close`.

    Where the file cannot be made or locked, nobody has anything in hand. 1.7 us for an order, hashing included.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._usable = True
        self._held: dict[int, int] = {}

    def take(self, keys: Sequence[Key]) -> tuple[set[Key], set[Key]]:
        """Those of `keys` that are in hand now, and those that another has. Each one taken is to be given back."""
        if self._file is not None and not self._in_place(self._file):
            self.close()  # deleted or replaced: others lock another file by now
        taken: set[Key] = set()
        elsewhere: set[Key] = set()
        for key in keys:
            got = self._lock(lock_number(key))
            if got is not None:
                (taken if got else elsewhere).add(key)
        return taken, elsewhere

    def give_back(self, keys: Sequence[Key]) -> None:
        """Let go of `keys`; of what is not in hand, because the file was closed meanwhile, nothing is let go."""
        for number in map(lock_number, keys):
            times = self._held.pop(number, 0)
            if times > 1:  # two orders in hand may share a number
                self._held[number] = times - 1
            elif times and self._file is not None:
                _set_lock(self._file, fcntl.F_UNLCK, number)

    def close(self) -> None:
        """Let go of everything."""
        file, self._file = self._file, None
        self._held.clear()
        if file is not None:
            os.close(file)

    def _in_place(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except OSError:
            return False

    def _lock(self, number: int) -> bool | None:
        """Whether the lock is ours now; None where there are no locks."""
        if not self._usable:
            return None
        times = self._held.get(number, 0)
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            if not times:
                _set_lock(self._file, fcntl.F_WRLCK, number)
        except OSError as error:
            if self._file is not None and error.errno in _TAKEN_BY_ANOTHER:
                return False
            self._usable = False
            log.info("orders are posted without a claim in the ledger", why=error.strerror)
            return None
        self._held[number] = times + 1
        return True


def _set_lock(file: int, kind: int, number: int) -> None:
    """Lock or unlock the byte `number`; waits for nobody. Raises OSError."""
    if _OF_THE_FILE is not None:
        fcntl.fcntl(file, _OF_THE_FILE, _FLOCK.pack(kind, os.SEEK_SET, number, 1, 0))
    else:
        fcntl.lockf(file, fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
