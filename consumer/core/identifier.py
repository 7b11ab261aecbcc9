"""Identifiers: of orders, products, shops and searches, as texts that are compared and sent exactly as they came."""

import re
from dataclasses import dataclass

# Characters an identifier may have: far more than any shop's, and few enough for a message header of 1 KiB.
IDENTIFIER_LENGTH = 512

# An integer with more bits than this has more digits than that. Bits are counted because str() refuses 4,301 digits.
_INTEGER_BITS = (10**IDENTIFIER_LENGTH).bit_length()


@dataclass(frozen=True, slots=True)
class NotAnIdentifier:
    """The value is no identifier. `expected` names what would be one; neither text repeats the value.

    `found`: what is wrong with a text, such as "U+0000 at character 4"; "" where the kind of the value says enough.
    """

    expected: str
    found: str = ""


_WRONG_TYPE = NotAnIdentifier("text or an integer")
_BLANK = NotAnIdentifier("text that is not blank")
_TOO_LONG = NotAnIdentifier(f"an identifier of at most {IDENTIFIER_LENGTH} characters")

# PostgreSQL's text has no NUL, and UTF-8 no halves of surrogate pairs: Neuroon could not keep them apart from others.
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")


def to_identifier(value: object) -> str | NotAnIdentifier:
    """The text as it is, or the decimal digits of an integer. NUL and lone surrogates are refused.

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
    if not text.isascii() or "\0" in text:
        unsendable = _UNSENDABLE.search(text)
        if unsendable is not None:
            found = f"U+{ord(unsendable[0]):04X} at character {unsendable.start() + 1}"
            return NotAnIdentifier("text without NUL and lone surrogates", found)
    return _BLANK if not text or text.isspace() else text
