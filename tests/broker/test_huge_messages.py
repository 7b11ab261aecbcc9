"""Messages far beyond what an order can be: they are dead, but must not cost the memory that they ask for."""

import asyncio

import pytest

from consumer.adapters import brake as brake_module
from consumer.core import delivery as header
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import environment

MEBIBYTE = 1024 * 1024


async def test_huge_messages_are_read_a_few_at_a_time(
    broker: PrivateBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten at once four are in hand, though the prefetch is 64; all end in the dead letters, whole."""
    monkeypatch.setattr(brake_module, "ROOM", 7 * MEBIBYTE)
    huge = [b"%d" % index + b"x" * (2 * MEBIBYTE) for index in range(10)]
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            rabbit, settling = consumer.app.rabbit, consumer.app.rabbit.settling
            may_settle, settle = asyncio.Event(), settling.settle

            async def later(*arguments: object) -> bool:
                await may_settle.wait()
                return await settle(*arguments)  # type: ignore[arg-type]  # as they came

            monkeypatch.setattr(settling, "settle", later)
            await at_broker.publish(*huge, order("ORD-1"))
            session = rabbit._session
            assert session is not None
            transport = session._consuming.stream.brake.transport
            assert transport is not None
            await eventually(lambda: not transport.is_reading())
            await eventually(lambda: rabbit.in_flight == 4)
            may_settle.set()
            await eventually(lambda: len(consumer.reports) == 11, timeout=30)
            assert consumer.outcomes("ORD-1") == ["delivered"]
            assert transport.is_reading()
            assert rabbit._session is session
        letters = await at_broker.take_dead()
    assert sorted(letter.body for letter in letters) == sorted(huge)
    assert {letter.headers[header.REASON] for letter in letters} == {"malformed"}
