"""Shops and the names that find them."""

import pytest
from pydantic import SecretStr

from consumer.core.shop import Shop, Shops


def shop(identity: str, *aliases: str, enabled: bool = True) -> Shop:
    return Shop(identity, SecretStr("sk_secret"), "https://api.example", aliases=aliases, enabled=enabled)


A, B = shop("shop_a", "1", "es"), shop("shop_b", "2")


def test_a_shop_is_found_by_id_and_by_alias() -> None:
    """Exactly: no case is folded and no space trimmed."""
    shops = Shops([A, B])
    assert [shops.find(name) for name in ("shop_a", "1", "es", "shop_b", "2")] == [A, A, A, B, B]
    assert all(isinstance(shops.find(name), str) for name in ("shop_c", "SHOP_A", " shop_a", ""))


def test_the_only_shop_needs_no_name() -> None:
    """An event of the one shop that there is may leave it out."""
    assert Shops([A]).find(None) is A


def test_of_several_shops_one_must_be_named() -> None:
    """And of none, none is found; what is missing is told."""
    assert Shops([A, B]).find(None) == "shopId: required, since 2 shops are configured"
    assert Shops([]).find(None) == "shopId: required, since 0 shops are configured"


def test_an_unknown_shop_is_not_the_only_one() -> None:
    """An event that names another shop is not that of the one there is; the name is not repeated."""
    assert Shops([A]).find("shop_x") == "shopId: no shop of this id or alias is configured"


def test_a_shop_switched_off_is_told_apart() -> None:
    """From one that is unknown."""
    off = Shops([shop("shop_a", "1", enabled=False)])
    assert off.find("1") == off.find(None) == "shopId: this shop is switched off in the shops file"


@pytest.mark.parametrize("other", [shop("shop_a"), shop("shop_c", "shop_a"), shop("shop_c", "es"), shop("es")])
def test_no_two_shops_answer_to_one_name(other: Shop) -> None:
    """Neither by id nor by alias: the order would go to either."""
    with pytest.raises(ValueError, match=r"two shops answer to the name '(shop_a|es)'"):
        Shops([A, B, other])


def test_a_shop_may_repeat_its_own_name() -> None:
    """An alias that equals the id, or another alias, confuses nobody."""
    repeated = shop("shop_a", "shop_a", "1", "1")
    assert Shops([repeated]).find("1") is repeated


def test_no_repr_shows_a_key() -> None:
    """Neither a shop's nor that of all of them."""
    assert "sk_secret" not in repr(A) + repr(Shops([A, B])) + str(A)


def test_shops_are_equal_by_what_they_are() -> None:
    """A file that was read again without a change is no change."""
    assert Shops([A, B]) == Shops([shop("shop_a", "1", "es"), B])
    assert Shops([A, B]) != Shops([A])
