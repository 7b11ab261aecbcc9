"""In which unit amounts are, and how they become major units: exactly, by moving the decimal point."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal

from consumer.core.money import AMOUNT_DIGITS, NotAnAmount, minor_units, to_amount
from consumer.mappings.message import Message
from consumer.mappings.path import NOWHERE, Paths

# No currency has more than four decimals; prices by weight or by the thousand get a few more.
MAX_EXPONENT = 12

_MOVING = Context(prec=2 * AMOUNT_DIGITS, traps=[])

Scale = Callable[[object], object]


class ExponentError(ValueError):
    """The event's exponent is no whole number from 0 to `MAX_EXPONENT`."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """`exponent`: decimals that every amount has; None: the currency's. `at_*`: where the event tells its own."""

    exponent: int | None = 0
    at_order: Paths = NOWHERE
    at_line: Paths = NOWHERE

    def of_order(self, message: Message, currency: object) -> int:
        """By how many digits the decimal point of the order's value moves. ExponentError if it is none."""
        if self.at_order:
            return _exponent(self.at_order.find(message))
        if self.exponent is None:
            return (minor_units(currency) if isinstance(currency, str) else None) or 0
        return self.exponent

    def of_line(self, message: Message, of_order: int) -> int:
        """The same for a line, whose own exponent wins over the order's."""
        if not self.at_line or (found := self.at_line.find(message)) is None:
            return of_order
        return _exponent(found)


def scaled(value: object, exponent: int) -> object:
    """`value` in major units. What is no amount is left as it is, for the reader of the order to complain about."""
    if not exponent or value is None:
        return value
    amount = to_amount(value)
    return value if isinstance(amount, NotAnAmount) else amount.scaleb(-exponent, _MOVING)


def _exponent(value: object) -> int:
    amount = to_amount(value)
    if isinstance(amount, NotAnAmount) or amount not in _EXPONENTS:
        raise ExponentError(f"expected a whole number from 0 to {MAX_EXPONENT}")
    return int(amount)


_EXPONENTS = frozenset(Decimal(digits) for digits in range(MAX_EXPONENT + 1))
