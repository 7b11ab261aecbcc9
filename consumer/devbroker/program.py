"""Running a program to its end."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from consumer.devbroker.errors import BrokerError


def run(
    command: Sequence[str],
    seconds: float,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `command`, errors and output in one text; how it ended is for the caller to judge.

    Raises BrokerError when it does not exist or takes longer than `seconds`.
    """
    try:
        return subprocess.run(
            command,
            check=False,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerError(f"{command[0]} could not be run: {error}") from error


def succeeds(command: Sequence[str], seconds: float) -> bool:
    """Whether `command` exists and exits with 0 within `seconds`; what it prints is dropped."""
    try:
        return run(command, seconds).returncode == 0
    except BrokerError:
        return False
