"""The head of an answer that llhttp refuses, written anew so that it does not.

Gateways, and services that write their answers by hand, end lines with a bare line feed, leave the reason phrase out,
repeat a Content-Length, or put control characters into a header. The status line is plain all the same, and says
whether an order was recorded. What such a server takes for the end of its answer cannot be known for sure, so its
connection is not used again (RFC 9112, 2.2 and 6.3).
"""

import re

_STATUS_LINE = re.compile(rb"HTTP/[0-9](?:\.[0-9])?[ \t]+([0-9]{3})(?:[ \t][^\n]*|\r?)")
_HEAD_END = re.compile(rb"\n\r?\n")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"upgrade"})
_SWITCHING = 101
_FINAL = 200  # below: informational, the answer is still to come (RFC 9110, 15.2)

Headers = list[tuple[bytes, bytes]]


class NoHttpError(ValueError):
    """There is no status line, or none that means anything here."""


def mend(seen: bytes) -> tuple[bytes, bytes] | None:
    """The head of the answer that `seen` begins with, in a form that nobody refuses, and what follows it.

    None while the head has not ended. Informational answers before it are passed over. Raises NoHttpError.
    """
    rest = seen
    while True:
        rest = rest.lstrip(b"\r\n")
        end = _HEAD_END.search(rest)
        line, feed, _ = rest.partition(b"\n")
        status = _STATUS_LINE.fullmatch(line)
        if status is None and feed:
            raise NoHttpError
        if status is None or end is None:
            return None
        number = int(status[1])
        if number == _SWITCHING or not number >= 100:  # noqa: PLR2004 - the lowest status that there is
            raise NoHttpError
        if number >= _FINAL:
            headers = _headers(rest[len(line) + 1 : end.start() + 1])
            return _head(number, headers), rest[end.end() :]
        rest = rest[end.end() :]


def _headers(lines: bytes) -> Headers:
    """Those that can be read, with spaces in the place of control characters; the others are dropped."""
    headers: Headers = []
    for line in lines.split(b"\n"):
        if line[:1] in (b" ", b"\t") and headers:  # folded over two lines (RFC 9112, 5.2)
            name, value = headers.pop()
            headers.append((name, value + b" " + _CONTROL.sub(b" ", line).strip()))
            continue
        name, colon, value = line.partition(b":")
        name = name.strip()
        if colon and _NAME.fullmatch(name):
            headers.append((name, _CONTROL.sub(b" ", value).strip()))
    return headers


def _head(status: int, headers: Headers) -> bytes:
    others = [(name, value) for name, value in headers if name.lower() not in _FRAMING]
    lines = [name + b": " + value for name, value in (*others, *_length(headers), (b"Connection", b"close"))]
    return b"HTTP/1.1 %d -\r\n%b\r\n\r\n" % (status, b"\r\n".join(lines))


def _length(headers: Headers) -> Headers:
    """Where the body ends: chunks say so, else a length on which all agree, else the end of the connection."""
    if any(name.lower() == b"transfer-encoding" and value.lower().endswith(b"chunked") for name, value in headers):
        return [(b"Transfer-Encoding", b"chunked")]
    given = {each.strip() for name, value in headers if name.lower() == b"content-length" for each in value.split(b",")}
    (length,) = given if len(given) == 1 else (b"",)
    return [(b"Content-Length", length)] if re.fullmatch(rb"[0-9]{1,18}", length) else []
