"""Traces as their users have them: the program as processes, and a collector that its spans arrive at."""

import signal
from pathlib import Path

import pytest

from consumer.devbroker import PrivateBroker
from consumer.devbroker.ports import free_ports
from consumer.sandbox import DEFAULT_SHOP, Sandbox
from tests.conftest import Names
from tests.support.broker import desk
from tests.support.collector import ReceivingCollector
from tests.support.events import order
from tests.support.eventually import eventually
from tests.support.neuroon import RawServer
from tests.support.program import Consumer, command, environment

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_one_trace_leads_from_publish_through_a_retry_to_delivery(broker: PrivateBroker, names: Names) -> None:
    """Both tries are children of the publish, which continues TRACEPARENT, each POST of its try; nothing is an error.

    The spans arrive although the consumer is stopped long before they would be sent by themselves.
    """
    async with Sandbox(faults=["503:times=1"]) as sandbox, ReceivingCollector() as collector:
        environ = environment(broker.url, names, sandbox, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        async with Consumer(environ) as consumer:
            status, out, _ = await command(environ | {"TRACEPARENT": GIVEN}, "publish", "--json", stdin=order("ORD-1"))
            assert (status, out) == (0, '{"published":1,"failed":0}\n')
            await eventually(lambda: consumer.outcomes("ORD-1") == ["retry", "delivered"])
            consumer.send(signal.SIGTERM)
            assert await consumer.wait() == 0
    # By order: a wait of several hops has deliveries of its own, which read no order.
    [publish], tries, posts = collector.named("publish"), collector.named("process", "ORD-1"), collector.named("POST")
    assert (publish.trace, publish.parent) == (GIVEN.split("-")[1], GIVEN.split("-")[2])
    assert {each.trace for each in collector.spans} == {publish.trace}
    assert [each.parent for each in tries] == [publish.id] * 2
    assert [each.parent for each in posts] == [each.id for each in tries]
    assert [each.kind for each in (publish, tries[0], posts[0])] == ["PRODUCER", "CONSUMER", "CLIENT"]
    assert [each.attributes["neuroon.outcome"] for each in tries] == ["retry", "delivered"]
    assert [each.attributes["neuroon.attempt"] for each in tries] == [1, 2]
    assert [each.attributes["http.response.status_code"] for each in posts] == [503, 200]
    assert not any(each.failed for each in collector.spans)
    assert {each.service for each in collector.spans} == {"neuroon-consumer"}


async def test_what_a_span_of_a_delivery_says(broker: PrivateBroker, names: Names) -> None:
    """System, operation, destination and broker by the conventions of messaging; of the order nothing but ids."""
    async with Sandbox() as sandbox, ReceivingCollector() as collector:
        environ = environment(broker.url, names, sandbox, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        async with Consumer(environ) as consumer, desk(broker.url, names) as at_broker:
            await at_broker.publish(order("ORD-1"), headers={"traceparent": GIVEN, "baggage": "customer=jane"})
            await eventually(lambda: consumer.outcomes("ORD-1") == ["delivered"])
            consumer.send(signal.SIGTERM)
            assert await consumer.wait() == 0
    [span] = collector.named("process")
    told = dict(span.attributes)
    assert told.pop("messaging.message.id")
    assert told == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": f"{names.exchange}:order.paid:{names.queue}",
        "messaging.rabbitmq.destination.routing_key": "order.paid",
        "server.address": "127.0.0.1",
        "server.port": broker.port,
        "neuroon.shop": DEFAULT_SHOP.id,
        "neuroon.order": "ORD-1",
        "neuroon.outcome": "delivered",
        "neuroon.attempt": 1,
        "neuroon.settlement": "ack",
        "http.response.status_code": 200,
    }
    for secret in (DEFAULT_SHOP.api_key, "guest", "SKU-", "log_", "24.99", "jane"):
        assert secret.encode() not in collector.raw


async def test_a_replay_begins_a_trace_that_links_to_the_one_that_died(
    broker: PrivateBroker, names: Names, tmp_path: Path
) -> None:
    """The dead try alone is an error. The replay is a trace of its own, which its delivery belongs to."""
    async with Sandbox(faults=["400:times=1"]) as sandbox, ReceivingCollector() as collector:
        environ = environment(broker.url, names, sandbox, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        async with Consumer(environ) as consumer, desk(broker.url, names) as at_broker:
            await at_broker.publish(order("ORD-1"), headers={"traceparent": GIVEN, "tracestate": "their=own"})
            await eventually(at_broker.dead, what="a dead letter")
            status, _, _ = await command(environ, "dlq", "replay", "--all", "--yes", "--audit", str(tmp_path / "audit"))
            assert status == 0
            await eventually(lambda: consumer.outcomes("ORD-1") == ["dead", "delivered"])
            consumer.send(signal.SIGTERM)
            assert await consumer.wait() == 0
    [replay], [died, delivered] = collector.named("replay"), collector.named("process", "ORD-1")
    assert died.trace == GIVEN.split("-")[1]
    assert (replay.kind, replay.parent, replay.links) == ("PRODUCER", "", (died.trace,))
    assert (delivered.trace, delivered.parent) == (replay.trace, replay.id)
    assert replay.trace != died.trace
    assert delivered.attributes["neuroon.replays"] == replay.attributes["neuroon.replays"] == 1
    assert [each.id for each in collector.spans if each.failed] == [died.id]
    assert died.attributes["error.type"] == "refused"


async def test_a_publish_that_no_queue_takes_is_an_error(broker: PrivateBroker, names: Names) -> None:
    """The event is nowhere, so this is its end; the span says so and the exit status, too."""
    async with ReceivingCollector() as collector:
        environ = environment(broker.url, names, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        status, _, _ = await command(environ, "publish", stdin=order("ORD-1"))
    assert status == 1
    [publish] = collector.spans
    assert publish.failed
    assert publish.attributes["error.type"] == "PublishFailedError"


async def test_an_unreachable_collector_costs_spans_and_two_lines(broker: PrivateBroker, names: Names) -> None:
    """Orders go on; the log says once that traces are lost, and once that they arrive again."""
    [port] = free_ports(1)
    quick = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker:
        endpoint = f"http://127.0.0.1:{port}"
        environ = environment(broker.url, names, sandbox, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **quick)
        async with Consumer(environ) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: len(consumer.events("traces cannot be exported, orders go on")) == 1)
            await at_broker.publish(*(order(f"ORD-{n}") for n in range(2, 100)))
            await eventually(lambda: len(consumer.events("settled")) == 99)
            async with ReceivingCollector(port) as collector:

                async def exported_again() -> bool:
                    await at_broker.publish(order("ORD-1"))  # without anything new, nothing is sent
                    return bool(consumer.events("traces are exported again"))

                await eventually(exported_again)
                assert collector.spans
                consumer.send(signal.SIGTERM)
                assert await consumer.wait() == 0
    assert {line["outcome"] for line in consumer.events("settled")} <= {"delivered", "duplicate"}
    assert len(consumer.events("traces cannot be exported, orders go on")) == 1
    [again] = consumer.events("traces are exported again")
    assert again["lost_spans"] >= 2
    assert not consumer.events("library")


async def test_a_collector_that_never_answers_does_not_hold_up_the_end(broker: PrivateBroker, names: Names) -> None:
    """The last spans get a few seconds of the grace and not the minute that the SDK would wait; then they are lost."""
    async with Sandbox() as sandbox, desk(broker.url, names) as at_broker, RawServer(None) as deaf:
        more = {"OTEL_EXPORTER_OTLP_ENDPOINT": deaf.url, "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
        environ = environment(broker.url, names, sandbox, **more)
        async with Consumer(environ) as consumer:
            await at_broker.publish(order("ORD-1"))
            await eventually(lambda: consumer.outcomes("ORD-1") == ["delivered"])
            consumer.send(signal.SIGTERM)
            assert await consumer.wait(timeout=20) == 0
        assert len(consumer.events("the last traces did not reach the collector in time")) == 1


COMMANDS = (["run"], ["publish"], ["dlq", "replay", "--all", "--yes"], ["check"])


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda each: each[-1] if len(each) == 1 else each[1])
async def test_without_the_extra_it_is_said_how_to_get_it(arguments: list[str], names: Names, tmp_path: Path) -> None:
    """Traces that are asked for and cannot be had are wrong settings: one line, exit status 2, nothing opened."""
    (tmp_path / "opentelemetry.py").write_text("raise ModuleNotFoundError('hidden', name='opentelemetry')")
    environ = environment("amqp://127.0.0.1:9/", names, OTEL_TRACES_EXPORTER="otlp", PYTHONPATH=str(tmp_path))
    status, out, err = await command(environ, *arguments, stdin=order("ORD-1"))
    assert status == 2
    [line] = [line for line in (out + err).splitlines() if "OTEL" in line]
    assert "opentelemetry is missing: pip install 'neuroon-consumer[otel]'" in line
    assert "broker" not in out + err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER='zipkin': no installed package offers it; here are the exporters otlp, console",
        ),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL='grpc': no installed package offers it"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "OTEL_BSP_*: max_queue_size must be a positive integer"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
async def test_an_exporter_that_cannot_be_had_is_a_wrong_setting(
    given: dict[str, str], told: str, names: Names
) -> None:
    """The line names the variable, and the program ends before anything is opened."""
    environ = environment("amqp://127.0.0.1:9/", names, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9") | given
    status, _, err = await command(environ, "run")
    assert status == 2
    assert told in err
