"""What the worst messages do to the process: the longest stall of the event loop, and the most memory.

    .venv/bin/python -m bench.worst                      # every built-in mapping, 64 and 500 in flight; some minutes
    .venv/bin/python -m bench.worst woocommerce shopify

A process for each mapping and number in flight, so that its memory is its own. All in flight arrive at once, and
another one for each that is settled, until each kind has been settled often enough; the endpoint takes 100 ms.
Beside them a good order every 20 ms, which must not wait.

Three crowds: messages of 1 MiB, plain (no more than 16 MiB of them are ever in flight: the connection is not read then)
and compressed; compressed ones alone; and messages that are just light, which are read on the event loop itself.
"""

import asyncio
import gc
import itertools
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import uvloop
from pydantic import SecretStr

from bench.harness.worst import KINDS, compressed, plain, worst
from consumer.adapters.ledger.memory import MemoryLedger
from consumer.core.body import BODY_LIMIT
from consumer.core.conversion import Conversion
from consumer.core.delivery import Delivery
from consumer.core.ladder import Ladder, Rung
from consumer.core.outcome import Delivered, Outcome
from consumer.core.settlement import Queues, Routes
from consumer.core.shop import Shop, Shops
from consumer.intake import Intake
from consumer.mappings import builtin_names, load_reader
from consumer.pipeline import Pipeline, Surroundings
from consumer.workload import LIGHT

IN_FLIGHT = (64, 500)
CROWDS = ("mixed", "gzip", "light")
# Times that each kind of a crowd is settled before the measurement ends.
TIMES = {"mixed": 1, "gzip": 1, "light": 5}
API_SECONDS = 0.1
TICK_SECONDS = 0.005
RAW_BYTES = 16 * 1024 * 1024
SHOPS = Shops([Shop("shop_a", SecretStr("sk_a"), "http://neuroon.test")])


class Endpoint:
    """Takes its time, as Neuroon does, and keeps what is posted meanwhile."""

    async def deliver(self, conversion: Conversion, shop: Shop, attempt: int) -> Outcome:
        """See `pipeline.Courier`."""
        await asyncio.sleep(API_SECONDS)
        return Delivered(200)


class Stalls:
    """The longest time that the event loop took beyond what it was asked for, in seconds.

    `computing`: the most CPU time of this process in one such time, which other programs of the machine add nothing to.
    """

    def __init__(self) -> None:
        self.longest = self.computing = 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            before, computed = time.monotonic(), time.process_time()
            await asyncio.sleep(TICK_SECONDS)
            self.longest = max(self.longest, time.monotonic() - before - TICK_SECONDS)
            self.computing = max(self.computing, time.process_time() - computed)


def messages(mapping: str, crowd: str) -> list[Delivery]:
    """One round of a crowd."""
    bodies = [body for _, body in worst(mapping, LIGHT if crowd == "light" else BODY_LIMIT)]
    if crowd == "light":
        return [plain(body) for body in bodies]
    packed = [compressed(body) for body in bodies]
    if crowd == "gzip":
        return packed
    fit = RAW_BYTES // BODY_LIMIT
    return [plain(body) for body in bodies[:fit]] + packed[fit:] + packed * 10


def copies(round_of: list[Delivery]) -> Iterator[tuple[int, Delivery]]:
    """The same for ever, with the number of its kind; each has bytes of its own, as what comes from a broker has."""
    for number, each in itertools.cycle(enumerate(round_of)):
        yield number % len(KINDS), Delivery(bytes(bytearray(each.body)), each.exchange, properties=each.properties)


def pipeline(mapping: str) -> Pipeline:
    """The program's own, around an endpoint and a ledger that cost nothing."""
    return Pipeline(
        read=Intake(load_reader(mapping), lambda: SHOPS),
        courier=Endpoint(),
        ledger=MemoryLedger(),
        routes=Routes(Queues("q"), Ladder((Rung("5s", 5.0),), hold=Rung("1m", 60.0), max_hold=3600.0)),
        world=Surroundings(time.time, random.random, lambda: SHOPS),
    )


async def measured(mapping: str, crowd: str, in_flight: int) -> dict[str, float]:
    """The figures of one crowd, in milliseconds and MiB."""
    ours, stalls = pipeline(mapping), Stalls()
    source = copies(messages(mapping, crowd))
    good = plain(next(body for name, body in worst(mapping, 4096) if name == "most_lines"))
    settled, waits = [0] * len(KINDS), [0.0]
    enough = asyncio.Event()

    async def one() -> None:
        while not enough.is_set():
            kind, delivery = next(source)
            await asyncio.create_task(ours.handle(delivery))
            settled[kind] += 1
            if min(settled) >= TIMES[crowd]:
                enough.set()

    async def good_ones() -> None:
        while True:
            before = time.monotonic()
            await ours.handle(good)
            waits.append(time.monotonic() - before - API_SECONDS)
            await asyncio.sleep(0.02)

    began = time.monotonic()
    tasks = [asyncio.create_task(each) for each in (stalls.watch(), good_ones())]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(one()) for _ in range(in_flight)]
    await enough.wait()
    took = time.monotonic() - began
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "stall": stalls.longest * 1000,
        "computing": stalls.computing * 1000,
        "good": max(waits) * 1000,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "each": took / sum(settled) * 1000,
    }


def one_process(mapping: str, crowd: str, in_flight: int) -> None:
    """Measure in this process, set up as `neuroon-consumer run` is."""
    gc.freeze()
    gc.set_threshold(50_000)
    print(json.dumps(uvloop.run(measured(mapping, crowd, in_flight))))


def main() -> None:
    """Print a line for each mapping, crowd and number in flight."""
    names = sys.argv[1:] or builtin_names()
    print(
        f"{'mapping':<16}{'crowd':<8}{'flight':>8}{'stall ms':>10}{'CPU ms':>8}{'good ms':>9}{'MiB':>6}{'each ms':>9}"
    )
    for name, in_flight, crowd in itertools.product(names, IN_FLIGHT, CROWDS):
        command = [sys.executable, "-m", "bench.worst", "--one", name, crowd, str(in_flight)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        stalls = f"{found['stall']:>10.0f}{found['computing']:>8.0f}{found['good']:>9.0f}"
        print(f"{name:<16}{crowd:<8}{in_flight:>8}{stalls}{found['rss']:>6.0f}{found['each']:>9.0f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one_process(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
