"""The ledger as shops and operators use it: through the program, its commands and a real broker."""

import asyncio
import json
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumer.core.delivery import read_stamp
from consumer.deadletters.audit import operator
from consumer.devbroker import PrivateBroker
from consumer.sandbox import DEFAULT_SHOP, Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.postgres import PrivatePostgres
from tests.support.program import ROOT, Consumer, command, environment


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[str]:
    """URL of an empty database."""
    name = f"ledger_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"CREATE DATABASE {name}")
    yield f"{postgres_url.rpartition('/')[0]}/{name}"
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def told(environ: dict[str, str], *arguments: str, status: int = 0, root: Path = ROOT) -> Any:
    """What a command prints with --json. `root`: where the program lies."""
    code, out, err = await command(environ, *arguments, "--json", root=root)
    assert code == status, err
    return json.loads(out)


async def test_a_thousand_orders_published_twice_are_posted_once(
    broker: PrivateBroker, names: Names, database: str
) -> None:
    """Two consumers on one PostgreSQL, restarted in between: 1,000 at the sandbox, 1,000 duplicates, account closed."""
    events = [order(f"ORD-{index}") for index in range(1000)]
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=database)
        outcomes: Counter[str] = Counter()
        for _ in range(2):
            async with Consumer(environ) as one, Consumer(environ) as two:
                await at_broker.publish(*events)
                await eventually(lambda: len(one.events("settled") + two.events("settled")) >= 1000, timeout=60)
                for consumer in (one, two):
                    consumer.send(signal.SIGTERM)
                    assert await consumer.wait() == 0
                outcomes.update(line["outcome"] for line in one.events("settled") + two.events("settled"))
        assert outcomes == {"delivered": 1000, "duplicate": 1000}
        assert len(sandbox.orders) == 1000
        assert {each.posts for each in sandbox.orders} == {1}
        account = await told(environ, "ledger", "balance")
    assert account["difference"] == 0
    assert (account["received"], account["delivered"], account["duplicate"]) == (2000, 1000, 1000)
    assert account["disagreements"] == {}


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
async def test_orders_published_twice_at_once_are_posted_once(
    kind: str, broker: PrivateBroker, names: Names, database: str, tmp_path: Path
) -> None:
    """Two consumers on one ledger, an API of 100 ms, and both events of 300 orders on the way at the same time."""
    url = database if kind == "postgres" else f"sqlite:///{tmp_path}/ledger.db"
    events = [each for index in range(300) for each in [order(f"ORD-{index}")] * 2]
    async with Sandbox(faults=["delay=100ms"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=url)
        async with Consumer(environ) as one, Consumer(environ) as two:
            await at_broker.publish(*events)
            await eventually(lambda: len(one.events("settled") + two.events("settled")) >= 600, timeout=60)
            for consumer in (one, two):
                consumer.send(signal.SIGTERM)
                assert await consumer.wait() == 0
            ends = [Counter(line["outcome"] for line in each.events("settled")) for each in (one, two)]
        assert all(ends), "one of the two had nothing to do"
        assert ends[0] + ends[1] == {"delivered": 300, "duplicate": 300}
        assert len(sandbox.orders) == 300
        assert {each.posts for each in sandbox.orders} == {1}
        account = await told(environ, "ledger", "balance")
    assert (account["received"], account["difference"], account["disagreements"]) == (600, 0, {})


async def test_postgres_stopped_in_the_middle_delays_nothing_and_is_caught_up_with(
    broker: PrivateBroker, names: Names
) -> None:
    """2,000 orders; the database is gone for half of them: all delivered meanwhile, afterwards it knows them all."""
    with PrivatePostgres() as server:
        async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
            environ = environment(broker.url, names, sandbox, LEDGER_URL=server.url)
            async with InProcess(environ) as consumer:
                await at_broker.publish(*(order(f"ORD-{index}") for index in range(1000)))
                await eventually(lambda: len(consumer.reports) >= 700, timeout=30)
                await asyncio.to_thread(server.stop)
                await at_broker.publish(*(order(f"ORD-{index}") for index in range(1000, 2000)))
                await eventually(lambda: len(consumer.reports) == 2000, timeout=30)
                assert not consumer.app.ledger.condition.ok
                parts = consumer.app._ready()
                assert (parts["ledger"].ok, parts["ledger"].vital) == (False, False)
                await asyncio.to_thread(server.start)
                await eventually(lambda: not consumer.app.ledger.condition.pending, timeout=30)
                slowest = max(report.milliseconds for report in consumer.reports)
            assert len(sandbox.orders) == 2000
            assert slowest < 5000
            account = await told(environ, "ledger", "balance")
        assert (account["received"], account["delivered"], account["difference"]) == (2000, 2000, 0)


async def test_explain_tells_a_whole_life(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """Retried twice, dead, replayed, delivered: just that, in this order."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with Sandbox(faults=["503:order=ORD-1,times=3"]) as sandbox:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=url)
        async with InProcess(environ) as consumer, desk(broker.url, names) as at_broker:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1") == ["retry", "retry", "dead"])
            assert (await told(environ, "explain", "ORD-1"))["state"] == "dead"
            assert await told(environ, "dlq", "replay", "--all", "--yes", "--audit", str(tmp_path / "audit"))
            await eventually(lambda: consumer.outcomes("ORD-1")[-1] == "delivered")
        life = await told(environ, "explain", "ORD-1", "--shop", DEFAULT_SHOP.id)
    assert [(line["event"], line.get("attempt"), line.get("status")) for line in life["timeline"]] == [
        ("received", None, None),
        ("retry", 1, 503),
        ("retry", 2, 503),
        ("dead", 3, 503),
        ("replayed", None, None),
        ("delivered", 1, 200),
    ]
    received, first, second, dead, replayed, delivered = life["timeline"]
    assert received["eventId"] == "evt-ORD-1"
    for failed in (first, second):
        assert (failed["reason"], "503" in failed["detail"]) == ("unavailable", True)
        assert failed["waitSeconds"] in {0.2, 0.4, 0.6}  # one rung, or two
    assert (dead["reason"], replayed["by"]) == ("exhausted", operator())
    assert all(line["ms"] > 0 for line in (first, second, dead, delivered))
    assert [line["at"] for line in life["timeline"]] == sorted(line["at"] for line in life["timeline"])
    assert (life["state"], life["due"]) == ("delivered", None)


async def test_explain_tells_until_when_an_order_waits(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """It lies in a delay queue, where nobody could look: it is said when it is due."""
    async with Sandbox(faults=["503:order=ORD-2"]) as sandbox, desk(broker.url, names) as at_broker:
        more = {"LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db", "CONSUMER_RETRY_DELAYS": "1m"}
        environ = environment(broker.url, names, sandbox, **more)
        async with InProcess(environ) as consumer:
            await at_broker.publish(order("ORD-2"))
            await eventually(lambda: consumer.outcomes("ORD-2") == ["retry"])
            waiting = await told(environ, "explain", "ORD-2")
    assert waiting["state"] == "waiting"
    wait = waiting["timeline"][-1]["waitSeconds"]
    due, asked = read_stamp(waiting["due"]), read_stamp(waiting["timeline"][-1]["at"])
    assert due is not None
    assert asked is not None
    assert due - asked == pytest.approx(wait, abs=0.01)
    assert wait in {60, 120}  # one rung, or two


async def test_an_order_that_was_never_seen(tmp_path: Path, broker: PrivateBroker, names: Names) -> None:
    """Exit status 1, state unknown, and a hint; without a ledger it is said that there is none to ask."""
    environ = environment(broker.url, names, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
    code, _, err = await command(environ, "explain", "ORD-9")
    assert (code, "no ledger yet" in err) == (1, True)
    assert not (tmp_path / "ledger.db").exists()
    code, _, err = await command(environ | {"LEDGER_URL": "none"}, "explain", "ORD-9")
    assert (code, "no ledger to ask" in err) == (1, True)
    async with InProcess(environ):
        pass
    code, out, err = await command(environ, "explain", "ORD-9", "--json")
    assert json.loads(out) == {"orderId": "ORD-9", "shopId": None, "state": "unknown", "due": None, "timeline": []}
    assert (code, "never seen" in err) == (1, True)


async def test_another_content_for_an_order_is_a_conflict(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """Not posted, counted, logged with both hashes, and told by explain."""
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        async with Consumer(environ) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1") == ["delivered"])
            await at_broker.publish(order("ORD-1", orderValue=99), order("ORD-1"))
            await eventually(lambda: len(consumer.outcomes("ORD-1")) == 3)
            conflicts = [line for line in consumer.events("settled") if line.get("conflict")]
        assert len(sandbox.orders) == 1
        assert len(conflicts) == 1
        assert conflicts[0]["outcome"] == "duplicate"
        assert len({conflicts[0]["kept"], conflicts[0]["offered"]}) == 2
        life = await told(environ, "explain", "ORD-1")
    assert Counter(line["event"] for line in life["timeline"]) == Counter(
        ["received", "delivered", "conflict", "duplicate"]
    )
    assert life["state"] == "delivered"


async def test_every_end_is_in_the_account(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """Delivered, duplicate, unattributed, waiting, dead (one without an id), discarded: nothing is left over."""
    faults = ["429:retry-after=60,order=WAIT-*", "400:order=BAD-*"]
    events = [order(f"ORD-{index}") for index in range(20)]
    events += [order("ORD-1"), order("BAD-1"), order("BAD-2"), b"rubbish"]
    events += [order(f"UN-{index}", neuroonClicks={}) for index in range(5)]
    late = [order("WAIT-1"), order("WAIT-2")]  # their answer makes the whole shop wait
    async with Sandbox(faults=faults) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        async with InProcess(environ) as consumer:
            await at_broker.publish(*events)
            await eventually(lambda: len(consumer.reports) == len(events))
            await at_broker.publish(*late)
            await eventually(lambda: len(consumer.reports) == len(events) + len(late))
        await eventually(lambda: at_broker.is_empty(names.queue))
        account = await told(environ, "ledger", "balance")
    places = {name: account[name] for name in ("received", "delivered", "duplicate", "unattributed", "waiting", "dead")}
    assert places == {"received": 31, "delivered": 20, "duplicate": 1, "unattributed": 5, "waiting": 2, "dead": 3}
    assert (account["difference"], account["disagreements"]) == (0, {})
    assert sum(each["received"] for each in account["days"]) == 31


async def test_a_message_that_vanishes_from_a_queue_is_a_difference(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """Somebody purges the dead letters: the account says so."""
    async with Sandbox(faults=["400"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        async with InProcess(environ) as consumer:
            await at_broker.publish(order("ORD-1"), order("ORD-2"))
            await eventually(lambda: len(consumer.reports) == 2)
        await at_broker.take_dead()
        account = await told(environ, "ledger", "balance", status=1)
    assert (account["received"], account["dead"], account["difference"]) == (2, 0, 2)
    assert account["disagreements"] == {"deadByLedger": 2, "deadInQueue": 0}


async def test_a_kill_in_the_middle_leaves_the_account_closed(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """kill -9 among 1,500 orders, some of which are retried: what is delivered again is not counted again."""
    async with Sandbox(faults=["503:share=0.1,times=1"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        async with Consumer(environ) as consumer:
            await at_broker.publish(*(order(f"ORD-{index}") for index in range(1500)))
            await eventually(lambda: len(sandbox.orders) > 400, timeout=60)
            consumer.send(signal.SIGKILL)
            await consumer.wait()
            await consumer.start()
            await eventually(lambda: len(sandbox.orders) == 1500, timeout=60)
            consumer.send(signal.SIGTERM)
            await consumer.wait()
        account = await told(environ, "ledger", "balance")
    assert account["delivered"] == 1500
    assert (account["difference"], account["disagreements"]) == (0, {})
    # A crash between a confirmed publish and its ack leaves a copy too many: received, and a duplicate.
    assert 1500 <= account["received"] <= 1564


async def test_the_account_is_a_metric(
    broker: PrivateBroker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed again and again while the consumer runs, by itself."""
    monkeypatch.setattr("consumer.balance.FIRST_PAUSE", 0.1)
    monkeypatch.setattr("consumer.balance.LEAST_PAUSE", 0.1)
    monkeypatch.setattr("consumer.balance.SHARE", 1.0)
    async with Sandbox(faults=["400:order=BAD-1"]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db")
        async with InProcess(environ) as consumer:
            await at_broker.publish(order("ORD-1"), order("ORD-1"), order("BAD-1"))

            def shown(place: str) -> float | None:
                return consumer.app.telemetry.registry.get_sample_value("neuroon_consumer_balance", {"place": place})

            await eventually(lambda: shown("received") == 3)
            await eventually(lambda: (shown("delivered"), shown("duplicate"), shown("dead")) == (1, 1, 1))
            await eventually(lambda: shown("difference") == 0)
