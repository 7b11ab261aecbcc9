"""Where an export goes: a regular file is replaced as a whole, a pipe or device is written through."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile, SpooledTemporaryFile
from typing import IO, Self, cast

STDOUT = Path("-")

# Lines for a pipe wait in memory until all letters are back in the queue; what is more waits in a temporary file.
MEMORY_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 64 * 1024


class ExportError(Exception):
    """The file cannot be written, or must not be; the message names it."""


class ExportFile:
    """Takes lines, and brings them to `file` by `finish`. Without `finish` the file stays as it was.

    Nothing but a regular file is ever replaced. A symbolic link stays one: the file that it leads to is replaced. What
    goes to stdout, a FIFO or a character device goes there in `finish`, when no letter is held any more: the reader may
    be as slow as it likes. Everything here raises ExportError.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._through = _written_through(file)

    def __enter__(self) -> Self:
        with self._no_os_error():
            self._out = cast("IO[bytes]", SpooledTemporaryFile(MEMORY_BYTES)) if self._through else self._beside()
        return self

    def write(self, line: str) -> None:
        """Take one line."""
        with self._no_os_error():
            self._out.write(line.encode() + b"\n")

    def finish(self) -> None:
        """Bring all lines to their place."""
        with self._no_os_error():
            if self._through:
                self._write_through()
                return
            self._out.flush()
            os.fsync(self._out.fileno())
            if _written_through(self._file):  # it has become something else meanwhile
                raise ExportError(f"{self._file} is no regular file any more")
            Path(self._out.name).replace(self._file.resolve())

    def __exit__(self, *_: object) -> None:
        with self._no_os_error():
            try:
                self._out.close()
            finally:
                if not self._through:
                    Path(self._out.name).unlink(missing_ok=True)

    def _beside(self) -> IO[bytes]:
        """A file in the same folder, for its owner only, that can take the place of the other at once."""
        target = self._file.resolve()
        return cast("IO[bytes]", NamedTemporaryFile(dir=target.parent, prefix=target.name, delete=False))

    def _write_through(self) -> None:
        """Without a buffer, which would be written out once more, and block, after a signal has ended the writing."""
        self._out.seek(0)
        out = os.dup(1) if self._file == STDOUT else os.open(self._file, os.O_WRONLY)  # neither made nor cut short
        try:
            while rest := self._out.read(CHUNK_BYTES):
                while rest:
                    rest = rest[os.write(out, rest) :]
        finally:
            os.close(out)

    @contextmanager
    def _no_os_error(self) -> Iterator[None]:
        name = "stdout" if self._file == STDOUT else str(self._file)
        try:
            yield
        except BrokenPipeError as error:
            raise ExportError(f"{name} was closed before all was written: the export is not complete") from error
        except OSError as error:
            raise ExportError(f"{name} cannot be written: {error.strerror}: the export is not complete") from error


def _written_through(file: Path) -> bool:
    """Whether the lines go into what is there, and nothing is replaced; ExportError for what can take none."""
    if file == STDOUT:
        return True
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        if file.is_symlink():
            raise ExportError(f"{file} is a symbolic link that leads nowhere") from None
        return False
    except OSError as error:
        raise ExportError(f"{file}: {error.strerror}") from error
    if stat.S_ISREG(mode):
        return False
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return True
    raise ExportError(f"{file}: expected a regular file, a FIFO or a character device")
