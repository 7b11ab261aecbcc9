"""Amounts are exact until they are rounded, and rounded as the currency says."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.money import (
    AMOUNT_DIGITS,
    AMOUNT_LIMIT,
    MINOR_UNITS,
    NotAnAmount,
    minor_units,
    product,
    rounded,
    to_amount,
    to_currency,
)

QUICK = settings(max_examples=200, deadline=None)

AMOUNTS = st.decimals(min_value=0, max_value=10**14, allow_nan=False, allow_infinity=False, places=6)

NO_NUMBER = NotAnAmount('a number or a decimal text such as "12.50"')
TOO_LARGE = NotAnAmount("an amount below 1,000,000,000,000,000")
TOO_LONG = NotAnAmount("an amount of at most 100 digits")


def amount(value: object) -> Decimal:
    found = to_amount(value)
    assert isinstance(found, Decimal), found
    return found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (12, "12"),
        (-3, "-3"),
        (Decimal("199.95"), "199.95"),
        (Decimal("5e-18"), "5E-18"),
        (Decimal("1E+3"), "1000"),
        ("199.95", "199.95"),
        ("3.000000", "3"),
        ("+1.5", "1.5"),
        ("-1.5", "-1.5"),
        (" 1.5\n", "1.5"),
        ("007", "7"),
        ("1e3", "1000"),
        ("0E-8", "0"),
        ("5E-18", "5E-18"),
        (AMOUNT_LIMIT - 1, "999999999999999"),
        ("999999999999999.999", "999999999999999.999"),
        (Decimal("0." + "1" * AMOUNT_DIGITS), "0." + "1" * AMOUNT_DIGITS),
    ],
)
def test_numbers_and_decimal_texts_are_amounts(value: object, expected: str) -> None:
    """An amount is what was spelled, digit by digit."""
    assert amount(value) == Decimal(expected)


@pytest.mark.parametrize("value", [Decimal("-0.0"), "-0", "-0.00", "-0e5"])
def test_minus_zero_is_zero(value: object) -> None:
    """A zero carries no sign into the payload."""
    assert not amount(value).is_signed()


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            True,
            False,
            1.5,
            [],
            {},
            b"1",
            "",
            " ",
            ".5",
            "5.",
            "1_000",
            "1,5",
            "1,234.50",
            "1.2.3",
            "€12",
            "12 EUR",
        ),
        *("0x10", "1e", "e5", "--1", "1 2", "١٢", "１２", "NaN", "nan", "Infinity", "-inf", "sNaN", "½"),
    ],
)
def test_nothing_else_is_an_amount(value: object) -> None:
    """No separators, no currency signs, no other script's digits, no NaN, and nothing that was binary."""
    assert to_amount(value) == NO_NUMBER


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (AMOUNT_LIMIT, TOO_LARGE),
        (-AMOUNT_LIMIT, TOO_LARGE),
        pytest.param(10**5000, TOO_LARGE, id="5001 digits"),
        (Decimal("1e999999999"), TOO_LARGE),
        ("1e999999999", TOO_LARGE),
        ("1e99999999999999999999999999", TOO_LARGE),
        ("-1e99999999999999999999999999", TOO_LARGE),
        pytest.param("9" * 1_000_000, TOO_LARGE, id="a million digits"),
        (Decimal("NaN"), TOO_LARGE),
        (Decimal("sNaN"), TOO_LARGE),
        (Decimal("-Infinity"), TOO_LARGE),
        (Decimal("0." + "1" * (AMOUNT_DIGITS + 1)), TOO_LONG),
        pytest.param("0.004" + "9" * 1_000_000, TOO_LONG, id="a million decimals"),
        (Decimal("1e-400000000"), TOO_LONG),
    ],
)
def test_amounts_are_bounded(value: object, expected: NotAnAmount) -> None:
    """No exponent and no length makes an amount that rounding would choke on, or that no product would be exact of."""
    assert to_amount(value) == expected


@pytest.mark.parametrize(
    ("value", "currency", "expected"),
    [
        ("199.95", "EUR", "199.95"),
        ("5", "EUR", "5.00"),
        ("1.005", "EUR", "1.01"),
        ("2.675", "USD", "2.68"),
        ("1.0049999999999999999999999999999999", "EUR", "1.00"),
        ("0.004", "EUR", "0.00"),
        ("5e-18", "EUR", "0.00"),
        ("1e3", "EUR", "1000.00"),
        ("1999.5", "JPY", "2000"),
        ("1999.4", "JPY", "1999"),
        ("1.2345", "KWD", "1.235"),
        ("1.23456", "CLF", "1.2346"),
        ("0.00004", "UYW", "0.0000"),
        ("0e400000", "EUR", "0.00"),
        ("999999999999999.999", "EUR", "1000000000000000.00"),
    ],
)
def test_rounding_is_half_up_to_the_minor_unit(value: str, currency: str, expected: str) -> None:
    """The text of a rounded amount has exactly the decimals of its currency, and never an exponent."""
    assert str(rounded(amount(value), currency)) == expected


def test_a_product_is_exact() -> None:
    """0.1 x 3 is 0.3, and 200 digits are not too many."""
    assert product(amount("0.1"), amount(3)) == Decimal("0.3")
    long = Decimal("0." + "3" * AMOUNT_DIGITS)
    assert Fraction(product(long, long)) == Fraction(long) ** 2


@QUICK
@given(AMOUNTS, st.sampled_from(sorted(MINOR_UNITS)))
def test_rounding_moves_by_half_a_minor_unit_at_most(value: Decimal, currency: str) -> None:
    """And upwards exactly when the rest is half a unit or more, as fractions show it."""
    unit = Fraction(1, 10 ** MINOR_UNITS[currency])
    whole, rest = divmod(Fraction(value), unit)
    assert Fraction(rounded(amount(value), currency)) == (whole + (rest >= unit / 2)) * unit


@QUICK
@given(st.text(max_size=12) | st.text(alphabet="0123456789.eE+-_ ,", max_size=12) | st.decimals() | st.integers())
def test_any_value_gives_an_amount_or_says_what_one_is(value: object) -> None:
    """Never an exception; and an amount can be rounded and multiplied, whatever it is."""
    found = to_amount(value)
    if isinstance(found, Decimal):
        assert abs(Fraction(found)) < AMOUNT_LIMIT
        rounded(product(found, found), "EUR")


def test_the_callers_decimal_context_changes_nothing() -> None:
    """A program that sets three digits and other traps for itself gets the same amounts."""
    narrow = Context(prec=3, Emax=5, Emin=-5, rounding="ROUND_DOWN")
    with localcontext(narrow):
        exact = amount("123456.785")
        assert str(exact) == "123456.785"
        assert str(amount(Decimal("123456.785"))) == "123456.785"
        assert str(amount(1234567)) == "1234567"
        assert str(rounded(exact, "EUR")) == "123456.79"
        assert str(product(exact, exact)) == "15241577762.536225"
        assert to_amount("1e999999999999") == TOO_LARGE


@pytest.mark.parametrize(
    ("digits", "codes", "count"),
    [
        (0, "BIF CLP ISK JPY KRW PYG UGX VND XAF XOF XPF", 17),
        (2, "AUD BRL CHF CNY CZK DKK EUR GBP HUF INR MXN NOK PLN SEK TRY USD XCG ZAR ZWG", 139),
        (3, "BHD IQD JOD KWD LYD OMR TND", 7),
        (4, "CLF UYW", 2),
    ],
)
def test_currencies_are_those_of_iso_4217(digits: int, codes: str, count: int) -> None:
    """The published list of 2026-01-01 has so many codes of so many decimals, these among them."""
    having = {code for code, decimals in MINOR_UNITS.items() if decimals == digits}
    assert set(codes.split()) <= having
    assert len(having) == count
    assert all(minor_units(code) == digits for code in having)


@pytest.mark.parametrize("spelling", ["EUR", "eur", " Eur ", "\teur\n"])
def test_a_currency_may_be_spelled_in_any_case(spelling: str) -> None:
    """It is sent in upper case, without the space around it."""
    assert to_currency(spelling) == "EUR"
    assert minor_units(spelling) == MINOR_UNITS["EUR"]


@pytest.mark.parametrize("value", ["XAU", "XXX", "XTS", "XDR", "HRK", "EURO", "€", "", "978", "ＥＵＲ", "E UR"])
def test_other_codes_are_no_currency(value: str) -> None:
    """Metals, test codes, former currencies, signs and numbers."""
    assert to_currency(value) is None
    assert minor_units(value) is None


@pytest.mark.parametrize("value", [None, 978, True, ["EUR"], {"code": "EUR"}])
def test_only_text_is_a_currency(value: object) -> None:
    """And nothing else raises."""
    assert to_currency(value) is None
