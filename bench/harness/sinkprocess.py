"""The sink, seen from the process that starts it."""

import json
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import trustme

ROOT = Path(__file__).parents[2]
_ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Mark:
    """So many distinct orders had arrived at monotonic second `at`; `cpu` are the sink's own seconds until then."""

    orders: int
    at: float
    cpu: float


class SinkProcess:
    """A context manager; `url` and `tls_url` are where it listens, `authority` is whom its certificate is from."""

    def __init__(self, folder: Path) -> None:
        self.authority = folder / "authority.pem"
        self._papers = folder / "sink.pem", folder / "sink.key"
        self._lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        authority = trustme.CA()
        leaf = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(self.authority)
        leaf.private_key_and_cert_chain_pem.write_to_path(self._papers[0])
        leaf.private_key_pem.write_to_path(self._papers[1])
        command = [sys.executable, "-m", "bench.harness.sink", *map(str, self._papers)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        ports = self._lines.get(timeout=_ANSWER_SECONDS)
        self.url, self.tls_url = f"http://127.0.0.1:{ports['port']}", f"https://127.0.0.1:{ports['tls']}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            self._process.kill()
            self._reader.join()

    def reset(self, orders: int, marks: list[int], delay: float) -> None:
        """Begin a run in which orders 0 to `orders` - 1 may arrive, each answered after `delay` seconds."""
        self._ask({"reset": {"orders": orders, "marks": marks, "delay": delay}})

    def report(self) -> dict[str, float]:
        """What arrived in this run: requests, distinct, duplicates, keyless; and now: at, cpu."""
        return self._ask({})

    def times(self, file: Path) -> None:
        """Write the monotonic time of each order's first arrival to `file`, as doubles; 0 for one that never came."""
        self._ask({"times": str(file)})

    def next_mark(self, deadline: float) -> Mark | None:
        """The next mark that is reached, or None if monotonic second `deadline` comes first."""
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                return None
            if "mark" in line:
                return Mark(line["mark"], line["at"], line["cpu"])
        return None

    def _ask(self, command: dict[str, Any]) -> dict[str, float]:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        while "requests" not in (answer := self._lines.get(timeout=_ANSWER_SECONDS)):
            pass
        return answer

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(json.loads(line))
