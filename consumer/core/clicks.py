"""The `neuroon_clicks` cookie: which search led the buyer to which product.

The widget keeps it in the buyer's browser as a JSON map of product id to search log id, cut off at 4096 bytes. The
shop's checkout copies it into its order event as it comes: as an object, as text, percent-encoded once or twice, or
with the whole Cookie header around it.

Anybody can write anything into a cookie, so nothing in here is an error. What cannot be read means "not attributed",
entry by entry.
"""

import re
from itertools import islice

import jiter

from consumer.core.body import decode_partially
from consumer.core.identifier import to_identifier

COOKIE_NAME = "neuroon_clicks"

# Wrappings that are taken off: a header, quotes, percent-encoding twice, and one to spare. Each is one pass over the
# text.
LAYERS = 5

# Characters of a wrapped text; the rest counts as cut off. 4096 bytes encoded twice are 20,480 at most, servers take
# headers of 8 to 64 KiB, and to decode a megabyte of percent signs five times would hold every order up for a second.
ENCODED_LIMIT = 65_536

# Cookies of our name that are looked at, for the same reason. A browser sends one per path and domain that has set it.
COOKIE_LIMIT = 8

# The map itself begins here. A brace alone is not enough: js-cookie writes {%22SKU-1%22:%22log_a%22}.
_MAP = re.compile(r'\{\s*(?:["}]|\Z)')

# The map in quotes that it does not escape.
_QUOTED_MAP = re.compile(r'"\s*(?=\{\s*")')

# One cookie among others, with or without "Cookie:" before them. A cookie's value ends at the next semicolon, always.
_COOKIE = re.compile(rf"(?<![^\s;,:]){COOKIE_NAME}\s*=([^;]*)")

# What Python's http.cookies escapes in a quoted value: \" and \\, and \054 for a comma. The end may cut through one.
_COOKIE_ESCAPE = re.compile(r"\\(?:(?P<octal>[0-3][0-7]{2})|(?P<cut>[0-3]?[0-7]?\Z)|(?P<other>.))", re.DOTALL)

_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})")

_BLANKS = " \t\r\n\ufeff"


def parse_clicks(value: object) -> dict[str, str]:
    """Product id -> search log id, from the cookie in whatever form the event carries it; {} where there is none.

    Text that is cut off gives the entries that stand whole before the cut. Of several cookies of the name, the first
    one with an entry counts.
    """
    if isinstance(value, str):
        return _from_text(value, LAYERS)
    return _entries(value)


def _from_text(text: str, layers: int) -> dict[str, str]:
    """Take one wrapping after the other off until the map begins."""
    text = text.lstrip(_BLANKS)
    if _MAP.match(text):
        return _entries(decode_partially(text.encode(errors="replace")))
    if not text or not layers:
        return {}
    if text[0] == '"':  # before cookies are looked for: what is quoted has its quotes and backslashes escaped
        return _from_text(_unquoted(text[:ENCODED_LIMIT]), layers - 1)
    if cookies := _cookies(text):
        return next(filter(None, (_from_text(cookie, layers - 1) for cookie in cookies)), {})
    return _from_text(_unescaped(text[:ENCODED_LIMIT]), layers - 1) if "%" in text else {}


def _cookies(text: str) -> list[str]:
    """The values of the cookies of our name."""
    if COOKIE_NAME not in text:
        return []
    return [found[1] for found in islice(_COOKIE.finditer(text), COOKIE_LIMIT)]


def _unquoted(text: str) -> str:
    """The inside of quotes: a map that was simply put between them, a JSON string, or a cookie's quoted value."""
    if _QUOTED_MAP.match(text):
        return text[1:]
    try:
        inside = jiter.from_json(text.encode(errors="replace"), partial_mode="trailing-strings")
    except ValueError:
        return _COOKIE_ESCAPE.sub(_cookie_unescaped, text[1:])
    return str(inside)


def _cookie_unescaped(escape: re.Match[str]) -> str:
    octal = escape["octal"]
    return chr(int(octal, 8)) if octal else escape["other"] or ""


def _unescaped(text: str) -> str:
    """Percent-decoding, once. An escape that the end cuts through is dropped.

    A plus is a space only in form encoding, which leaves no colon as it is; encoders that do leave colons (encodeURI,
    js-cookie) mean the plus itself.
    """
    cut = text.rfind("%", max(0, len(text) - 2))
    if cut >= 0:
        text = text[:cut]
    if "+" in text and ":" not in text:
        text = text.replace("+", " ")
    plain = _ESCAPE.sub(_byte, text.encode(errors="replace"))  # urllib's way takes ten times as long over "%%%%"
    return plain.decode(errors="replace")  # bytes that are no UTF-8 become U+FFFD and match no product


def _byte(escape: re.Match[bytes]) -> bytes:
    return bytes((int(escape[1], 16),))


def _entries(value: object) -> dict[str, str]:
    """The usable entries of a decoded map."""
    if not isinstance(value, dict):
        return {}
    found = {}
    for key, search in value.items():
        product_id, search_log_id = to_identifier(key), to_identifier(search)
        if isinstance(product_id, str) and isinstance(search_log_id, str):
            found[product_id] = search_log_id
    return found
