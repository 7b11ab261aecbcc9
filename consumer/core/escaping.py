"""Text that strangers wrote, made safe to show: nothing in it moves a cursor, reverses a line or hides.

Order ids, routing keys and details hold whatever an event held. What `str.isprintable` calls unprintable (control
characters, line and paragraph separators, marks that turn the direction of writing, lone surrogates, spaces that look
like the usual one) is shown as an escape, and so is what is printable and has no ink.
"""

import json
import re

# Of Unicode's Default_Ignorable_Code_Point those that Python takes for printable, and the blank Braille pattern.
_NO_INK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)


def escaped(text: str) -> str:
    r"""The text on one line: every character that does not show as itself as `\n`, `\x1b`, `\u202e` or `\U000e0001`.

    A backslash stays one, so the result is for reading; where the original must come back, use JSON.
    """
    if _is_safe(text):
        return text
    return "".join(each if _is_safe(each) else each.encode("unicode_escape").decode() for each in text)


def escaped_json(document: str, *, ascii_only: bool = False) -> str:
    r"""The same JSON document, with `\u202e` and the like for every character that does not show as itself.

    Outside of its texts JSON has none of them but line ends, which stay. `ascii_only`: nor does what is not ASCII, for
    a stream that cannot take it.
    """

    def stays(text: str) -> bool:
        return _is_safe(text) and (text.isascii() or not ascii_only)

    if stays(document):
        return document
    return "".join(each if each == "\n" or stays(each) else json.dumps(each)[1:-1] for each in document)


def _is_safe(text: str) -> bool:
    return text.isprintable() and (text.isascii() or _NO_INK.search(text) is None)
