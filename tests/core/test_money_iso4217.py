"""Our list of currencies beside the one that is kept up to date by others."""

from iso4217 import Currency

from consumer.core.money import minor_units


def test_the_list_is_the_official_one() -> None:
    """Every active code with its minor unit; those without one (metals, funds) are no currency to be paid in."""
    assert {each.code: minor_units(each.code) for each in Currency} == {each.code: each.exponent for each in Currency}
