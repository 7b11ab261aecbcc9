"""Who competes: this program, and what others would write in its place. How each is started, and nothing else."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from consumer.devbroker.ports import free_ports

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "bench" / "peers"
SHOP, KEY = "shop_a", "sk_bench"


@dataclass(frozen=True, slots=True)
class Scene:
    """What surrounds one run: addresses, how many orders may be in flight, and a folder for what is written."""

    amqp_url: str
    queue: str
    api_url: str
    authority: Path
    in_flight: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Competitor:
    """A program that drains the queue into the API, in one process or several that share the work.

    `absent` says why it cannot run here, if so.
    """

    name: str
    command: tuple[str, ...]
    environ: Callable[[Scene], dict[str, str]]
    processes: int = 1
    absent: Callable[[], str | None] = field(default=lambda: None)


def _ours(scene: Scene) -> dict[str, str]:
    """As in production: a ledger on the disk, a line for each order, metrics."""
    (port,) = free_ports(1)
    return {
        "AMQP_URL": scene.amqp_url,
        "NEUROON_API_URL": scene.api_url,
        "NEUROON_SHOP_ID": SHOP,
        "NEUROON_API_KEY": KEY,
        "CONSUMER_EXCHANGE": f"{scene.queue}.order.paid",
        "CONSUMER_QUEUE": scene.queue,
        "CONSUMER_CONCURRENCY": str(scene.in_flight),
        "CONSUMER_HTTP_ADDR": f"127.0.0.1:{port}",
        "LEDGER_URL": f"sqlite:///{scene.folder / 'ledger.db'}",
        "LOG_FORMAT": "json",
        "SSL_CERT_FILE": str(scene.authority),
    }


def _shopify(scene: Scene) -> dict[str, str]:
    return _ours(scene) | {"CONSUMER_MAPPING": "shopify"}


def _forgetful(scene: Scene) -> dict[str, str]:
    return _ours(scene) | {"LEDGER_URL": "none"}


def _peer(scene: Scene) -> dict[str, str]:
    return {
        "AMQP_URL": scene.amqp_url,
        "QUEUE": scene.queue,
        "IN_FLIGHT": str(scene.in_flight),
        "CONVERSION_URL": f"{scene.api_url}/api/plugin/shops/{SHOP}/track/conversion",
        "API_KEY": KEY,
        "SSL_CERT_FILE": str(scene.authority),
        "PYTHONPATH": str(ROOT),
        "NODE_EXTRA_CA_CERTS": str(scene.authority),
    }


def _without(module: str) -> Callable[[], str | None]:
    return lambda: (
        None if find_spec(module) else f"the Python package {module} is not installed: make bench installs it"
    )


def _without_node() -> str | None:
    if shutil.which("node") is None:
        return "there is no node here"
    if not (PEERS / "node_modules" / "amqplib").exists():
        return "its packages are not installed: there was no npm when make bench looked"
    major = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout[1:].split(".")[0]
    return None if int(major or 0) >= 20 else "it needs Node 20 or newer"  # noqa: PLR2004 - undici's own demand


def _python(peer: str) -> tuple[str, ...]:
    return sys.executable, "-m", f"bench.peers.{peer}"


def _node(peer: str) -> tuple[str, ...]:
    return "node", str(PEERS / f"{peer}.mjs")


_PROGRAM = (str(Path(sys.executable).with_name("neuroon-consumer")), "run")

OURS = Competitor("neuroon-consumer", _PROGRAM, _ours)
OURS_TWICE = replace(OURS, name="two of neuroon-consumer", processes=2)
OURS_SHOPIFY = Competitor("neuroon-consumer, mapping shopify", _PROGRAM, _shopify)
OURS_FORGETFUL = Competitor("neuroon-consumer, no ledger", _PROGRAM, _forgetful)
TUTORIAL = Competitor("aio-pika + httpx", _python("aiopika_httpx"), _peer)
PEER_FASTSTREAM = Competitor("FastStream + httpx", _python("faststream_httpx"), _peer, absent=_without("faststream"))
PEER_FETCH = Competitor("amqplib + fetch (Node)", _node("amqplib_fetch"), _peer, absent=_without_node)
PEER_UNDICI = Competitor("amqplib + undici (Node)", _node("amqplib_undici"), _peer, absent=_without_node)

# The first of them is what all ratios are to.
ALL_PEERS = (TUTORIAL, PEER_FASTSTREAM, PEER_FETCH, PEER_UNDICI)
EVERYBODY = (OURS, *ALL_PEERS)
