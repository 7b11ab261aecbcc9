"""What a publisher put beside an order stays with it, byte for byte, as another client library sees it on the wire."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.core.amqp_values import decode_text
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.odd_messages import KINDS, NOT_KEPT, Field, OddMessage, raw_publisher, short
from tests.support.other_client import OnTheWire, look
from tests.support.program import command, environment

# Kinds whose point is what travels beside the body; the others have nothing there, or headers that must not stay.
BESIDE = {
    name: kind
    for name, kind in KINDS.items()
    if kind.end == "delivered" and (kind.headers or kind.properties or kind.routing_key != b"order.paid")
}
TOO_LARGE = {"headers that fill a frame", "one header that fills a frame", "twenty thousand headers"}


def foreign(headers: tuple[Field, ...] | list[Field]) -> list[Field]:
    """The headers that are to stay, as RabbitMQ writes them anew: in order, type L as l, a true boolean as 1."""
    kept = (
        (name, b"l" + value[1:] if value[:1] == b"L" else b"t\1" if value[:1] == b"t" and value != b"t\0" else value)
        for name, value in headers
        if not name.startswith((b"x-neuroon-", b"x-first-death", b"x-last-death"))
        and name not in {b"x-death", b"x-delivery-count", b"CC", b"BCC"}
    )
    return sorted(kept)


def kept(properties: dict[str, bytes]) -> dict[str, bytes]:
    return {name: value for name, value in properties.items() if name not in NOT_KEPT}


def by_order(messages: list[OnTheWire]) -> dict[str, OnTheWire]:
    return {json.loads(each.body)["orderId"]: each for each in messages}


def is_unchanged(sent: OddMessage, found: OnTheWire, *, too_large: bool) -> None:
    """Body, properties and foreign headers; of those that have no room with ours the largest may be missing."""
    ours = dict(found.headers)
    assert found.body == sent.body
    assert kept(found.properties) == kept(sent.properties)
    assert ours[b"x-neuroon-routing-key"][5:] == sent.routing_key
    if "message_id" in sent.properties:
        assert short(ours[b"x-neuroon-message-id"][5:]) == sent.properties["message_id"]
    if not too_large:
        assert foreign(found.headers) == foreign(sent.headers)
        assert b"x-neuroon-dropped" not in ours
    else:
        missing = set(foreign(sent.headers)) - set(foreign(found.headers))
        assert missing
        assert set(foreign(found.headers)) < set(foreign(sent.headers))
        named = min(10, len(missing))
        for place in (b"x-neuroon-dropped", b"x-neuroon-detail"):
            told = decode_text(ours[place])
            assert sum(decode_text(name) in told for name, _ in missing) >= named


async def test_foreign_bytes_stay_through_every_hop(
    broker: PrivateBroker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through retry, death, export, import, replay and death again, nothing that is not ours changes."""
    sent = {
        f"ODD-{number}": OddMessage(order(f"ODD-{number}"), kind.properties, kind.headers, kind.routing_key)
        for number, kind in enumerate(BESIDE.values())
    }
    large = {f"ODD-{number}" for number, name in enumerate(BESIDE) if name in TOO_LARGE}
    dead = f"{names.queue}.dlq"
    async with Sandbox(faults=["503:times=1", "400"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox)

        async def done(*arguments: str) -> None:
            status, _, err = await command(environ, *arguments, "--yes", "--all")
            assert status == 0, (arguments, err[-2000:])

        async def all_are_unchanged(when: str) -> None:
            found = by_order(await asyncio.to_thread(look, broker.url, dead, monkeypatch))
            assert found.keys() == sent.keys(), when
            for name, message in sent.items():
                is_unchanged(message, found[name], too_large=name in large)

        async with InProcess(environ) as consumer:

            def ends(reports: int) -> Callable[[], bool]:
                return lambda: len(consumer.reports) == reports and not consumer.app.rabbit.in_flight

            async with raw_publisher(broker.url, names.exchange) as raw:
                for number, message in enumerate(sent.values(), 1):
                    await raw.publish(message)  # one by one: many a 503 in a row would be an outage
                    await eventually(ends(2 * number), timeout=30)
            await all_are_unchanged("after a retry")
            file = str(tmp_path / "letters.jsonl")
            status, _, err = await command(environ, "dlq", "export", file)
            assert status == 0, err
            await done("dlq", "discard", "--why", "test")
            assert await at_broker.dead() == 0
            status, _, err = await command(environ, "dlq", "import", file, "--yes")
            assert status == 0, err
            await all_are_unchanged("after export and import")
            await done("dlq", "replay")
            await eventually(ends(3 * len(sent)), timeout=60)
            await all_are_unchanged("after a replay")
