"""What `check` says of a shop by the answers that it gets."""

import pytest

from consumer.adapters.neuroon import Neuroon
from consumer.core.shop import Shops
from consumer.doctor import Finding, Level, check_shops
from tests.support.neuroon import RawServer, shop_at

PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 32\r\n\r\n<html>Just a moment...</html>\r\n\r\n"


async def found(answer: bytes, *, accept_any_2xx: bool = False, product: str | None = None) -> Finding:
    async with RawServer(answer) as server, Neuroon(timeout=20.0, accept_any_2xx=accept_any_2xx) as neuroon:
        (finding,) = await check_shops(neuroon, Shops([shop_at(server.url, "shop_a")]), product)
        return finding


@pytest.mark.parametrize("product", [None, "SKU-1"])
async def test_a_page_in_place_of_an_answer_is_found(product: str | None) -> None:
    """A firewall that answers 200 with its challenge: said before the first order is held, with what to do."""
    finding = await found(PAGE, product=product)
    assert (finding.level, finding.check) == (Level.ERROR, "shop shop_a")
    assert finding.message == "200: an HTML page instead of Neuroon's answer: Just a moment..."
    assert "firewall" in finding.cure
    assert "NEUROON_ACCEPT_ANY_2XX=on" in finding.cure


async def test_a_page_is_good_enough_where_that_is_set() -> None:
    """As for the orders, so for the check."""
    assert (await found(PAGE, accept_any_2xx=True)).level is Level.OK


@pytest.mark.parametrize(("status", "word"), [(402, "account"), (407, "proxy"), (423, "account"), (451, "account")])
async def test_what_holds_a_shop_has_its_cure(status: int, word: str) -> None:
    """Not the base URL for everything that is none of key, origin and id."""
    finding = await found(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
    assert finding.level is Level.ERROR
    assert word in finding.cure
