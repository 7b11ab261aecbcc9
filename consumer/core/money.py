"""Amounts of money: read exactly, rounded once, written with the decimals of their currency.

An amount is a `Decimal` in major units (euros, not cents) and never passes through binary floating point. It is rounded
only on its way out, half up, to the minor unit that ISO 4217 gives its currency.
"""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal

# Amounts stay below this: far above any order, and small enough that no exponent can blow up in rounding.
AMOUNT_LIMIT = 10**15
_BELOW, _ABOVE = Decimal(AMOUNT_LIMIT), Decimal(-AMOUNT_LIMIT)  # to compare with; an int would be converted each time

# Digits that an amount may have. A binary fraction printed in full needs 55; a shop's own decimals a handful.
AMOUNT_DIGITS = 100

# Neither context traps: what does not fit turns into NaN, infinity or another number, and is refused for that. Two
# amounts multiplied have at most twice their digits, so `_EXACT` never rounds a product. They are our own, so that
# nobody's `decimal.setcontext` changes what is sent.
_READING = Context(prec=AMOUNT_DIGITS, rounding=ROUND_HALF_EVEN, traps=[])
_EXACT = Context(prec=2 * AMOUNT_DIGITS, rounding=ROUND_HALF_UP, traps=[])

# A decimal text as a program writes it: ASCII digits, no thousands separators, no currency sign, no NaN.
# It may have an exponent because Java's BigDecimal writes a zero with eight decimals as "0E-8".
DECIMAL_PATTERN = r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_DECIMAL_TEXT = re.compile(DECIMAL_PATTERN)

# The active codes of ISO 4217 (list of 2026-01-01) by the decimals of their minor unit. Metals, bond units, the SDR and
# the test codes are left out: they have no minor unit, and nothing is sold in them.
_CODES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW
        CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF
        IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK
        MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP
        SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG
        YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
MINOR_UNITS = {code: digits for digits, codes in _CODES.items() for code in codes.split()}

# The smallest amount of each currency: what `rounded` rounds to.
_MINOR_UNIT = {code: Decimal(1).scaleb(-digits) for code, digits in MINOR_UNITS.items()}


@dataclass(frozen=True, slots=True)
class NotAnAmount:
    """The value is no amount. `expected` names what would be one, and never repeats the value."""

    expected: str


_NO_NUMBER = NotAnAmount('a number or a decimal text such as "12.50"')
_TOO_LARGE = NotAnAmount(f"an amount below {AMOUNT_LIMIT:,}")
_TOO_LONG = NotAnAmount(f"an amount of at most {AMOUNT_DIGITS} digits")


def to_currency(value: object) -> str | None:
    """The code in upper case; None unless it is an active currency of ISO 4217 that has a minor unit."""
    if not isinstance(value, str):
        return None
    code = value if value in MINOR_UNITS else value.strip().upper()
    return code if code in MINOR_UNITS else None


def minor_units(currency: str) -> int | None:
    """How many decimals the currency's amounts have (EUR 2, JPY 0, KWD 3); None if there is no such currency."""
    code = to_currency(currency)
    return None if code is None else MINOR_UNITS[code]


def to_amount(value: object) -> Decimal | NotAnAmount:
    """The exact amount of an integer, a `Decimal` or a decimal text, with its sign; minus zero becomes zero.

    A float is refused: once there is one, the amount that the event spelled is gone.
    """
    if isinstance(value, Decimal):
        return _within_bounds(value)
    if isinstance(value, int) and not isinstance(value, bool):
        # Measured in bits first: an integer of a million digits takes seconds to become a Decimal.
        return _TOO_LARGE if value.bit_length() > AMOUNT_LIMIT.bit_length() else _within_bounds(Decimal(value))
    if isinstance(value, str) and _DECIMAL_TEXT.fullmatch(text := value.strip()):
        # The context rounds nothing here; with it, an exponent past what Decimal can hold gives NaN and no exception.
        return _within_bounds(Decimal(text, _EXACT))
    return _NO_NUMBER


def _within_bounds(amount: Decimal) -> Decimal | NotAnAmount:
    """The amount, if it can be worked with exactly. What is not finite was written with an enormous exponent."""
    if not amount.is_finite() or not _ABOVE < amount < _BELOW:
        return _TOO_LARGE
    taken = _READING.plus(amount)
    return taken if taken == amount else _TOO_LONG


def product(price: Decimal, quantity: Decimal) -> Decimal:
    """Exactly `price` x `quantity`, both from `to_amount`."""
    return _EXACT.multiply(price, quantity)


def rounded(amount: Decimal, currency: str) -> Decimal:
    """The amount with exactly the decimals of `currency` (in upper case), half up: 1.005 EUR becomes 1.01."""
    return amount.quantize(_MINOR_UNIT[currency], ROUND_HALF_UP, _EXACT)
