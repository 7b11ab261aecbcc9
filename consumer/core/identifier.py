"""Identifiers: of orders, products, shops and searches, as texts that are compared and sent exactly as they came."""

from dataclasses import dataclass

# Characters an identifier may have: far more than any shop's, and few enough for a message header of 1 KiB.
IDENTIFIER_LENGTH = 512

# An integer with more bits than this has more digits than that. Bits are counted because str() refuses 4,301 digits.
_INTEGER_BITS = (10**IDENTIFIER_LENGTH).bit_length()


@dataclass(frozen=True, slots=True)
class NotAnIdentifier:
    """The value is no identifier. `expected` names what would be one, and never repeats the value."""

    expected: str


_WRONG_TYPE = NotAnIdentifier("text or an integer")
_BLANK = NotAnIdentifier("text that is not blank")
_TOO_LONG = NotAnIdentifier(f"an identifier of at most {IDENTIFIER_LENGTH} characters")


def to_identifier(value: object) -> str | NotAnIdentifier:
    """The text as it is, or the decimal digits of an integer.

    Nothing is trimmed and no case folded: Neuroon and the click map know the id as the shop wrote it.
    """
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool) or not isinstance(value, int):
        return _WRONG_TYPE
    elif value.bit_length() > _INTEGER_BITS:
        return _TOO_LONG
    else:
        text = str(value)
    if len(text) > IDENTIFIER_LENGTH:
        return _TOO_LONG
    return _BLANK if not text or text.isspace() else text
