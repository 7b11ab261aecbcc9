"""An order of too many lines or clicks is malformed, whatever the mapping, before any line is looked at."""

import json

import pytest

from bench.harness.worst import PLATFORMS, Platform
from consumer.app import open_intake
from consumer.core.body import decode
from consumer.core.delivery import Delivery
from consumer.core.order import Malformed, OrderPaid
from consumer.core.shop import Shops
from consumer.mappings import builtin_names, load_reader
from consumer.mappings.mapping import Result
from consumer.outbox import read_row
from consumer.settings import SettingsError, read_settings

MOST = 3
WITH_OWN_CLICKS = sorted(name for name, platform in PLATFORMS.items() if "CLICKS" in platform.own)


def clicks(number: int) -> str:
    return json.dumps({f"p{each}": f"log_{each}" for each in range(number)})


def lines(platform: Platform, number: int, own: str = "") -> str:
    return ",".join(platform.one_line(each, own) for each in range(number))


def read(name: str, body: bytes, most: int = MOST) -> Result:
    return load_reader(name, most).read(decode(body), Delivery(body))


def malformed(found: object) -> str:
    assert isinstance(found, Malformed), found
    return found.detail


@pytest.mark.parametrize("name", builtin_names())
def test_as_many_lines_and_clicks_as_allowed_are_an_order(name: str) -> None:
    """The limit itself is let through, and all lines are attributed."""
    platform = PLATFORMS[name]
    found = read(name, platform.event(lines(platform, MOST), clicks(MOST)))
    assert isinstance(found, OrderPaid), found
    assert [line.product_id for line in found.lines] == ["p0", "p1", "p2"]
    assert found.clicks == {"p0": "log_0", "p1": "log_1", "p2": "log_2"}


@pytest.mark.parametrize("name", builtin_names())
def test_one_line_more_is_malformed_before_any_line_is_read(name: str) -> None:
    """The detail has both numbers, the setting and the place; that no line is an object is not even noticed."""
    detail = malformed(read(name, PLATFORMS[name].event(",".join(["0"] * (MOST + 1)))))
    assert detail.startswith("lines: 4; at most 3 are taken, see CONSUMER_MAX_LINES; ")
    assert f"mapping {name} looked at " in detail


@pytest.mark.parametrize("wrapped", [False, True], ids=["object", "text"])
@pytest.mark.parametrize("name", builtin_names())
def test_one_click_more_is_malformed(name: str, wrapped: bool) -> None:
    """In whatever form the clicks come."""
    platform = PLATFORMS[name]
    value = json.dumps(clicks(MOST + 1)) if wrapped else clicks(MOST + 1)
    detail = malformed(read(name, platform.event(lines(platform, 1), value)))
    assert detail.startswith("neuroonClicks: 4; at most 3 are taken, see CONSUMER_MAX_LINES; ")


@pytest.mark.parametrize("name", WITH_OWN_CLICKS)
def test_one_click_more_in_a_line_of_its_own_is_malformed(name: str) -> None:
    """The detail names the line as the event numbers it; at the limit the line is attributed by its own clicks."""
    platform = PLATFORMS[name]
    good = platform.own.replace("CLICKS", clicks(MOST))
    bad = platform.own.replace("CLICKS", clicks(MOST + 1))
    found = read(name, platform.event(lines(platform, 2, good)))
    assert isinstance(found, OrderPaid), found
    assert [line.search_log_id for line in found.lines] == ["log_0", "log_1"]
    detail = malformed(read(name, platform.event(f"{platform.one_line(0, good)},{platform.one_line(1, bad)}")))
    assert detail.startswith("lines[1].neuroonClicks: 4; at most 3 are taken, see CONSUMER_MAX_LINES; ")
    assert 'looked at "' in detail


@pytest.mark.parametrize("name", WITH_OWN_CLICKS)
def test_the_clicks_of_a_line_win_over_those_of_the_order(name: str) -> None:
    """And the order's count for a line whose own clicks do not have its product."""
    platform = PLATFORMS[name]
    own = platform.own.replace("CLICKS", '{"p0": "own"}')
    found = read(name, platform.event(lines(platform, 2, own), clicks(2)))
    assert isinstance(found, OrderPaid), found
    assert [line.search_log_id for line in found.lines] == ["own", "log_1"]


def test_a_malformed_order_keeps_its_id_and_its_shop() -> None:
    """Whoever looks at the dead letters finds it by them."""
    event = {"orderId": "ORD-1", "shopId": "shop_a", "lines": [0] * 4}
    found = read("canonical", json.dumps(event).encode())
    assert isinstance(found, Malformed)
    assert (found.order_id, found.shop_id) == ("ORD-1", "shop_a")
    found = read("woocommerce", PLATFORMS["woocommerce"].event(",".join(["0"] * 4)))
    assert isinstance(found, Malformed)
    assert found.order_id == "1"


@pytest.mark.parametrize("mapping", ["canonical", "shopify"])
def test_the_limit_is_a_setting(mapping: str) -> None:
    """5,000 by default."""
    settings = {"CONSUMER_MAPPING": mapping, "CONSUMER_MAX_LINES": "2"}
    body = PLATFORMS[mapping].event(lines(PLATFORMS[mapping], 3))
    limited = open_intake(read_settings(settings), lambda: Shops(()))(Delivery(body))
    assert malformed(limited).startswith("lines: 3; at most 2 are taken")
    usual = open_intake(read_settings({"CONSUMER_MAPPING": mapping}), lambda: Shops(()))
    assert isinstance(usual(Delivery(body)), OrderPaid)
    many = PLATFORMS[mapping].event(",".join(["0"] * 5_001))
    assert malformed(usual(Delivery(many))).startswith("lines: 5,001; at most 5,000 are taken")


def test_a_limit_that_lets_nothing_through_is_refused() -> None:
    """At the start."""
    with pytest.raises(SettingsError, match="CONSUMER_MAX_LINES"):
        read_settings({"CONSUMER_MAX_LINES": "0"})


def test_rows_of_an_outbox_are_limited_too() -> None:
    """Their conversions are lines."""
    row = {"orderId": "1", "orderValue": 1, "currency": "EUR", "conversions": [0] * 4}
    assert malformed(read_row(Delivery(json.dumps(row).encode()), MOST)).startswith("lines: 4; at most 3")
