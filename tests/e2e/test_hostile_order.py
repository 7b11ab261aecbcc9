"""One hostile order, and every command there is: none obeys it, none fails for it, and JSON gives its id back."""

import asyncio
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import click
import httpx
import pytest

from consumer.cli import main
from consumer.core import delivery as header
from consumer.core.delivery import Delivery, Properties
from consumer.core.escaping import escaped
from consumer.demo import Stage
from consumer.devbroker import PrivateBroker
from consumer.sandbox import DEFAULT_SHOP, Sandbox
from tests.conftest import Names
from tests.support import letters as invented
from tests.support.broker import Desk, desk
from tests.support.dead_letter_desk import a_desk, bury
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.forked import Ended, Forked
from tests.support.program import environment
from tests.support.shopdatabase import RECIPE

# Markup and emoji of Rich, sequences for a terminal in 7 and 8 bits, marks that turn or hide text, ends of lines.
HOSTILE = "[/x][bold]:bomb:\x1b]0;owned\x07\x1b[2J\x9b2J\x7f\u202e\u2066\u200b\u2028\r\nfake line\t'\",;|"
HARMLESS = "ORD-1"

# What the program itself may send to a terminal: colours, and what a progress bar needs.
OWN_SEQUENCES = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[hl]|\x1b\[2K|\x1b\[1A|\r")

OWN_MAPPING = """about = {0}
[order]
id = "orderId"
value = [{1}, "orderValue"]
currency = "currency"
lines = "lines"
[line]
product = "productId"
quantity = "quantity"
unit_price = "unitPrice"
"""

# It consumes nothing but events of its own, and takes half a minute: see `test_the_demo_shows_its_log_escaped`.
OWN_STORY = {"demo"}


def commands(group: click.Group, path: str = "") -> Iterator[str]:
    """The paths of all commands, such as "dlq list"."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield f"{path}{name}"


@dataclass
class Walk:
    """Runs commands where one order is in the ledger, dead letters and files, and looks at all that they show."""

    id: str
    environ: dict[str, str]
    folder: Path
    statuses: dict[str, list[int]] = field(default_factory=dict)

    async def types(self, path: str, *arguments: str, stdin: bytes = b"", flags: tuple[str, ...] = ()) -> str:
        """Run a command at a terminal; what it showed."""
        words = (*flags, *path.split(), *arguments)
        return self.look(path, await self.start(*words, stdin=stdin, terminal=True).ended()).out

    async def asks(self, path: str, *arguments: str, stdin: bytes = b"", told: bool = True) -> list[object]:
        """Run a command whose stdout is JSON and nothing else; `told`: the id is in it. What it said, line by line."""
        ended = self.look(path, await self.start(*path.split(), *arguments, stdin=stdin, terminal=False).ended())
        values: list[object] = [json.loads(line) for line in ended.out.splitlines()]
        assert values, ended
        assert not told or self.id in texts(values), ended
        return values

    def start(self, *words: str, terminal: bool, stdin: bytes = b"", **environ: str) -> Forked:
        """Run a command on, until somebody stops it."""
        return Forked(self.environ | environ, words, self.folder, stdin=stdin, terminal=terminal)

    def look(self, path: str, ended: Ended) -> Ended:
        """Nothing that was shown has an effect, and the program knew what it did."""
        for shown in (ended.out, ended.err):
            harmless(shown)
            assert "unexpected error" not in shown, (path, ended)
            assert "Traceback" not in shown, (path, ended)
        self.statuses.setdefault(path, []).append(ended.status)
        return ended

    def file(self, name: str, content: bytes | str) -> str:
        """A file in whose name the id stands."""
        path = self.folder / f"{self.id.replace('/', '')}.{name}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path.name

    def events(self) -> list[bytes]:
        """One order to deliver; and events that die of their shop, their currency and what no database can hold."""
        lines = [{"productId": self.id, "quantity": 1, "unitPrice": 9.99}]
        return [
            order(self.id, eventId=self.id, occurredAt=self.id, lines=lines, neuroonClicks={self.id: self.id}),
            order(self.id, shopId=self.id.partition("\r")[0]),  # structlog quotes only texts with blanks or quotes
            order(self.id, currency=self.id),
            order(f"{self.id}\0"),
            order(f"{self.id}\ud800"),
        ]


def harmless(shown: str) -> None:
    """The text has only lines, colours and progress bars in it, and whatever else shows as itself."""
    rest = OWN_SEQUENCES.sub("", shown).replace("\n", "")
    assert rest.isprintable(), ascii(shown)
    assert "fake line" not in shown.splitlines(), ascii(shown)


async def consumes(walk: Walk, settled: int, *, terminal: bool) -> None:
    """`run`, until it has settled so many messages."""
    running = walk.start("run", terminal=terminal, LOG_FORMAT="console" if terminal else "json")
    await eventually(lambda: len(re.findall("settled", running.out + running.err)) >= settled, timeout=60)
    running.terminate()
    ended = walk.look("run", await running.ended())
    assert terminal or walk.id in texts([json.loads(line) for line in ended.err.splitlines()])


async def publishes(walk: Walk, there: Desk) -> None:
    """`publish` and `run`: the order is delivered once, and dead in five ways."""
    lines = b"\n".join(walk.events())
    headers: dict[str, object] = {walk.id: walk.id, "table": {walk.id: [walk.id]}}
    properties = Properties("application/json", correlation_id=walk.id, type=walk.id, app_id=walk.id)
    await walk.types("publish", "--routing-key", walk.id, stdin=lines)
    await there.publish(*walk.events(), headers=headers, properties=properties)
    await consumes(walk, 10, terminal=False)
    await walk.asks("publish", "--json", "--routing-key", walk.id, stdin=lines, told=False)
    await consumes(walk, 5, terminal=True)


async def converts(walk: Walk) -> None:
    """`convert`, `mappings` and `schema`: events and mapping files as they come from others."""
    events = b"\n".join(walk.events())
    text = json.dumps(walk.id)
    sound = walk.file("toml", OWN_MAPPING.format(text, json.dumps(json.dumps(walk.id, ensure_ascii=False))))
    broken = walk.file("broken.toml", f"[order]\n{text} = {text}\n[{text}]\nid = {text}\n")
    beside = ("--header", f"{walk.id}={walk.id}", "--routing-key", walk.id)
    for more in ((), ("--explain",), ("--guess",), ("--mapping", sound), ("--mapping", broken), ("--mapping", walk.id)):
        await walk.types("convert", *beside, *more, stdin=events)
    await walk.types("convert", walk.file("json", events))
    await walk.types("convert", f"{walk.id}.none")
    await walk.asks("convert", *beside, "--json", "--explain", stdin=events)
    await walk.asks("convert", *beside, "--json", "--guess", stdin=events, told=False)
    await walk.types("mappings")
    await walk.asks("mappings", "--json", told=False)
    for name in ("shopify", walk.id):
        await walk.types("mappings show", name)
    for name in (sound, broken, walk.id):
        await walk.types("mappings check", name)
    await walk.types("schema", "asyncapi")


async def asks_the_ledger(walk: Walk) -> None:
    """`explain` and `ledger`, but for `prune`."""
    rows = [{"order id": walk.id, walk.id: "1"}, {"order id": f"{walk.id}?", walk.id: "2"}]
    listing = walk.file("jsonl", "\n".join(map(json.dumps, rows)))
    shop, column = ("--shop", DEFAULT_SHOP.id), ("--order-column", "order id", "--amount-column", walk.id)
    assert escaped(walk.id) in await walk.types("explain", walk.id)
    await walk.types("explain", walk.id, "--shop", walk.id.partition("\r")[0])
    await walk.types("explain", f"{walk.id}?")
    await walk.asks("explain", walk.id, "--json")
    await walk.types("ledger migrate")
    await walk.asks("ledger migrate", "--json", told=False)
    await walk.types("ledger list")
    await walk.asks("ledger list", "--json")
    await walk.types("ledger reconcile", listing, *shop, *column)
    await walk.types("ledger reconcile", listing, *shop, "--order-column", f"{walk.id}?")
    await walk.types("ledger reconcile", f"{walk.id}.none", *shop)
    [found] = await walk.asks("ledger reconcile", listing, *shop, *column, "--json", told=False)
    assert f"{walk.id}?" in texts(found)
    await walk.types("ledger balance")
    await walk.asks("ledger balance", "--json", told=False)


async def looks_at_dead_letters(walk: Walk) -> None:
    """`dlq summary`, `list`, `show` and `export`, and what `replay` and `import` would do."""
    await walk.types("dlq summary")
    await walk.asks("dlq summary", "--json")
    assert escaped(walk.id) in await walk.types("dlq list", flags=("--debug",))
    await walk.types("dlq list", "--newest", "--order", walk.id)
    for letter in await walk.asks("dlq list", "--json"):
        assert isinstance(letter, dict)
        await walk.types("dlq show", letter["id"])
    await walk.types("dlq show", f"{walk.id}?")
    await walk.asks("dlq show", walk.id, "--json", "--reveal", "--audit", walk.file("audit", ""))
    await walk.asks("dlq export", "--audit", walk.file("audit", ""))
    await walk.types("dlq export", walk.file("export", ""))
    await walk.types("dlq export", walk.file("full", "x"))
    await walk.types("dlq replay", "--all", "--dry-run")
    await walk.asks("dlq replay", "--all", "--dry-run", "--json")
    await walk.types("dlq replay", "--all")


async def changes_dead_letters(walk: Walk) -> None:
    """`dlq discard`, `import` and `replay` to their end, with their record on the terminal too."""
    exported = walk.file("moved", b"")
    await walk.types("dlq export", exported)
    await walk.types("dlq import", exported, "--yes")
    await walk.types("dlq discard", walk.id, f"{walk.id}?", "--why", walk.id, "--yes", "--audit", "-")
    await walk.types("dlq import", exported, "--dry-run")
    await walk.asks("dlq import", exported, "--yes", "--json", told=False)
    await walk.types("dlq import", walk.file("broken", f"{{}}\n{walk.id}\n"), "--yes")
    await walk.types("dlq replay", walk.id, "--event", walk.file("event", walk.events()[2]), "--yes", "--audit", "-")
    await walk.types("dlq replay", walk.id, "--event", walk.file("event", walk.events()[0]), "--yes", "--audit", "-")
    await walk.types("dlq replay", "--all", "--yes", "--audit", walk.file("audit", ""))
    await walk.asks("dlq discard", "--all", "--why", walk.id, "--yes", "--json", "--audit", "audit", told=False)
    harmless((walk.folder / walk.file("audit", "")).read_text())


async def empties_an_outbox(walk: Walk) -> None:
    """`outbox flush` into what `sandbox` serves."""
    with closing(sqlite3.connect(walk.folder / "shop.db")) as database, database:
        database.execute(RECIPE)
        for name, payload in ((f"out{walk.id}", conversion(f"out{walk.id}")), (f"{walk.id}\0", walk.id), ("", b"\xff")):
            database.execute("INSERT INTO neuroon_conversion_outbox (order_id, payload) VALUES (?, ?)", (name, payload))
    serving = walk.start("sandbox", "--port", "0", terminal=True)
    address = await eventually(lambda: "".join(re.findall(r"Neuroon sandbox at (http\S+)", serving.out)))
    walk.environ["NEUROON_API_URL"] = address
    url = f"sqlite:///{walk.folder / 'shop.db'}"
    await walk.types("outbox flush", "--url", url)
    await walk.asks("outbox flush", "--url", url, "--json", told=False)
    await walk.types("outbox flush", "--url", url, "--table", walk.id)
    async with httpx.AsyncClient(trust_env=False) as client:
        received = await client.get(f"{address}/sandbox/orders")
    harmless(received.text)
    assert f"out{walk.id}" in texts(received.json())
    serving.terminate()
    walk.look("sandbox", await serving.ended())


def conversion(order_id: str) -> str:
    line = {"productId": order_id, "searchLogId": order_id, "quantity": 1, "lineTotal": 9.99}
    return json.dumps({"orderId": order_id, "orderValue": 9.99, "currency": "EUR", "conversions": [line]})


def letter(walk: Walk) -> Delivery:
    """A dead letter in which everything that the consumer writes is forged."""
    names = (header.ID, header.SHOP, header.ORDER, header.REASON, header.DETAIL, header.FINGERPRINT, header.MESSAGE_ID,
             header.EXCHANGE, header.ROUTING_KEY, header.DIED_AT, header.FIRST_SEEN, walk.id)  # fmt: skip
    return invented.letter(walk.id, walk.events()[0], **dict.fromkeys(names, walk.id))


async def walked(walk: Walk, broker: PrivateBroker, names: Names) -> None:
    """Every command, in an order in which each finds something."""
    async with a_desk(broker.url, names) as looking, desk(broker.url, names) as there:
        await publishes(walk, there)
        await bury(looking, letter(walk))
    await walk.types("check")
    await walk.asks("check", "--json", told=False)
    await converts(walk)
    await asks_the_ledger(walk)
    await looks_at_dead_letters(walk)
    await changes_dead_letters(walk)
    await empties_an_outbox(walk)
    await walk.types("ledger prune", "--older-than", "1ms", "--dry-run")
    await walk.asks("ledger prune", "--older-than", "1ms", "--yes", "--json", told=False)


async def test_no_command_obeys_a_hostile_order(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """Each command ends as for a harmless order, shows no raw control or bidirectional character, and JSON has the id.

    At a terminal and into files. A command that is not walked yet fails the test, too.
    """
    statuses = []
    for number, identity in enumerate((HARMLESS, HOSTILE)):
        own, folder = Names(f"{names.prefix}-{number}"), tmp_path / str(number)
        folder.mkdir()
        async with Sandbox() as sandbox:
            ledger, width = f"sqlite:///{folder / 'ledger.db'}", {"TERM": "xterm-256color", "COLUMNS": "80"}
            walk = Walk(identity, environment(broker.url, own, sandbox, LEDGER_URL=ledger, **width), folder)
            await walked(walk, broker, own)
        statuses.append(walk.statuses)
    assert statuses[0] == statuses[1]
    assert statuses[0].keys() | OWN_STORY == {*commands(main)}


async def test_the_demo_shows_its_log_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It relays the consumer's log and what its commands print, line by line."""
    stream = asyncio.StreamReader()
    stream.feed_data(json.dumps({"event": HOSTILE, "order": HOSTILE, "level": "info", "outcome": "dead"}).encode())
    stream.feed_eof()
    await Stage({}, tmp_path).relay(stream)
    shown = capsys.readouterr().out
    assert escaped(HOSTILE) in shown
    harmless(shown)


def texts(value: object) -> Iterator[str]:
    """Every text in a JSON value."""
    match value:
        case str():
            yield value
        case dict():
            for name, each in value.items():
                yield name
                yield from texts(each)
        case list():
            for each in value:
                yield from texts(each)
