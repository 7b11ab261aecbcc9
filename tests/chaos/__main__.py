"""`make chaos`: a long storm on a broker of its own. The same SEED draws the same orders and faults."""

import asyncio
import logging
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

from consumer.devbroker import PrivateBroker
from tests.chaos.report import report
from tests.chaos.storm import Plan, storm
from tests.conftest import Names


def plan() -> Plan:
    """The storm that the environment asks for: SEED, MINUTES, ORDERS, FAULTS, LEDGER (memory, sqlite, postgres)."""
    minutes = float(os.environ.get("MINUTES") or 20)
    return Plan(
        seed=int(os.environ.get("SEED") or random.randrange(10**6)),
        orders=int(os.environ.get("ORDERS") or 50_000),
        faults=int(os.environ.get("FAULTS") or max(1, round(minutes * 26))),
        seconds=minutes * 60,
        ledger=os.environ.get("LEDGER") or "memory",
    )


def main() -> int:
    """0 if the account closes; the logs are kept if it does not."""
    chosen = plan()
    logging.disable(logging.CRITICAL)  # the libraries in this process complain of what is done on purpose
    print(f"make chaos {chosen}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="neuroon-chaos-"))
    with PrivateBroker() as broker:
        account = asyncio.run(storm(chosen, broker, Names("chaos"), folder))
    print(report(account))
    if account.closes:
        shutil.rmtree(folder)
        return 0
    print(f"logs in {folder}")
    return 1


sys.exit(main())
