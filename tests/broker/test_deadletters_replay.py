"""Bringing dead letters back on a real broker: each once, byte for byte, and never in the way of live orders."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consumer.adapters.deadletterqueue import NoQueueError
from consumer.adapters.link import connect, open_channel, short_channel
from consumer.core import delivery as header
from consumer.deadletters.audit import AuditError, audit_to
from consumer.deadletters.browse import Desk
from consumer.deadletters.filters import Filter
from consumer.deadletters.pace import Pace
from consumer.deadletters.replay import Replay
from consumer.deadletters.sweep import Control, Tally, plan
from consumer.devbroker import PrivateBroker
from tests.conftest import Names
from tests.support import broker as support
from tests.support import letters as invented
from tests.support.dead_letter_desk import a_desk, bury, ids
from tests.support.eventually import eventually


async def replay(desk: Desk, wanted: Filter, tmp_path: Path, control: Control | None = None, **given: Any) -> Tally:
    """Plan and replay in one go."""
    planned = await plan(desk, wanted, given.pop("limit", None))
    with audit_to(str(tmp_path / "audit.jsonl"), "replay") as audit:
        return await Replay(desk, audit, Pace(desk.queue, **given)).run(planned, control or Control())


def letters(count: int, **changes: object) -> list[Any]:
    return [invented.letter(f"ORD-{n:03}", None, **changes) for n in range(count)]


async def test_a_letter_goes_back_as_it_came(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """Same bytes, foreign headers and properties; attempt 1, one replay more; nothing left of its death."""
    async with a_desk(broker.url, names) as desk, support.desk(broker.url, names) as shop:
        original = invented.letter("ORD-1", b'{"odd":  "spacing"}', tenant="x", **{header.REPLAYS: 1})
        await bury(desk, original)
        tally = await replay(desk, Filter(), tmp_path)
        [message] = await shop.take(names.queue)
    assert tally.complete
    assert message.body == original.body
    assert message.properties.correlation_id == original.properties.correlation_id
    assert (message.headers["tenant"], message.headers[header.ATTEMPT], message.headers[header.REPLAYS]) == ("x", 1, 2)
    assert message.headers[header.FIRST_SEEN] == original.headers[header.FIRST_SEEN]
    assert not message.headers.keys() & {header.ID, header.REASON, header.DETAIL, header.STATUS, header.DIED_AT}


async def test_only_what_matches_goes_and_the_rest_keeps_its_order(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """Every third letter is of shop_b: these leave, the others lie as they lay."""
    async with a_desk(broker.url, names) as desk, support.desk(broker.url, names) as shop:
        await bury(
            desk, *(invented.letter(f"ORD-{n:03}", None, **{header.SHOP: f"shop_{'aab'[n % 3]}"}) for n in range(300))
        )
        tally = await replay(desk, Filter(shop="shop_b"), tmp_path)
        assert (tally.matched, tally.done, tally.left) == (100, 100, 0)
        assert await ids(desk) == [f"letter-ORD-{n:03}" for n in range(300) if n % 3 != 2]
        replayed = await shop.take(names.queue)
    assert [message.headers[header.ORDER] for message in replayed] == [f"ORD-{n:03}" for n in range(300) if n % 3 == 2]


async def test_a_limit_takes_the_first(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """With --limit the letters that have lain longest go, and the others stay."""
    async with a_desk(broker.url, names) as desk:
        await bury(desk, *letters(10))
        assert (await replay(desk, Filter(), tmp_path, limit=4)).done == 4
        assert await ids(desk) == [f"letter-ORD-{n:03}" for n in range(4, 10)]


async def test_letters_that_arrive_meanwhile_stay(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """What dies while a replay runs, the replayed themselves included, is not sent round again."""
    async with a_desk(broker.url, names) as desk:
        await bury(desk, *letters(20))
        planned = await plan(desk, Filter())
        late = [invented.letter(f"LATE-{n}") for n in range(20)]
        await bury(desk, *late)
        with audit_to(str(tmp_path / "audit.jsonl"), "replay") as audit:
            tally = await Replay(desk, audit, Pace(desk.queue)).run(planned, Control())
        assert tally.done == 20
        assert await ids(desk) == [f"letter-LATE-{n}" for n in range(20)]


async def test_a_stop_is_heeded_between_two_letters_and_gone_on_from(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """Stopped after five: five are done, the others are still there, and a second run brings exactly these."""
    async with a_desk(broker.url, names) as desk, support.desk(broker.url, names) as shop:
        await bury(desk, *letters(40))
        control = Control()

        def tell(tally: Tally) -> None:
            if tally.done == 5:
                control.stop.set()

        control.tell = tell
        tally = await replay(desk, Filter(), tmp_path, control)
        assert (tally.done, tally.left, tally.stopped) == (5, 35, "stopped by the operator")
        assert (await replay(desk, Filter(), tmp_path)).done == 35
        assert sorted(each.headers[header.ORDER] for each in await shop.take(names.queue)) == [
            f"ORD-{n:03}" for n in range(40)
        ]


async def test_a_rate_is_kept(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """Eleven letters at 20 a second take at least half a second."""
    async with a_desk(broker.url, names) as desk:
        await bury(desk, *letters(11))
        planned = await plan(desk, Filter())
        with audit_to(str(tmp_path / "audit.jsonl"), "replay") as audit:
            begun = time.monotonic()
            await Replay(desk, audit, Pace(desk.queue, 20)).run(planned, Control())
        assert time.monotonic() - begun >= 0.5


async def test_live_orders_go_first(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """While more live orders wait than a consumer keeps up with, no letter moves; once they are through, all do."""
    async with a_desk(broker.url, names) as desk, await connect(broker.url, "slow") as connection:
        await bury(desk, *letters(3))
        publisher = await desk.queue.publisher()
        live = invented.letter("LIVE")
        for _ in range(150):
            await publisher.publish(live.body, {}, live.properties, routing_key=names.queue)
        channel = await open_channel(connection)
        await channel.basic_qos(prefetch_count=1)
        tags: asyncio.Queue[int | None] = asyncio.Queue()

        async def receive(message: Any) -> None:
            tags.put_nowait(message.delivery_tag)

        await channel.basic_consume(names.queue, receive)
        control, notes = Control(), []
        control.tell = lambda tally: notes.append((tally.done, tally.note))
        running = asyncio.create_task(replay(desk, Filter(), tmp_path, control))
        await eventually(lambda: len(notes) >= 2, what="it says that it waits")
        assert all(done == 0 and "live orders go first" in (note or "") for done, note in notes)
        while not running.done():
            await _acknowledge(channel.basic_ack, tags)
        assert (await running).done == 3


async def _acknowledge(ack: Callable[[int], Any], tags: "asyncio.Queue[int | None]") -> None:
    """Let the slow consumer settle one order, if it has one."""
    try:
        async with asyncio.timeout(0.05):
            tag = await tags.get()
    except TimeoutError:
        return
    await ack(tag or 0)


async def test_without_a_record_nothing_leaves(broker: PrivateBroker, names: Names) -> None:
    """When the audit cannot be written, the letter stays where it is."""
    async with a_desk(broker.url, names) as desk:
        await bury(desk, *letters(3))
        planned = await plan(desk, Filter())
        with audit_to("/dev/full", "replay") as audit, pytest.raises(AuditError):
            await Replay(desk, audit, Pace(desk.queue)).run(planned, Control())
        assert sorted(await ids(desk)) == [f"letter-ORD-{n:03}" for n in range(3)]


async def test_without_a_main_queue_nothing_leaves(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """Letters are not published into nowhere."""
    async with a_desk(broker.url, names) as desk, await connect(broker.url, "deleting") as connection:
        await bury(desk, *letters(3))
        async with short_channel(connection) as channel:
            await channel.queue_delete(names.queue)
        with pytest.raises(NoQueueError):
            await replay(desk, Filter(), tmp_path)
        assert sorted(await ids(desk)) == [f"letter-ORD-{n:03}" for n in range(3)]


async def test_two_replays_at_once_send_each_letter_once(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """Two operators replay everything at the same time: together they send all, and none twice."""
    async with a_desk(broker.url, names) as desk, a_desk(broker.url, names) as other:
        await bury(desk, *letters(200))
        first, second = await plan(desk, Filter()), await plan(other, Filter())
        with audit_to(str(tmp_path / "audit.jsonl"), "replay") as audit:
            done = await asyncio.gather(
                Replay(desk, audit, Pace(desk.queue)).run(first, Control()),
                Replay(other, audit, Pace(other.queue)).run(second, Control()),
            )
        assert sum(tally.done for tally in done) == 200
        async with support.desk(broker.url, names) as shop:
            sent = [each.headers[header.ORDER] for each in await shop.take(names.queue)]
        assert (len(sent), len(set(sent))) == (200, 200)
        assert await ids(desk) == []
