"""What an answer's body is: compressed or not, an HTML page or not."""

import re
import zlib
from functools import lru_cache

# As it goes through a gateway or two; each one is a step in which a body may grow.
_MOST_CODINGS = 2
_GZIP, _ZLIB, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS  # zlib's words for its three formats
# Many servers send deflate without the zlib header that RFC 9110, 8.4.1.2 asks for; no browser minds.
_WINDOWS = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (_ZLIB, _RAW_DEFLATE)}

_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
# The tags by which browsers know a page of no declared type (WHATWG MIME Sniffing, 7.1), after an XML declaration too.
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?"
    rb"<(?:!doctype\s+html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|!--|meta|center)(?![\w:-])",
    re.IGNORECASE,
)


def inflate(body: bytes, codings: str | None, limit: int) -> bytes:
    """The first `limit` bytes of a body that Content-Encoding says is compressed; b"" for one that cannot be inflated.

    `body` may be only the beginning: what can be inflated of it is. We ask for no compression, so that only error pages
    of gateways come with one.
    """
    names = [name for each in (codings or "").lower().split(",") if (name := each.strip()) not in ("", "identity")]
    if len(names) > _MOST_CODINGS:
        return b""
    for name in reversed(names):  # they stand in the order in which they were applied
        body = _inflate(body, name, limit)
    return body


def _inflate(body: bytes, coding: str, limit: int) -> bytes:
    for window in _WINDOWS.get(coding, ()):
        try:
            return zlib.decompressobj(window).decompress(body, limit)
        except zlib.error:
            continue
    return b""


def is_page(content_type: str | None, body: bytes) -> bool:
    """Whether this is an HTML page, by its declared type or by its first tag."""
    return (content_type is not None and _is_html(content_type)) or _PAGE.match(body) is not None


@lru_cache(256)  # a server has one or two of them
def _is_html(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() in _HTML_TYPES
