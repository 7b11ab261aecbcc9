"""What the ledger costs for each order, and what it takes to hold a list of a million orders against it.

    .venv/bin/python bench/ledger.py [ROWS]

The first part drives the ledger as the consumer does: 64 orders at a time, each a look-up and a record. The second part
runs the commands as processes of their own, as an operator runs them. Needs neither broker nor network.
"""

import asyncio
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import uvloop  # noqa: E402 - the checkout it stands in, installed or not

from consumer.adapters.ledger import Ledger, Record  # noqa: E402
from consumer.adapters.ledger.absent import NoLedger  # noqa: E402
from consumer.adapters.ledger.batching import BatchedLedger  # noqa: E402
from consumer.adapters.ledger.sqlite import SqliteStore  # noqa: E402
from consumer.core.delivery import Journey  # noqa: E402
from consumer.core.outcome import Delivered  # noqa: E402

ORDERS = 50_000
IN_FLIGHT = 64
SEEN = 1_767_268_800.0
FILLED_AT_A_TIME = 2_000


def delivered(order: str) -> Record:
    """An ordinary order, delivered at its first try."""
    journey = Journey(1, SEEN, "order.paid", "order.paid", f"{order}-d87adf2f5d0e4d5c")
    return Record("shop_a", order, journey, Delivered(200), SEEN + 1, 8.5, os.urandom(32), f"evt-{order}", f"m-{order}")


async def drive(ledger: Ledger, pause: float) -> tuple[float, float]:
    """Seconds and CPU seconds of `ORDERS` orders, each with a look-up, `pause` seconds of API, and a record."""
    numbers = itertools.count()

    async def worker() -> None:
        while (number := next(numbers)) < ORDERS:
            await ledger.delivered_before("shop_a", f"ORD-{number}")
            await asyncio.sleep(pause)
            await ledger.record(delivered(f"ORD-{number}"))
            ledger.let_go("shop_a", f"ORD-{number}")

    await ledger.open()
    begun, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(worker())
    taken = time.perf_counter() - begun, time.process_time() - cpu
    await ledger.close()
    return taken


def cost_per_order(folder: Path) -> None:
    """The difference that the ledger makes."""
    for pause in (0.0, 0.01):
        without = uvloop.run(drive(NoLedger(), pause))
        sqlite = BatchedLedger(SqliteStore(folder / f"drive-{pause}.db"))
        with_it = uvloop.run(drive(sqlite, pause))
        for name, (seconds, cpu) in (("none", without), ("sqlite", with_it)):
            rate, each = ORDERS / seconds, cpu / ORDERS * 1e6
            print(
                f"API of {pause * 1000:.0f} ms, ledger {name:<7} {rate:>8,.0f} orders/s  {each:>6.1f} us CPU an order"
            )


async def fill(path: Path, rows: int) -> None:
    """A ledger of `rows` delivered orders."""
    store = SqliteStore(path)
    for start in range(0, rows, FILLED_AT_A_TIME):
        await store.write([delivered(f"ORD-{number}") for number in range(start, start + FILLED_AT_A_TIME)])
    await store.close()


def write_list(path: Path, rows: int) -> None:
    """The shop's list; of every thousand orders one was never seen."""
    with path.open("w") as file:
        file.write("order_id,created,grand_total,currency\n")
        for number in range(rows):
            order = f"LOST-{number}" if number % 1000 == 0 else f"ORD-{number}"
            file.write(f"{order},2026-01-01,{number % 500}.95,EUR\n")


def run(name: str, environ: dict[str, str], *arguments: str) -> None:
    """Run a command; print its seconds and its peak of memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "consumer", *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    told = json.loads(done.stdout.splitlines()[0]) if done.stdout else {}
    facts = {name: told[name] for name in ("rows", "delivered", "neverSeen", "received", "matched") if name in told}
    print(f"{name:<12} {seconds:>6.1f} s  peak {peak / 1024:>5.0f} MB{'' if peak > before else ' or less'}  {facts}")


def million(folder: Path, rows: int) -> None:
    """The commands, on a ledger of `rows` orders."""
    ledger, listed = folder / "ledger.db", folder / "paid.csv"
    begun = time.perf_counter()
    asyncio.run(fill(ledger, rows))
    seconds = time.perf_counter() - begun
    print(f"filled with {rows:,} orders in {seconds:.1f} s, {ledger.stat().st_size / rows:.0f} bytes each")
    write_list(listed, rows)
    environ = {"PATH": os.environ["PATH"], "LEDGER_URL": f"sqlite:///{ledger}"}
    environ |= {"NEUROON_SHOP_ID": "shop_a", "NEUROON_API_KEY": "sk_bench"}
    run("explain", environ, "explain", f"ORD-{rows // 2}", "--json")
    run("reconcile", environ, "ledger", "reconcile", str(listed), "--json")
    run("balance", environ, "ledger", "balance", "--shop", "shop_a", "--json")
    run("list", environ, "ledger", "list", "--json")
    run("prune", environ, "ledger", "prune", "--older-than", "1d", "--dry-run", "--json")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        cost_per_order(Path(made))
        million(Path(made), int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
