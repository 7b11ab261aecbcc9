"""CPU and memory of a process and all that it has started, as Linux tells them in /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds until now (in ticks of 10 ms), memory now and at its peak in MB; sums over a family of processes."""

    cpu: float
    memory: float
    peak: float


def usage(root: int) -> Usage:
    """Of process `root` and its descendants. One that ended has told its CPU to its parent."""
    cpu = memory = peak = 0.0
    for pid in family(root):
        try:
            fields = _stat(pid)
            status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        except OSError:
            continue  # it has just ended
        cpu += sum(map(int, fields[11:15])) / _TICK  # utime, stime, and those of its children that were waited for
        memory += _megabytes(status.get("VmRSS", "0 kB"))
        peak += _megabytes(status.get("VmHWM", "0 kB"))
    return Usage(cpu, memory, peak)


def family(root: int) -> list[int]:
    """`root` and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            pid = int(entry.name)
            try:
                children.setdefault(int(_stat(pid)[1]), []).append(pid)
            except OSError:
                continue
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def broker_of(root: int) -> int | None:
    """The Erlang machine that `root` has started; None for a broker in a container."""
    for pid in family(root):
        if Path(f"/proc/{pid}/comm").read_text().strip() == "beam.smp":
            return pid
    return None


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may hold anything: the first is the state, the second the parent."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _megabytes(text: str) -> float:
    return int(text.split(maxsplit=1)[0]) / 1024
