"""Where log lines go: into memory at once, and from there to the stream in a thread of its own.

A terminal that is scrolled back, or a collector that hangs, blocks whoever writes to it. It must not be the event loop:
the order in flight would wait, then the heartbeats, then the broker would take every order back.
"""

import atexit
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

# Lines are written together that come within this time. Whoever kills the process (-9) may lose as much of the log.
GATHER_SECONDS = 0.02
# Lines that wait for a stream that takes none: some 4 MB. What comes then is counted instead.
WAITING_LINES = 10_000
# A stream that takes nothing at the end keeps nobody from leaving.
CLOSE_SECONDS = 1.0
# Before the next write after an unexpected exception; `LogSink.failed` may return another pause.
FAILED_SECONDS = 1.0


class LogSink:
    """A text stream in front of `stream` that never blocks. It is written out when the process ends in good order.

    `failed` is called in the thread with an exception that no stream should raise. It returns the seconds to wait until
    the next lines are written; the lines of the failed write are lost.
    """

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self.failed: Callable[[Exception], float] = lambda _: FAILED_SECONDS
        self._lines: deque[str] = deque()
        self._dropped = self._told = 0
        self._waiting = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, line: str) -> None:
        """Take one whole line, with its end."""
        if len(self._lines) >= WAITING_LINES:
            self._dropped += 1
            return
        self._lines.append(line)
        if not self._waiting.is_set():
            self._waiting.set()

    def flush(self) -> None:
        """Nothing: lines are written out soon anyhow."""

    def close(self) -> None:
        """Write out what waits, for a second at most. What is written afterwards goes nowhere."""
        atexit.unregister(self.close)
        self._closing.set()
        self._waiting.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        pause = GATHER_SECONDS
        while not self._closing.is_set():
            self._waiting.wait()
            self._closing.wait(pause)
            self._waiting.clear()
            pause = GATHER_SECONDS
            try:
                self._write_out()
            except Exception as error:  # noqa: BLE001 - without the thread all further lines are lost
                pause = self.failed(error)

    def _write_out(self) -> None:
        gathered = [self._lines.popleft() for _ in range(len(self._lines))]
        if dropped := self._dropped - self._told:
            self._told += dropped
            gathered.append(f'{{"event": "log lines dropped", "level": "warning", "lines": {dropped}}}\n')
        try:
            self._stream.write("".join(gathered))
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads it any more: orders go on
            return
