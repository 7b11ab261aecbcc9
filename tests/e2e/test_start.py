"""SIGTERM and SIGINT in the middle of a start: gone at once, with status 0, wherever they strike."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import Names
from tests.support.program import ROOT, environment

# Sends the process a signal at the moment at which it asks for a module.
_STRIKE = """
import os, signal, sys

class Strike:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["STRIKE_AT"]:
            os.kill(os.getpid(), int(os.environ["STRIKE_WITH"]))

sys.meta_path.insert(0, Strike())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("module", ["consumer.cli", "structlog", "consumer.adapters.rabbit", "uvloop"])
async def test_a_signal_during_the_imports_ends_run(
    names: Names, tmp_path: Path, module: str, number: signal.Signals
) -> None:
    """The handler stands before anything else is loaded: as process 1, an unhandled SIGTERM would be ignored."""
    (tmp_path / "sitecustomize.py").write_text(_STRIKE)
    strike = {"PYTHONPATH": str(tmp_path), "STRIKE_AT": module, "STRIKE_WITH": str(int(number))}
    environ = environment("amqp://127.0.0.1:9/", names) | strike
    assert await _run(environ) == (0, "")
    assert await _run(environ, flags=("--debug",)) == (0, "")


@pytest.mark.parametrize("delay", [0.3, 0.6, 0.9, 1.2, 1.5, 1.8])
async def test_a_signal_at_any_later_moment_ends_run(names: Names, delay: float) -> None:
    """Between imports, settings, ledger, probes and the first try to reach the broker: status 0, and no trace."""
    status, told = await _run(environment("amqp://127.0.0.1:9/", names), delay)
    assert status == 0
    assert "Traceback" not in told


async def test_budgets_that_do_not_fit_are_told(names: Names) -> None:
    """A pod whose shutdown takes longer than Kubernetes waits by default would be killed in it: said at the start."""
    environ = environment("amqp://127.0.0.1:9/", names, CONSUMER_SHUTDOWN_GRACE="60s")
    status, told = await _run(environ, 3.0)
    assert status == 0
    assert "longer than Kubernetes waits" in told
    assert "terminationGracePeriodSeconds" in told


async def _run(environ: dict[str, str], delay: float | None = None, flags: tuple[str, ...] = ()) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "consumer", *flags, "run", cwd=ROOT, env=environ, stderr=asyncio.subprocess.PIPE
    )
    if delay is not None:
        await asyncio.sleep(delay)
        process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        _, told = await process.communicate()
    assert process.returncode is not None
    return process.returncode, told.decode()
