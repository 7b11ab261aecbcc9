"""What reading one order costs in CPU time: decoding, mapping, and making the conversion, by each built-in mapping.

    .venv/bin/python bench/mapping.py

The goal is a foreign mapping below 100 us an order; what the canonical reader takes for the same lines is included.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from consumer.core.body import decode  # noqa: E402 - the checkout it stands in, installed or not
from consumer.core.conversion import attribute  # noqa: E402
from consumer.core.delivery import Delivery  # noqa: E402
from consumer.core.order import OrderPaid  # noqa: E402
from consumer.mappings import builtin_names, load_reader  # noqa: E402

EVENTS = ROOT / "tests" / "mappings" / "events"
ROUNDS = 9
CALLS = 1_000


def microseconds(work: Callable[[], object]) -> float:
    """CPU time of one call: the median of several rounds."""
    return statistics.median(_round(work) for _ in range(ROUNDS))


def _round(work: Callable[[], object]) -> float:
    started = time.process_time()
    for _ in range(CALLS):
        work()
    return (time.process_time() - started) / CALLS * 1e6


def measure(name: str) -> tuple[int, float, float, float]:
    """Lines of the order, and microseconds for decoding, mapping and attributing it."""
    body = (EVENTS / f"{name}.json").read_bytes()
    delivery, reader, document = Delivery(body), load_reader(name), decode(body)
    order = reader.read(document, delivery)
    if not isinstance(order, OrderPaid):
        raise SystemExit(f"{name}: {order}")
    works = (partial(decode, body), partial(reader.read, document, delivery), partial(attribute, order))
    decoding, mapping, attributing = [microseconds(work) for work in works]
    return len(order.lines), decoding, mapping, attributing


def main() -> None:
    """Print a line for each mapping."""
    print(f"{'mapping':<16}{'lines':>6}{'decode us':>11}{'map us':>9}{'attribute us':>14}")
    for name in builtin_names():
        lines, decoding, mapping, attributing = measure(name)
        print(f"{name:<16}{lines:>6}{decoding:>11.1f}{mapping:>9.1f}{attributing:>14.1f}")


if __name__ == "__main__":
    main()
