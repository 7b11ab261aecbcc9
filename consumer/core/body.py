"""Message bodies: compression undone, JSON decoded, both within bounds.

Nothing here quotes a body: what goes wrong is told by its place, because a body holds a customer's order.
"""

import re
import zlib
from dataclasses import dataclass, field

import jiter

# Bytes of a body, both as it arrives and once decompressed.
BODY_LIMIT = 1_048_576

# JSON values in a body. Each becomes an object of 30 to 200 bytes, and all are made in one call that holds up every
# thread: the 520,000 lists of a megabyte of brackets took 180 ms. A megabyte of a real order has 50,000 values.
VALUE_LIMIT = 100_000

# Gzip allows members in a row. Each costs a copy of all that follow it: 52,000 empty ones in a megabyte cost 27 GB.
MEMBER_LIMIT = 64

_GZIP = {"gzip", "x-gzip"}
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS  # zlib's way to say: with gzip's header and checksum

# Compressions that are not undone. Every other value of content-encoding ("utf-8", "binary", "identity") names none,
# whatever its publisher meant by it, and is let through.
_OTHER_COMPRESSIONS = {"br", "brotli", "bzip2", "compress", "deflate", "lz4", "lzma", "snappy", "xz", "zlib", "zstd"}

_UTF8_BOM = b"\xef\xbb\xbf"
_BEFORE_INTEGER = b" \t\r\n:,[-"  # b"" is in it too: a document that is nothing but digits
_PLACE = re.compile(r"at line [0-9]+ column [0-9]+\Z")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The body is no JSON. `detail` says where and why; `remains` is what could be decoded all the same, or None."""

    detail: str
    remains: object = field(default=None, repr=False)


def decode(body: bytes, content_encoding: str | None = None) -> object:
    """The JSON document in a body, or `Unreadable`.

    Numbers are exact: integers as int, all others as Decimal. NaN and Infinity are refused; a UTF-8 byte order mark is
    not. `content_encoding` is the message's property: `gzip` (or `x-gzip`) is undone, other compressions are refused by
    name.
    """
    plain = decompress(body, content_encoding)
    return plain if isinstance(plain, Unreadable) else decode_json(plain)


def decompress(body: bytes, content_encoding: str | None = None, *, limit: int = BODY_LIMIT) -> bytes | Unreadable:
    """The body with gzip undone; `Unreadable` if it has more than `limit` bytes before or after that."""
    if len(body) > limit:
        return Unreadable(f"body: {len(body):,} bytes; at most {limit:,} are taken")
    if content_encoding is None:
        return body
    plain = body
    for coding in reversed(content_encoding.lower().split(",")):  # they stand in the order in which they were applied
        name = coding.strip()
        if name in _OTHER_COMPRESSIONS:
            return Unreadable(f"body: content-encoding {name} is not undone, only gzip is")
        if name in _GZIP:
            inner = _gunzip(plain, limit)
            if isinstance(inner, Unreadable):
                return inner
            plain = inner
    return plain


def _gunzip(body: bytes, limit: int) -> bytes | Unreadable:
    """All gzip members, one after the other; zeros after the last one are padding."""
    parts: list[bytes] = []
    room = limit
    rest = body
    for _ in range(MEMBER_LIMIT):
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            part = member.decompress(rest, room + 1)  # the one byte more tells "full" from "too much"
        except zlib.error:
            return Unreadable(f"body: broken gzip in the member that starts at byte {len(body) - len(rest) + 1}")
        room -= len(part)
        if room < 0:
            return Unreadable(f"body: more than {limit:,} bytes once gzip is undone; at most that many are taken")
        if not member.eof:
            return Unreadable(f"body: gzip breaks off after {len(body):,} bytes")
        parts.append(part)
        rest = member.unused_data.lstrip(b"\0")
        if not rest:
            return b"".join(parts)
    return Unreadable(f"body: more than {MEMBER_LIMIT} gzip members")


def decode_json(data: bytes) -> object:
    """The JSON document, or `Unreadable`. See `decode`."""
    if _has_too_many_values(data):
        return Unreadable(
            f"body: more than {VALUE_LIMIT:,} values, by its commas and brackets; at most that many are taken"
        )
    try:
        return jiter.from_json(_without_bom(data), allow_inf_nan=False, float_mode="decimal")
    except ValueError as error:
        return _diagnosis(data, str(error))


def decode_partially(data: bytes) -> object:
    """What stands whole in a JSON text that breaks off somewhere; None if it is broken in another way.

    A text, integer or name that the end cuts through is left out; objects and lists are closed where they are.
    """
    if _has_too_many_values(data):
        return None
    # An integer has no closing mark: 12 may be the head of 123. An exponent without digits marks it as unfinished.
    # Digits after anything else may belong to an escape such as \u0012, and the "e" would be one more digit.
    stem = data.rstrip(b"0123456789")
    unfinished = len(stem) < len(data) and stem[-1:] in _BEFORE_INTEGER
    try:
        return jiter.from_json(data + b"e" if unfinished else data, partial_mode="on", float_mode="decimal")
    except ValueError:
        return None


def _has_too_many_values(data: bytes) -> bool:
    """Whether there are more than `VALUE_LIMIT`: each is the first of an object or a list, or stands behind a comma."""
    if len(data) <= VALUE_LIMIT:
        return False
    return data.count(b",") + data.count(b"[") + data.count(b"{") > VALUE_LIMIT


def _without_bom(data: bytes) -> bytes:
    return data.removeprefix(_UTF8_BOM)


def _diagnosis(data: bytes, problem: str) -> Unreadable:
    """Name the cause and the place; save what can be read. Bytes, lines and columns count from 1."""
    remains = decode_partially(data.decode("utf-8-sig", errors="replace").encode())
    return Unreadable(f"body: {_cause(data, problem)}", remains)


def _cause(data: bytes, problem: str) -> str:
    json = _without_bom(data)
    if not json.strip():
        return "empty"
    try:
        json.decode()
    except UnicodeDecodeError as error:
        hint = "; it looks like gzip, which content-encoding does not say" if data.startswith(_GZIP_MAGIC) else ""
        return f"not UTF-8 at byte {len(data) - len(json) + error.start + 1}{hint}"
    place = _PLACE.search(problem)
    where = f" {place[0]}" if place else ""
    if problem.startswith("Internal error"):  # jiter hands Decimal's complaint about an exponent through
        return f"not JSON: number out of range{where}"
    if _is_json_but_for_nan(json):
        return f"not JSON: NaN or Infinity{where}"
    return f"not JSON: {problem}"


def _is_json_but_for_nan(data: bytes) -> bool:
    try:
        jiter.from_json(data)
    except ValueError:
        return False
    return True
