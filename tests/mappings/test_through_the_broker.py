"""Foreign events on their whole way: published to RabbitMQ, mapped by the consumer, received by Neuroon."""

import json
from pathlib import Path

from consumer.core import delivery as header
from consumer.devbroker import PrivateBroker
from consumer.sandbox import Sandbox
from tests.conftest import Names
from tests.mappings.test_own import MARKETPLACE, MARKETPLACE_EVENT
from tests.support.broker import desk
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.inprocess import InProcess
from tests.support.mapped import event_bytes
from tests.support.program import Consumer, command, environment


async def test_a_newcomer_connects_a_platform_with_a_file(broker: PrivateBroker, names: Names, tmp_path: Path) -> None:
    """Write eleven lines, look with `convert`, publish with `publish`, and the conversion is at Neuroon."""
    (tmp_path / "market.toml").write_text(MARKETPLACE)
    (tmp_path / "event.json").write_text(json.dumps(MARKETPLACE_EVENT))
    async with Sandbox() as sandbox:
        environ = environment(broker.url, names, sandbox, CONSUMER_MAPPING=str(tmp_path / "market.toml"))
        status, out, _ = await command(environ, "convert", str(tmp_path / "event.json"), "--json")
        assert status == 0
        shown = out.partition('"payload":')[2].rstrip()[:-1]
        async with Consumer(environ) as consumer:
            assert (await command(environ, "publish", str(tmp_path / "event.json")))[0] == 0
            await eventually(lambda: consumer.outcomes("000000077") == ["delivered"])
    (received,) = sandbox.orders
    assert received.body == shown.encode()


async def test_an_array_is_several_orders_and_a_bad_one_troubles_none(broker: PrivateBroker, names: Names) -> None:
    """The good are delivered once, the bad one is dead alone, byte for byte, and the array itself is gone."""
    bad = b'{"orderId": "BAD", "orderValue":\t1.0}'
    body = b"[" + b",".join([order("A-1"), bad, order("A-2"), order("A-3")]) + b"]"
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        async with InProcess(environment(broker.url, names, sandbox)) as consumer:
            await at_broker.publish(body, headers={"traceparent": "00-1"})
            await eventually(lambda: len(consumer.reports) == 4)
            await eventually(at_broker.dead)
        (letter,) = await at_broker.take_dead()
        assert letter.body == bad
        assert letter.headers[header.REASON] == "malformed"
        assert letter.headers[header.EXCHANGE] == names.exchange
        assert letter.headers["traceparent"] == "00-1"
        assert await at_broker.is_empty(names.queue)
    assert {each.order_id: each.posts for each in sandbox.orders} == {"A-1": 1, "A-2": 1, "A-3": 1}


async def test_ignored_events_and_refunds_end_with_their_own_words(broker: PrivateBroker, names: Names) -> None:
    """Ignored: acknowledged, unattributed with the reason in log and metric. A refund by its type: dead, `refund`."""
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        environ = environment(broker.url, names, sandbox, CONSUMER_MAPPING="shopify")
        async with Consumer(environ) as consumer:
            await at_broker.publish(event_bytes("shopify"), headers={"X-Shopify-Topic": "orders/create"})
            await at_broker.publish(event_bytes("shopify-refund"), headers={"X-Shopify-Topic": "refunds/create"})
            await at_broker.publish(event_bytes("shopify"), headers={"X-Shopify-Topic": "orders/paid"})
            await eventually(lambda: len(consumer.events("settled")) == 3)
            lines = {(line["outcome"], line.get("reason")): line for line in consumer.events("settled")}
            await eventually(at_broker.dead)
        (letter,) = await at_broker.take_dead()
    assert set(lines) == {("unattributed", "ignored"), ("dead", "refund"), ("delivered", None)}
    assert "orders/create" in lines["unattributed", "ignored"]["detail"]
    assert letter.headers[header.DETAIL] == 'event type "refunds/create" is a refund; mapping shopify'
    assert [each.order_id for each in sandbox.orders] == ["450789469123456789"]


async def test_a_mapping_that_cannot_be_used_ends_the_program_before_it_begins(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """Exit 2, with file, line and what was expected; nothing has been declared."""
    (tmp_path / "own.toml").write_text(MARKETPLACE.replace('"items"', '"items["'))
    environ = environment(broker.url, names, CONSUMER_MAPPING=str(tmp_path / "own.toml"))
    status, _, told = await command(environ, "run")
    assert status == 2
    assert 'own.toml:6: [order] lines: "items[": expected a JMESPath expression' in told
    status, _, told = await command({**environ, "CONSUMER_MAPPING": "shopify", "CONSUMER_ENRICH": "nothing"}, "run")
    assert status == 2
    assert "CONSUMER_ENRICH='nothing': expected an entry point of the group neuroon_consumer.enrich" in told
