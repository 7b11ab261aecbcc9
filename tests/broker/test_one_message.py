"""Whatever is in one message, it harms only itself: its neighbours are delivered at once, in the same session."""

import asyncio
import json
import math
import struct
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiormq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.odd_messages import KINDS, OddMessage, odd_messages, raw_publisher
from tests.support.program import command, environment

GOOD = 100


def neighbours(start: int = 0) -> list[bytes]:
    return [order(f"GOOD-{number}") for number in range(start, start + GOOD)]


async def harms_only_itself(broker: PrivateBroker, names: Names, odd: list[OddMessage]) -> list[str]:
    """Publish odd messages and a hundred good orders behind them; how the odd ones ended, in any order.

    All good orders arrive once, in the session that took the odd messages, nothing stays in flight, and what is dead
    are the odd ones.
    """
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            rabbit = consumer.app.rabbit
            session = rabbit._session
            assert session is not None
            async with raw_publisher(broker.url, names.exchange) as raw:
                await raw.publish(*odd)
            await at_broker.publish(*neighbours())
            await eventually(
                lambda: all(consumer.outcomes(f"GOOD-{number}") for number in range(GOOD)),
                timeout=60,
                what="the good orders",
            )
            await eventually(lambda: not rabbit.in_flight and not session.acks.outstanding, timeout=60)
            assert rabbit._session is session
            assert not session.lost.done()
        posted = [each.order_id for each in sandbox.orders if each.order_id.startswith("GOOD-")]
        assert sorted(posted) == sorted(f"GOOD-{number}" for number in range(GOOD))
        assert not any(each.posts > 1 for each in sandbox.orders)
        ends = [each.outcome for each in consumer.reports if not str(each.subject.order).startswith("GOOD-")]
        dead = [end for end in ends if type(end).__name__ == "Dead"]
        assert await at_broker.dead() == len(dead)
        assert await at_broker.is_empty(names.queue)
    return [getattr(end, "reason", type(end).__name__.lower()) for end in ends]


@pytest.mark.parametrize("kind", KINDS)
async def test_one_message_harms_only_itself(broker: PrivateBroker, names: Names, kind: str) -> None:
    """A hundred good orders behind it are delivered once, in the same session; it ends as it deserves."""
    assert await harms_only_itself(broker, names, [KINDS[kind]]) == [KINDS[kind].end]


@settings(max_examples=12)
@given(st.lists(odd_messages, min_size=4, max_size=12))
def test_no_message_that_a_broker_takes_harms_another(broker: PrivateBroker, odd: list[OddMessage]) -> None:
    """Generated messages, with all fourteen properties and values of all types: the same as for each known kind."""
    ends = asyncio.run(harms_only_itself(broker, Names(f"test-{uuid.uuid4().hex[:12]}"), odd))
    assert len(ends) == len(odd)
    assert set(ends) <= {"delivered", "duplicate", "malformed"}


@pytest.mark.parametrize(
    "value",
    [b"d" + struct.pack(">d", math.nan), b"d" + struct.pack(">d", math.inf), b"Z\0", b"S\0\0\1\0"],
    ids=["NaN", "infinity", "unknown type", "text beyond the table"],
)
async def test_the_broker_itself_refuses_headers_that_are_none(broker: PrivateBroker, value: bytes) -> None:
    """Whoever publishes them loses the connection, so that no consumer ever meets them."""
    async with raw_publisher(broker.url, "amq.fanout") as raw:
        with pytest.raises((aiormq.exceptions.AMQPError, ConnectionError)):
            await raw.publish(replace(KINDS["nothing"], headers=((b"x-odd", value),)))


async def test_every_command_works_with_any_of_them(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """All kinds lie among the dead letters at once: each is listed, shown, exported, imported, replayed, discarded."""
    refusing = "400:times=99999"
    async with Sandbox(faults=[refusing]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        environ["NO_COLOR"] = "1"

        async def done(*arguments: str) -> list[dict[str, Any]]:
            status, out, err = await command(environ, *arguments)
            assert status == 0, (arguments, out[-500:], err[-2000:])
            return [json.loads(line) for line in out.splitlines()] if "--json" in arguments else []

        async def settled(times: int) -> None:
            await eventually(lambda: len(consumer.reports) >= times * len(KINDS), timeout=60)
            await eventually(lambda: not consumer.app.rabbit.in_flight)
            assert await at_broker.dead() == len(KINDS)

        async with InProcess(environ) as consumer:
            async with raw_publisher(broker.url, names.exchange) as raw:
                await raw.publish(*KINDS.values())
            await settled(1)
            [summary] = await done("dlq", "summary", "--json")
            assert summary["total"] == len(KINDS)
            letters = await done("dlq", "list", "--json")
            assert len({letter["id"] for letter in letters}) == len(KINDS)
            for letter in letters[:: len(letters) // 6]:
                await done("dlq", "show", letter["id"], "--json", "--reveal")
            await done("dlq", "list")
            file = str(tmp_path / "letters.jsonl")
            await done("dlq", "export", file)
            assert (await done("dlq", "discard", "--all", "--yes", "--json", "--why", "test"))[0]["done"] == len(KINDS)
            assert (await done("dlq", "import", file, "--yes", "--json"))[0]["done"] == len(KINDS)
            assert {letter["id"] for letter in await done("dlq", "list", "--json")} == {each["id"] for each in letters}
            assert (await done("dlq", "replay", "--all", "--yes", "--json"))[0]["done"] == len(KINDS)
            await settled(2)
            for order_id in ("ODD", "[/x] \x9b2J\u202e"):
                await done("explain", order_id)
            await done("ledger", "list")
            [account] = await done("ledger", "balance", "--json")
            assert account["dead"] == len(KINDS)
