"""What the results were measured on: without it they are worth little."""

import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.harness.competitors import PEERS, ROOT
from consumer.devbroker import PrivateBroker

_PACKAGES = ("neuroon-consumer", "aio-pika", "aiormq", "faststream", "httpx", "pydantic", "uvloop")
_NODE_PACKAGES = ("amqplib", "undici")


def facts(broker: PrivateBroker) -> dict[str, Any]:
    """The machine, its load before anything was measured, and the version of everything that takes part."""
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _said("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "load before": [round(each, 2) for each in os.getloadavg()],
        "Python": platform.python_version(),
        "Node": _said("node", "--version"),
        **_broker(broker),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))} | _node_packages(),
    }


def _cpu() -> str | None:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _broker(broker: PrivateBroker) -> dict[str, str | None]:
    status = broker.ctl("status")
    patterns = {"RabbitMQ": r"RabbitMQ version: (\S+)", "Erlang": r"Erlang/OTP (\d+)"}
    return {name: found[1] if (found := re.search(pattern, status)) else None for name, pattern in patterns.items()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _node_packages() -> dict[str, str]:
    """As installed, by the lock."""
    lock = (PEERS / "package-lock.json").read_text()
    found = {name: re.search(rf'"node_modules/{name}": {{\s*"version": "([^"]+)"', lock) for name in _NODE_PACKAGES}
    return {name: match[1] for name, match in found.items() if match}


def _said(*command: str) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
