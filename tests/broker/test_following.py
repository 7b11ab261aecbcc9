"""Dead letters of another origin than ours, and replays that nobody consumes."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

from pamqp.commands import Basic

from consumer.adapters.link import short_channel
from consumer.adapters.topology import declare
from consumer.app import wanted_topology
from consumer.devbroker import PrivateBroker
from consumer.settings import read_settings
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import ROOT, command, environment


async def test_a_message_that_expired_by_its_publishers_own_time_to_live_is_called_so(
    broker: PrivateBroker, names: Names
) -> None:
    """The broker moves it from the main queue, which nobody consumes, and no consumer ever died on it."""
    environ = environment(broker.url, names)
    async with desk(broker.url, names) as at_broker:
        await declare(at_broker.connection, wanted_topology(read_settings(environ)))
        async with short_channel(at_broker.connection) as channel:
            properties = Basic.Properties(content_type="application/json", delivery_mode=2, expiration="50")
            await channel.basic_publish(
                order("ORD-1"), exchange=names.exchange, routing_key="order.paid", properties=properties
            )
            await eventually(at_broker.dead)
        status, out, err = await command(environ, "dlq", "list", "--json")
    assert status == 0, err
    letter = json.loads(out)
    assert (letter["orderId"], letter["reason"]) == ("ORD-1", "expired")
    assert letter["detail"] == f"its publisher's own time to live ended in {names.queue}: expired"


async def test_a_followed_replay_says_that_nobody_consumes(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """Once, on stderr; it goes on waiting, and ends by Ctrl-C with status 1 and the number of consumers."""
    environ = environment(broker.url, names)
    async with desk(broker.url, names) as at_broker:
        async with InProcess(environ):
            await at_broker.publish(b"no order")
            await eventually(at_broker.dead)
        replay = ("dlq", "replay", "--all", "--yes", "--follow", "--json", "--audit", str(tmp_path / "audit.jsonl"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "consumer", *replay),
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        line = b"the summary comes first"
        async with asyncio.timeout(40):
            while line and b"no consumer" not in line:
                line = await process.stderr.readline()
        assert f"no consumer takes orders from {names.queue}" in line.decode()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, err) == (1, b"")
    followed = json.loads(out)["followed"]
    assert (followed["consumers"], followed["waiting"]) == (0, 1)
