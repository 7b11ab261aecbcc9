"""Looking at dead letters on a real broker: it costs nothing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from consumer.adapters.deadletterqueue import DeadLetterQueue, NoQueueError
from consumer.adapters.link import connect, short_channel
from consumer.core import delivery as header
from consumer.core.delivery import Delivery, foreign_headers, times_returned
from consumer.core.headers import Headers
from consumer.core.settlement import Queues
from consumer.deadletters import browse
from consumer.deadletters.browse import Desk, looking
from consumer.deadletters.filters import Filter
from consumer.deadletters.letter import Letter
from consumer.deadletters.sweep import plan
from consumer.devbroker import PrivateBroker
from tests.conftest import Names
from tests.support import letters as invented
from tests.support.dead_letter_desk import a_desk, bury, ids
from tests.support.eventually import eventually
from tests.support.program import ROOT, environment

MANY = 3000


def many() -> list[Delivery]:
    small = invented.letter("ORD-0", b"{}")
    return [replace(small, headers=invented.dead_headers(f"ORD-{n:04}")) for n in range(MANY)]


async def test_looking_changes_nothing(broker: PrivateBroker, names: Names) -> None:
    """3,000 letters lie in the same order after a whole look, and after ones that need only the first of them."""
    async with a_desk(broker.url, names) as desk:
        await bury(desk, *many())
        expected = [f"letter-ORD-{n:04}" for n in range(MANY)]
        assert await ids(desk) == expected
        assert await browse.find(desk, "letter-ORD-1234") is not None
        assert (await plan(desk, Filter(), limit=10)).summary.count == 10
        assert await ids(desk) == expected
        assert (await desk.queue.state(desk.queue.queues.dead)).messages == MANY


async def test_two_hundred_looks_use_a_letter_up_not(own_broker: PrivateBroker, names: Names) -> None:
    """A look counts as a delivery on most versions, and still the letter is there."""
    async with a_desk(own_broker.url, names) as desk:
        await bury(desk, invented.letter("ORD-1"))
        for _ in range(200):
            summary = await browse.summarise(desk, Filter())
            assert summary.count == 1
        found = await browse.find(desk, "letter-ORD-1")
        assert found is not None
        assert found[0].delivery.body == invented.letter("ORD-1").body


HOLDING = """
import asyncio, sys
from consumer.adapters.deadletterqueue import DeadLetterQueue
from consumer.adapters.link import connect
from consumer.core.settlement import Queues
from consumer.deadletters.letter import lasting_headers

async def main():
    connection = await connect(sys.argv[1], "held")
    async with DeadLetterQueue(connection, Queues(sys.argv[2])).hold(lasting_headers) as hold:
        while await hold.take() is not None:
            pass
        print("held", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def holder(url: str, names: Names) -> asyncio.subprocess.Process:
    """Another operator's process, which holds all letters until it is killed."""
    command = (sys.executable, "-c", HOLDING, url, names.queue)
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    return process


async def test_a_look_that_is_killed_leaves_all_in_place(broker: PrivateBroker, names: Names) -> None:
    """kill -9 in the middle of a look: every letter is back, in order."""
    async with a_desk(broker.url, names) as desk:
        await bury(desk, *many())
        process = await holder(broker.url, names)
        process.send_signal(signal.SIGKILL)
        await process.wait()

        async def all_back() -> bool:
            return (await desk.queue.state(desk.queue.queues.dead)).messages == MANY

        await eventually(all_back, timeout=20)
        assert await ids(desk) == [f"letter-ORD-{n:04}" for n in range(MANY)]


async def test_what_somebody_else_holds_is_not_seen_and_said_so(broker: PrivateBroker, names: Names) -> None:
    """A second look neither hangs nor claims that nothing is there."""
    async with a_desk(broker.url, names) as desk:
        await bury(desk, invented.letter("ORD-1"), invented.letter("ORD-2"))
        process = await holder(broker.url, names)
        seen = await browse.summarise(desk, Filter())
        assert (seen.count, seen.shared) == (0, True)
        process.kill()
        await process.wait()

        async def all_seen() -> bool:
            seen = await browse.summarise(desk, Filter())
            return (seen.count, seen.shared) == (2, False)

        await eventually(all_seen, timeout=20)


async def test_looks_at_the_same_time_lose_nothing(broker: PrivateBroker, names: Names) -> None:
    """Three operators look at once, again and again; afterwards every letter is there once."""
    async with a_desk(broker.url, names) as desk:
        await bury(desk, *many()[:600])

        async def operator() -> None:
            async with await connect(broker.url, "operator") as connection:
                theirs = Desk(DeadLetterQueue(connection, desk.queue.queues), desk.read)
                for _ in range(2):
                    await browse.summarise(theirs, Filter())

        await asyncio.gather(*(operator() for _ in range(3)))
        assert sorted(await ids(desk)) == [f"letter-ORD-{n:04}" for n in range(600)]


async def test_what_the_broker_moved_by_itself_is_listed_as_crashed(broker: PrivateBroker, names: Names) -> None:
    """A message returned more often than the delivery limit allows is a letter with a stable id, order and origin."""
    async with a_desk(broker.url, names) as desk:
        publisher = await desk.queue.publisher()
        original = invented.letter("ORD-1")
        main = desk.queue.queues.main
        await publisher.publish(original.body, {"tenant": "x"}, original.properties, routing_key=main)
        async with await connect(broker.url, "crashing") as connection, short_channel(connection) as channel:

            async def given_up() -> int:
                while (got := await channel.basic_get(main, timeout=10)).delivery_tag:
                    await channel.basic_reject(got.delivery_tag, requeue=True)
                return (await desk.queue.state(desk.queue.queues.dead)).messages

            await eventually(given_up, timeout=20)  # between a return and its place in the queue, a get finds nothing
        found = [await browse.find(desk, identity) for identity in await ids(desk)]
        assert [each[1].reason for each in found if each] == ["crashed"]
        assert found[0] is not None
        assert (found[0][1].order, found[0][1].died_at is not None) == ("ORD-1", True)
        assert found[0][0].delivery.body == original.body


async def test_reading_never_uses_up_a_delivery_limit(broker: PrivateBroker, names: Names) -> None:
    """Read three times as often as the queue's limit allows returns: all letters are still there, as they were.

    Nothing else than their place in the queue tells that they were published anew; one that the broker moved is told
    of by headers of ours from then on.
    """
    limit = 12
    async with await connect(broker.url, "test") as connection:
        dead = f"{names.queue}.dlq"
        async with short_channel(connection) as channel:
            lowered: dict[str, Any] = {
                "x-queue-type": "quorum",
                "x-overflow": "reject-publish",
                "x-delivery-limit": limit,
            }
            await channel.queue_declare(dead, durable=True, arguments=lowered)
        desk = Desk(DeadLetterQueue(connection, Queues(names.queue)), invented.read)
        await bury(desk, *many()[:40], replace(invented.crashed("ORD-crashed"), headers=Headers.of({"tenant": "x"})))
        before = await everything(desk)
        for _ in range(3 * limit):
            assert (await browse.summarise(desk, Filter())).count == 41
        after = await everything(desk)
        assert [letter.order for _, letter in after] == [letter.order for _, letter in before]
        assert [letter.id for _, letter in after] == [letter.id for _, letter in before]
        for (now, letter), (then, _) in zip(after, before, strict=True):
            assert (now.body, now.properties) == (then.body, then.properties)
            assert foreign_headers(now.headers) == foreign_headers(then.headers)
            assert letter.reason == ("crashed" if letter.order == "ORD-crashed" else "exhausted")


async def everything(desk: Desk) -> list[tuple[Delivery, Letter]]:
    async with looking(desk, Filter()) as look:
        return [(held.delivery, letter) async for held, letter in look]


async def test_watching_reads_the_letters_only_when_their_number_has_changed(
    broker: PrivateBroker, names: Names
) -> None:
    """`summary --watch` prints each time and reads the queue twice: at the start, and after another order died."""
    async with a_desk(broker.url, names) as desk:
        await bury(desk, invented.letter("ORD-1"))
        command = (sys.executable, "-m", "consumer", "dlq", "summary", "--watch", "1", "--json")
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=environment(broker.url, names), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        totals: list[int] = []
        for number in range(6):
            if number == 3:
                await bury(desk, invented.letter("ORD-2"))
            totals.append(json.loads(await process.stdout.readline())["total"])
        process.terminate()
        await process.wait()
        assert (totals[0], totals[-1]) == (1, 2)
        returned = {letter.order: times_returned(delivery) for delivery, letter in await everything(desk)}
        assert returned == {"ORD-1": 2, "ORD-2": 1}


async def test_newest_first_and_limited(broker: PrivateBroker, names: Names) -> None:
    """The last to die come first, whatever order they lie in."""
    died = ["2026-01-03T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]
    async with a_desk(broker.url, names) as desk:
        await bury(desk, *(invented.letter(f"ORD-{n}", None, **{header.DIED_AT: at}) for n, at in enumerate(died)))
        assert [letter.order for letter in await browse.newest(desk, Filter(), 2)] == ["ORD-0", "ORD-2"]
        assert len(await browse.newest(desk, Filter(), None)) == 3


async def test_a_queue_that_is_not_there_is_named(broker: PrivateBroker) -> None:
    """Nothing is declared by looking, and the name that was looked for is told."""
    async with await connect(broker.url, "test") as connection:
        desk = Desk(DeadLetterQueue(connection, Queues("no-such-queue")), invented.read)
        with pytest.raises(NoQueueError, match=r"no-such-queue\.dlq"):
            await browse.summarise(desk, Filter())
