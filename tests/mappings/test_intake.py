"""From bytes to orders: arrays, what the platform calls the shop, and events that a shop's own function completes."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest
from pydantic import SecretStr

from consumer.adapters import enrichment
from consumer.adapters.enrichment import Enrich, Enrichment, NoEnrichmentError, load_enrichment
from consumer.core.delivery import Delivery, Properties
from consumer.core.exact import exact
from consumer.core.order import Malformed, OrderPaid
from consumer.core.reading import Reading, Several, Unready
from consumer.core.shop import Shop, Shops
from consumer.intake import MOST_ORDERS, Intake
from consumer.mappings import load_reader
from tests.support.events import order
from tests.support.mapped import event_bytes


def shops(*names: str, aliases: tuple[str, ...] = ()) -> Callable[[], Shops]:
    configured = Shops([Shop(name, SecretStr("k"), "http://n.test", aliases=aliases) for name in names])
    return lambda: configured


def intake(mapping: str = "canonical", known: Callable[[], Shops] | None = None) -> Intake:
    return Intake(load_reader(mapping), known or shops("shop_a"))


def reading(found: Reading | Awaitable[Reading]) -> Reading:
    assert not isinstance(found, Awaitable)
    return found


def test_an_array_is_taken_apart_byte_for_byte() -> None:
    """Each element as it stands, spaces, escapes and digits and all; rubbish among them too."""
    elements = [b'{"orderId": 1.10,\t"a":"\\u00e9"}', b"7", b'[{"x": [1, 2]}, null]', b"{}"]
    found = reading(intake()(Delivery(b" [" + b" , ".join(elements) + b"]\n")))
    assert found == Several(tuple(elements))


def test_a_compressed_array_is_taken_apart_too() -> None:
    """Its elements are plain."""
    import gzip

    body = gzip.compress(b"[1,2]")
    found = reading(intake()(Delivery(body, properties=Properties(content_encoding="gzip"))))
    assert found == Several((b"1", b"2"))


def test_an_array_of_one_is_that_one() -> None:
    """Saleor sends every order so: no need to publish it anew."""
    found = reading(intake()(Delivery(b"[" + order("ORD-1") + b"]")))
    assert isinstance(found, OrderPaid)


@pytest.mark.parametrize(
    "body", [b"[]", b"[" + b"0," * MOST_ORDERS + b"0]", b"[[1,2]]"], ids=["none", "many", "nested"]
)
def test_an_array_of_nothing_of_too_many_or_in_another_is_malformed(body: bytes) -> None:
    """The detail names the mapping."""
    found = reading(intake()(Delivery(body)))
    assert isinstance(found, Malformed)
    assert "mapping canonical" in found.detail


def test_a_body_that_is_no_json_is_malformed_and_names_the_mapping() -> None:
    """And the order's id, as far as it could be read."""
    found = reading(intake("shopify")(Delivery(b"order 7 paid")))
    assert isinstance(found, Malformed)
    assert found.detail.startswith("body: not JSON")
    assert found.detail.endswith("; mapping shopify")


@pytest.mark.parametrize(
    ("known", "shop_id"),
    [
        (shops("shop_a"), None),
        (shops("poland"), "poland"),
        (shops("shop_a", aliases=("poland",)), "poland"),
        (shops("shop_a", aliases=("germany",)), "poland"),
        (shops("shop_a", "shop_b"), "poland"),
    ],
    ids=["one shop", "its id", "its alias", "another alias", "two shops"],
)
def test_what_the_platform_calls_the_shop_counts_once_shops_have_names(
    known: Callable[[], Shops], shop_id: str | None
) -> None:
    """One shop without aliases takes all of its platform's orders; otherwise the name has to be known."""
    found = reading(intake("saleor", known)(Delivery(event_bytes("saleor"))))
    assert isinstance(found, OrderPaid)
    assert found.shop_id == shop_id


async def enriched(function: Enrich, timeout: float = 5.0) -> Reading:
    body = json.dumps({"orderId": "ORD-1"}).encode()
    delivery = Delivery(body)
    return await Intake(load_reader("canonical"), shops("shop_a"), Enrichment("ours", function, timeout)).wait_for(
        delivery
    )


async def test_an_event_of_ids_is_completed_before_it_is_mapped() -> None:
    """Floats from a shop's own API are taken as they were written."""

    async def fetch(event: object) -> object:
        assert event == {"orderId": "ORD-1"}
        await asyncio.sleep(0)
        return event | {"orderValue": 0.1, "currency": "EUR", "lines": [{"sku": 7, "quantity": 3, "unitPrice": 0.1}]}

    found = await enriched(fetch)
    assert isinstance(found, OrderPaid)
    assert found.order_value == Decimal("0.1")
    assert found.lines[0].line_total == Decimal("0.3")


async def test_a_function_that_fails_or_hangs_leaves_the_event_for_later() -> None:
    """The reason tells its type and nothing of its text, which may quote the order."""

    async def fail(_: object) -> object:
        raise KeyError("jane@example.com")

    async def hang(_: object) -> object:
        return await asyncio.get_running_loop().create_future()

    assert await enriched(fail) == Unready("enrich ours: KeyError")
    assert await enriched(hang, timeout=0.01) == Unready("enrich ours: no answer within 0.01 s")


async def test_a_shutdown_passes_through() -> None:
    """Being cancelled is no failure of the shop's function."""
    started = asyncio.Event()

    async def hang(_: object) -> object:
        started.set()
        return await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(enriched(hang))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_an_array_is_taken_apart_before_anybody_is_asked() -> None:
    """The shop's function sees one event at a time."""

    async def never(_: object) -> object:
        raise AssertionError

    found = Intake(load_reader("canonical"), shops("a"), Enrichment("ours", never, 1.0))(Delivery(b"[1,2]"))
    assert isinstance(found, Several)


def test_an_entry_point_that_is_not_there_is_told_with_those_that_are() -> None:
    """At the start."""
    with pytest.raises(NoEnrichmentError, match="expected an entry point of the group neuroon_consumer"):
        load_enrichment("nothing", 1.0)


def _no_coroutine(event: object) -> object:
    return event


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (f"{__name__}:_no_coroutine", "expected an async function of one event"),
        ("no_such_module:enrich", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_an_entry_point_that_is_no_async_function_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str, problem: str
) -> None:
    """At the start, not at the first order."""
    from importlib.metadata import EntryPoint, EntryPoints

    found = EntryPoints([EntryPoint("ours", value, enrichment.GROUP)])
    monkeypatch.setattr(enrichment, "entry_points", lambda **_: found)
    with pytest.raises(NoEnrichmentError, match=problem):
        load_enrichment("ours", 1.0)


def test_floats_become_the_decimals_that_were_written() -> None:
    """Deep inside too; all else stays."""
    assert exact({"a": [0.1, {"b": 5e-18}], "c": (1, "x", None, True)}) == {
        "a": [Decimal("0.1"), {"b": Decimal("5E-18")}],
        "c": [1, "x", None, True],
    }
