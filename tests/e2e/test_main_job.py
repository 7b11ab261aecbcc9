"""From events to conversions, through a real broker, with the program as its users run it."""

import asyncio
import gzip
import json
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from consumer.core import delivery as header
from consumer.core.delivery import Properties
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox, SandboxShop
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.events import order, payload
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.program import Consumer, environment

TWO_SHOPS = """
[[shops]]
id = "shop_a"
api_key = "sk_a"
[[shops]]
id = "shop_b"
api_key = "sk_b"
aliases = ["b.example"]
"""


async def test_two_thousand_events_of_two_shops_end_where_they_belong(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """10 % duplicates, 5 % unattributed, 1 % broken: the good arrive once with the right bytes, the broken are dead."""
    (tmp_path / "shops.toml").write_text(TWO_SHOPS)
    good = [f"ORD-{index}" for index in range(1680)]
    events = [order(name, shopId="shop_a" if index % 2 else "b.example") for index, name in enumerate(good)]
    events += random.Random(1).sample(events, 200)
    events += [order(f"UN-{index}", shopId="shop_a", neuroonClicks={}) for index in range(100)]
    events += [order(f"BAD-{index}", shopId="shop_b", currency="EURO") for index in range(20)]
    random.Random(2).shuffle(events)
    shops = [SandboxShop("shop_a", "sk_a"), SandboxShop("shop_b", "sk_b")]
    async with Sandbox(shops) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, NEUROON_SHOPS_FILE=str(tmp_path / "shops.toml"))
        del environ["NEUROON_SHOP_ID"], environ["NEUROON_API_KEY"]
        async with Consumer(environ) as consumer:
            await at_broker.publish(*events)
            await eventually(lambda: len(consumer.events("settled")) == len(events), timeout=60)
            consumer.send(signal.SIGTERM)
            assert await consumer.wait() == 0
        outcomes = Counter(line["outcome"] for line in consumer.events("settled"))
        assert outcomes == {"delivered": 1680, "duplicate": 200, "unattributed": 100, "dead": 20}
        assert sorted(each.order_id for each in sandbox.orders) == sorted(good)
        assert {each.posts for each in sandbox.orders} == {1}
        assert all(each.body == payload(each.order_id).encode() for each in sandbox.orders)
        letters = await at_broker.take_dead()
        assert len(letters) == 20
        assert {letter.headers[header.REASON] for letter in letters} == {"malformed"}
        assert all(str(letter.headers[header.DETAIL]).startswith("currency:") for letter in letters)


@pytest.mark.parametrize(
    ("fault", "ends", "dead_reason"),
    [
        ("201:times=1", ["delivered"], None),
        ("204:times=1", ["delivered"], None),
        ("400:times=9", ["dead"], "refused"),
        ("409:times=9", ["dead"], "refused"),
        ("413:times=9", ["dead"], "refused"),
        ("415:times=9", ["dead"], "refused"),
        ("422:times=9", ["dead"], "refused"),
        ("401:times=2", ["retry", "retry", "delivered"], None),
        ("403:times=2", ["retry", "retry", "delivered"], None),
        ("404:times=2", ["retry", "retry", "delivered"], None),
        ("302:times=2", ["retry", "retry", "delivered"], None),
        ("408:times=1", ["retry", "delivered"], None),
        ("425:times=1", ["retry", "delivered"], None),
        ("429:times=5", ["retry", "retry", "retry", "retry", "retry", "delivered"], None),
        ("500:times=1", ["retry", "delivered"], None),
        ("503:times=9", ["retry", "retry", "dead"], "exhausted"),
        ("drop:times=1", ["retry", "delivered"], None),
        ("drop-after:times=1", ["retry", "delivered"], None),
        ("not-http:times=1", ["retry", "delivered"], None),
        ("garbage:times=1", ["delivered"], None),
        ("delay=3s:times=1", ["retry", "delivered"], None),
    ],
)
async def test_each_answer_ends_where_the_table_says(
    broker: PrivateBroker, names: Names, fault: str, ends: list[str], dead_reason: str | None
) -> None:
    """Tried with an order of its own at the sandbox; what was recorded is what the table expects."""
    async with Sandbox(faults=[fault]) as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, CONSUMER_HOLD_DELAY="100ms", CONSUMER_REQUEST_TIMEOUT="1s")
        async with InProcess(environ) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1") == ends, timeout=20)
        letters = await at_broker.take_dead()
    assert [letter.headers[header.REASON] for letter in letters] == ([dead_reason] if dead_reason else [])
    assert [each.order_id for each in sandbox.orders] == ([] if dead_reason else ["ORD-1"])


async def test_retry_after_is_a_floor_and_costs_no_try(broker: PrivateBroker, names: Names) -> None:
    """429 with Retry-After 3: not asked again within 3 s, and the next try has the same number."""
    async with Sandbox(faults=["429:retry-after=3,times=1"]) as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1") == ["retry", "delivered"], timeout=15)
        first, second = sandbox.book.requests
        assert second.at - first.at >= 3
        assert [report.journey.attempt for report in consumer.reports] == [1, 1]


async def test_kill_in_the_middle_loses_nothing(broker: PrivateBroker, names: Names) -> None:
    """kill -9 among 5,000 orders, and a start: all arrive, and at most as many twice as were in flight."""
    count, concurrency = 5000, 64
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, CONSUMER_CONCURRENCY=str(concurrency))
        async with Consumer(environ) as consumer:
            # A consumer may be as fast as the publisher, and would be through when that is.
            publishing = asyncio.create_task(at_broker.publish(*(order(f"ORD-{index}") for index in range(count))))
            await eventually(lambda: len(sandbox.orders) > count // 4, timeout=60)
            consumer.send(signal.SIGKILL)
            await consumer.wait()
            assert len(sandbox.orders) < count, "killed too late to show anything"
            await publishing
            await consumer.start()
            await eventually(lambda: len(sandbox.orders) == count, timeout=90)
            await eventually(lambda: at_broker.is_empty(names.queue), timeout=20)
        assert sum(each.posts - 1 for each in sandbox.orders) <= concurrency
        assert await at_broker.dead() == 0


GARBAGE: dict[str, tuple[bytes, str | None]] = {
    "empty": (b"", None),
    "not JSON": (b"order 7 is paid", None),
    "not UTF-8": (b"\xff\xfe{}", None),
    "2 MiB": (b'{"a":"' + b"x" * 2_097_152 + b'"}', None),
    "nested 10,000 deep": (b"[" * 10_000 + b"]" * 10_000, None),
    "NaN": (order("ORD-NAN").replace(b"24.99", b"NaN"), None),
    "a huge number": (order("ORD-HUGE").replace(b"24.99", b"1e999999999"), None),
    "a huge integer": (order("ORD-INT").replace(b"24.99", b"9" * 5000), None),
    "a gzip bomb": (gzip.compress(b"0" * 200_000_000), "gzip"),
    "a broken gzip": (gzip.compress(order("ORD-GZ"))[:-9], "gzip"),
    "an unknown compression": (b"xx", "br"),
    "a list": (b"[]", None),
    "a null": (b"null", None),
}


async def test_garbage_is_dead_within_a_second_and_the_process_calm(broker: PrivateBroker, names: Names) -> None:
    """Every kind of rubbish rests in the dead letters, byte for byte, and the next good order is delivered."""
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        async with Consumer(environment(broker.url, names, sandbox)) as consumer:
            for name, (body, encoding) in GARBAGE.items():
                published = time.monotonic()
                await at_broker.publish(body, properties=Properties(content_encoding=encoding))
                await eventually(at_broker.dead, what=f"{name} is dead")
                assert time.monotonic() - published < 5, name
                (letter,) = await at_broker.take_dead()
                assert letter.body == body, name
                assert letter.headers[header.REASON] == "malformed", name
                assert letter.properties.content_encoding == encoding
            await at_broker.publish(order("ORD-GOOD"))
            await eventually(lambda: consumer.outcomes("ORD-GOOD") == ["delivered"])
        assert not consumer.events("bug")


async def test_nothing_of_an_order_and_no_key_is_logged(broker: PrivateBroker, names: Names) -> None:
    """Log lines carry ids, numbers and words of ours: not the key, the products, the amounts or a customer's name."""
    secret = order("ORD-1", email="jane@example.com", currency="EURO")
    async with Sandbox(faults=["400:order=ORD-2,body=garbage"]) as sandbox, desk(broker.url, names) as at_broker:
        async with Consumer(environment(broker.url, names, sandbox)) as consumer:
            await at_broker.publish(secret, order("ORD-2"), order("ORD-3"))
            await eventually(lambda: len(consumer.events("settled")) == 3)
            letters = await at_broker.take_dead()
    told = consumer.text + json.dumps([letter.headers for letter in letters], default=str)
    for private in ("jane", "5a5a", "SKU-1", "24.99", "log_1", "guest:guest"):
        assert private not in told
