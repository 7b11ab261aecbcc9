"""Messages that cost much are read one at a time, beside the event loop, and what remains of them is bounded."""

import asyncio
import gzip
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from consumer.adapters.enrichment import Enrichment
from consumer.adapters.ledger.memory import MemoryLedger
from consumer.core.conversion import Conversion
from consumer.core.delivery import Delivery, Properties
from consumer.core.ladder import Ladder, Rung
from consumer.core.order import OrderPaid
from consumer.core.outcome import Delivered, Outcome, Untried
from consumer.core.reading import Reading
from consumer.core.settlement import Ack, Queues, Routes, Split
from consumer.core.shop import Shop, Shops
from consumer.intake import Intake
from consumer.mappings import load_reader
from consumer.pipeline import PIECE_BYTES, Handled, Pipeline, Surroundings
from consumer.workload import LIGHT, ROOM, Workload
from tests.support.eventually import eventually

SHOPS = Shops([Shop("shop_a", SecretStr("sk_a"), "http://neuroon.test")])
LADDER = Ladder((Rung("5s", 5.0),), hold=Rung("1m", 60.0), max_hold=3600.0)
GZIP = Properties(content_encoding="gzip")
HANG = 30.0


def event(order: str = "ORD-1", padding: int = 0, **changes: object) -> bytes:
    content = {
        "orderId": order,
        "orderValue": 10,
        "currency": "EUR",
        "lines": [{"productId": "SKU-1", "quantity": 1, "unitPrice": 10}],
        "neuroonClicks": {"SKU-1": "log_1"},
        "padding": "x" * padding,
    }
    return json.dumps(content | changes).encode()


def light(order: str = "ORD-1", padding: int = 0) -> Delivery:
    return Delivery(event(order, padding), "order.paid")


def heavy(order: str = "ORD-1", products: int = 1) -> Delivery:
    lines = [{"productId": f"SKU-{each}", "quantity": 1, "unitPrice": 10} for each in range(products)]
    clicks = {f"SKU-{each}": "log_1" for each in range(products)}
    return Delivery(event(order, LIGHT, lines=lines, neuroonClicks=clicks), "order.paid")


@dataclass
class Endpoint:
    """Ends each POST as `end` says, once it may."""

    end: Callable[[], Outcome | Untried] = lambda: Delivered(200)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    posting: list[str] = field(default_factory=list)

    async def deliver(self, conversion: Conversion, shop: Shop, attempt: int) -> Outcome | Untried:
        self.posting.append(conversion.order_id)
        await self.may_end.wait()
        return self.end()


class Reader:
    """Reads messages, and notes how. `held`: none is read to its end before it is let go of."""

    def __init__(self) -> None:
        self.read = Intake(load_reader("canonical"), lambda: SHOPS)
        self.threads: list[int] = []
        self.at_once = self.most_at_once = 0
        self.may_end = threading.Event()
        self.may_end.set()

    def __call__(self, delivery: Delivery) -> Reading:
        self.threads.append(threading.get_ident())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.inside(delivery)
        self.at_once -= 1
        found = self.read(delivery)
        assert not isinstance(found, asyncio.Future)
        return found  # type: ignore[return-value]  # nothing is plugged in that would have to be waited for

    def inside(self, _: Delivery) -> None:
        assert self.may_end.wait(HANG)

    @property
    def on_the_loop(self) -> list[bool]:
        return [thread == threading.get_ident() for thread in self.threads]


def pipeline(reader: Callable[[Delivery], Reading], endpoint: Endpoint | None = None) -> Pipeline:
    if endpoint is None:
        endpoint = Endpoint()
        endpoint.may_end.set()
    world = Surroundings(lambda: 1_800_000_000.0, lambda: 0.5, lambda: SHOPS)
    return Pipeline(reader, endpoint, MemoryLedger(), Routes(Queues("q"), LADDER), world)


async def all_of(ours: Pipeline, *deliveries: Delivery) -> list[Handled]:
    return await asyncio.gather(*[asyncio.create_task(ours.handle(each)) for each in deliveries])


async def test_a_light_message_is_read_where_it_is_handled() -> None:
    """No thread, and no turn of the event loop before it is posted, is the price of being small."""
    reader, endpoint = Reader(), Endpoint()
    task = asyncio.create_task(pipeline(reader, endpoint).handle(light()))
    await asyncio.sleep(0)
    assert reader.on_the_loop == [True]
    endpoint.may_end.set()
    assert (await task).settlement == Ack()


async def test_heavy_messages_are_read_one_at_a_time_while_the_event_loop_goes_on() -> None:
    """Each waits, inside its reading, for ten turns of the event loop: on the loop itself it would wait for ever."""
    loop = asyncio.get_running_loop()

    class Turning(Reader):
        def inside(self, _: Delivery) -> None:
            for _turn in range(10):
                turned = threading.Event()
                loop.call_soon_threadsafe(turned.set)
                assert turned.wait(HANG)

    reader = Turning()
    handled = await all_of(pipeline(reader), *[heavy(f"ORD-{each}") for each in range(8)])
    assert [each.settlement for each in handled] == [Ack()] * 8
    assert reader.on_the_loop == [False] * 8
    assert reader.most_at_once == 1


async def test_light_messages_do_not_wait_for_heavy_ones() -> None:
    """While one heavy message is being read and others wait, good orders are posted."""
    reader, loop_thread = Reader(), threading.get_ident()

    class OnlyHeavyOnesHang(Reader):
        def inside(self, delivery: Delivery) -> None:
            if threading.get_ident() != loop_thread:
                super().inside(delivery)

    reader = OnlyHeavyOnesHang()
    reader.may_end.clear()
    ours = pipeline(reader)
    heavies = [asyncio.create_task(ours.handle(heavy(f"HEAVY-{each}"))) for each in range(3)]
    await eventually(lambda: len(reader.threads) == 1)
    handled = await all_of(ours, *[light(f"ORD-{each}") for each in range(100)])
    assert [each.settlement for each in handled] == [Ack()] * 100
    assert not any(task.done() for task in heavies)
    reader.may_end.set()
    await asyncio.gather(*heavies)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
async def test_what_is_read_in_one_turn_of_the_event_loop_is_bounded(packed: bool) -> None:
    """A hundred messages that arrive together are read in the order of their arrival, over many turns."""
    loop, turn, sizes = asyncio.get_running_loop(), 0, dict[int, int]()
    orders: list[str] = []

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        ticking[0] = loop.call_soon(next_turn)

    class Weighing(Reader):
        def __call__(self, delivery: Delivery) -> Reading:
            found = super().__call__(delivery)
            assert isinstance(found, OrderPaid)
            orders.append(found.order_id)
            sizes[turn] = sizes.get(turn, 0) + len(light(found.order_id, LIGHT // 5).body)
            return found

    ticking = [loop.call_soon(next_turn)]
    plain = [light(f"ORD-{each:03}", LIGHT // 5) for each in range(100)]
    deliveries = [Delivery(gzip.compress(each.body), properties=GZIP) for each in plain] if packed else plain
    reader = Weighing()
    await all_of(pipeline(reader), *deliveries)
    ticking[0].cancel()
    assert max(sizes.values()) <= LIGHT
    assert orders == sorted(orders)
    assert all(reader.on_the_loop)


async def test_few_bytes_that_unpack_to_many_are_heavy() -> None:
    """A compressed message counts with what it unpacks to; bytes that do not unpack are left to the thread as well."""
    reader = Reader()
    bomb = Delivery(gzip.compress(b" " * (LIGHT + 1)), properties=GZIP)
    await all_of(pipeline(reader), bomb, Delivery(b"no gzip", properties=GZIP))
    assert reader.on_the_loop == [False, False]


def payload_of(products: int) -> int:
    """Bytes that are posted for a heavy order of so many products."""
    order = Intake(load_reader("canonical"), lambda: SHOPS)(heavy("ORD-1", products))
    assert isinstance(order, OrderPaid)
    from consumer.core.conversion import attribute

    found = attribute(order)
    assert isinstance(found, Conversion)
    return len(found.payload)


def broken() -> Outcome:
    raise RuntimeError


@pytest.mark.parametrize("end", [lambda: Delivered(200), Untried, broken], ids=["delivered", "untried", "error"])
async def test_what_is_posted_counts_until_its_message_is_settled(end: Callable[[], Outcome | Untried]) -> None:
    """However the POST ends."""
    endpoint = Endpoint(end)
    ours = pipeline(Reader(), endpoint)
    task = asyncio.create_task(ours.handle(heavy("ORD-1", 100)))
    await eventually(lambda: endpoint.posting)
    assert ours.workload.kept == payload_of(100)
    endpoint.may_end.set()
    await task
    await eventually(lambda: ours.workload.kept == 0)


async def test_who_is_cancelled_gives_back_what_was_counted() -> None:
    """In its POST, while it waits for room, and while it is being read: the next one is read and posted."""
    reader, endpoint = Reader(), Endpoint()
    ours = pipeline(reader, endpoint)
    posting = asyncio.create_task(ours.handle(heavy("ORD-1")))
    await eventually(lambda: endpoint.posting)
    kept = ours.workload.kept
    full = asyncio.create_task(ours.workload.keep(ROOM - kept))
    await full
    await eventually(lambda: ours.workload.kept == kept)
    reader.may_end.clear()
    reading = asyncio.create_task(ours.handle(heavy("ORD-2")))
    await eventually(lambda: reader.at_once == 1)
    for task in (posting, reading):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ours.workload.kept == 0
    assert not ours.workload.heavy.locked()
    reader.may_end.set()
    endpoint.may_end.set()
    assert (await ours.handle(heavy("ORD-3"))).settlement == Ack()


async def test_no_heavy_message_is_read_while_too_much_is_kept() -> None:
    """It waits with what it has read, and those behind it with their raw bodies; one that is settled makes room."""
    reader, endpoint = Reader(), Endpoint()
    ours = pipeline(reader, endpoint)
    may_go = asyncio.Event()

    async def keep() -> None:
        await ours.workload.keep(ROOM)
        await may_go.wait()

    keeping = asyncio.create_task(keep())
    await eventually(lambda: ours.workload.kept == ROOM)
    waiting = [asyncio.create_task(ours.handle(heavy(f"ORD-{each}"))) for each in range(3)]
    await eventually(lambda: len(reader.threads) == 1 and not reader.at_once)
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    await eventually(lambda: len(reader.threads) == 2 and not reader.at_once)
    assert (endpoint.posting, len(reader.threads)) == ([], 2)
    may_go.set()
    await keeping
    await eventually(lambda: endpoint.posting == ["ORD-1", "ORD-2"])
    endpoint.may_end.set()
    await asyncio.gather(*waiting[1:])


async def test_what_is_larger_than_all_room_is_kept_alone() -> None:
    """It waits until nothing is kept, and does not wait for ever."""
    workload, may_go = Workload(), asyncio.Event()

    async def keep(size: int) -> None:
        await workload.keep(size)
        await may_go.wait()

    first = asyncio.create_task(keep(1))
    await eventually(lambda: workload.kept == 1)
    second = asyncio.create_task(keep(2 * ROOM))
    await asyncio.sleep(0)
    assert workload.kept == 1
    may_go.set()
    await asyncio.gather(first, second)
    await eventually(lambda: workload.kept == 0)


async def test_the_orders_of_an_array_count_until_they_are_published() -> None:
    """That is until the task ends which handles the message; however small the array is, others wait for their turn."""
    ours = pipeline(Reader())
    may_end = asyncio.Event()

    async def handle_and_publish() -> None:
        handled = await ours.handle(Delivery(b"[1,22,333]"))
        assert isinstance(handled.settlement, Split)
        await may_end.wait()

    publishing = asyncio.create_task(handle_and_publish())
    await eventually(lambda: ours.workload.kept)
    assert ours.workload.kept == 6 + 3 * PIECE_BYTES
    may_end.set()
    await publishing
    await eventually(lambda: ours.workload.kept == 0)


async def test_a_large_payload_from_few_bytes_counts() -> None:
    """A search id of 500 escapes on 300 lines of one product: 13 kB become a megabyte."""
    line = {"sku": "SKU-1", "quantity": 1, "unitPrice": 1}
    body = event(lines=[line] * 300, neuroonClicks={"SKU-1": "\x01" * 500})
    assert len(body) < LIGHT
    endpoint = Endpoint()
    ours = pipeline(Reader(), endpoint)
    task = asyncio.create_task(ours.handle(Delivery(body)))
    await eventually(lambda: endpoint.posting)
    assert ours.workload.kept > 900_000
    endpoint.may_end.set()
    await task


async def test_a_heavy_event_that_a_function_completes_is_mapped_beside_the_event_loop() -> None:
    """The function itself is called on the event loop, where its connections live."""
    threads: dict[str, bool] = {}

    class Noting:
        name, about, hints_at_shop = "canonical", "", False

        def read(self, document: object, delivery: Delivery) -> OrderPaid:
            threads["mapped"] = threading.get_ident() == here
            found = load_reader("canonical").read(document, delivery)
            assert isinstance(found, OrderPaid)
            return found

    async def complete(document: object) -> object:
        threads["completed"] = threading.get_ident() == here
        return document

    here = threading.get_ident()
    intake = Intake(Noting(), lambda: SHOPS, Enrichment("ours", complete, HANG))
    endpoint = Endpoint()
    endpoint.may_end.set()
    world = Surroundings(lambda: 1_800_000_000.0, lambda: 0.5, lambda: SHOPS)
    ours = Pipeline(intake, endpoint, MemoryLedger(), Routes(Queues("q"), LADDER), world)
    assert (await ours.handle(heavy())).settlement == Ack()
    assert threads == {"completed": True, "mapped": False}
    assert (await ours.handle(light("ORD-2"))).settlement == Ack()
    assert threads == {"completed": True, "mapped": True}
