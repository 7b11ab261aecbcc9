"""The body decoder: gzip, JSON, what can be read of broken JSON, and arrays taken apart."""

import gzip
from dataclasses import dataclass
from decimal import Decimal

from hypothesis import strategies as st

from consumer.core.array import array_elements
from consumer.core.body import BODY_LIMIT, Unreadable, decode, decode_partially, decompress
from tests.fuzz.strategies import CANARY, VALUES, damaged, exactly, pieces, spelled
from tests.fuzz.target import Target

# An escape of the longest place: "not JSON: ", the parser's words, a line and a column.
DETAIL_LENGTH = 200

_TOKENS = (
    b"NaN",
    b"Infinity",
    b"\\ud800",
    b"\\u0000",
    b"\xff",
    b"\xef\xbb\xbf",
    b"[" * 300,
    b"1e999999999999999999",
    b"9" * 4400,
    b"\\",
    b'"',
    b",",
    b"{",
    b"}",
)


@dataclass(frozen=True)
class Case:
    """The bytes, the same in pieces for gzip's members, and the content-encoding that a message claims.

    `valid`: it is JSON, with nothing wrong in it.
    """

    body: bytes
    members: list[bytes]
    encoding: str | None
    cut: int
    valid: bool


_ENCODINGS = st.sampled_from((None, "gzip", "x-gzip", "gzip, gzip", "br", "utf-8", "", ",")) | st.text(max_size=12)
_JSON = st.builds(
    lambda value, head, tail: (head + spelled(value) + tail).encode(),
    VALUES,
    st.sampled_from(("", " ", "\ufeff", "\n\t")),
    st.sampled_from(("", " \r\n")),
)
_GZIP = st.builds(lambda data: gzip.compress(data, 1, mtime=0), _JSON)
_OTHERS = damaged(_JSON, _TOKENS) | damaged(_GZIP) | st.binary(max_size=200)

# Bytes of a body that is cut at every place; a longer one is cut at one.
EVERYWHERE = 100


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Valid, nearly valid and senseless bodies."""
    valid = draw(st.booleans())
    body = draw(_JSON if valid else _OTHERS)
    return Case(body, draw(pieces(body)), draw(_ENCODINGS), draw(st.integers(0, len(body))), valid)


def check(case: Case) -> None:
    """Nothing raises; what is decoded is what the bytes say; what is not gives a place and quotes nothing."""
    document = _decoded(case.body)
    _decoded(case.body, case.encoding)
    _check_gzip(case, document)
    _check_cut(case, document)
    if isinstance(document, Unreadable):
        assert not case.valid
        return
    text = case.body.decode("utf-8-sig")
    expected = exactly(text)
    assert same(document, expected), (document, expected)
    _check_elements(text, document)
    if isinstance(document, dict | list):
        assert same(decode_partially(text.encode()), document)


def _decoded(body: bytes, encoding: str | None = None) -> object:
    document = decode(body, encoding)
    if isinstance(document, Unreadable):
        assert document.detail.startswith("body: ")
        assert CANARY not in repr(document)
        assert len(document.detail) <= DETAIL_LENGTH
    return document


def _check_gzip(case: Case, document: object) -> None:
    """Gzip says the same as its content, in one member or in several, once or twice; damaged, it stays in bounds."""
    packed = b"".join(gzip.compress(member, 1, mtime=0) for member in case.members or [b""])
    for body, encoding in ((packed, "gzip"), (gzip.compress(packed, 1, mtime=0), "gzip, gzip")):
        unpacked = decode(body, encoding)
        if isinstance(document, Unreadable):
            assert isinstance(unpacked, Unreadable)
            assert unpacked.detail == document.detail
        else:
            assert same(unpacked, document)
    broken = decompress(case.body, "gzip")
    assert isinstance(broken, Unreadable) or len(broken) <= BODY_LIMIT


def _check_cut(case: Case, document: object) -> None:
    """The beginning of a document, if anything can be read of it, says nothing that the whole does not say."""
    for cut in range(len(case.body)) if len(case.body) <= EVERYWHERE else (case.cut,):
        remains = decode_partially(case.body[:cut])
        if not isinstance(document, Unreadable) and remains is not None:
            assert begins(remains, document), (remains, document)


def _check_elements(text: str, document: object) -> None:
    """The elements of an array, decoded one by one, are those of the whole; of anything else there are none."""
    elements = array_elements(text)
    if not isinstance(document, list):
        assert elements is None
        return
    assert elements is not None
    assert same([exactly(element) for element in elements], document)
    assert all(element.decode() in text for element in elements)


def same(one: object, other: object) -> bool:
    """Whether two documents are equal in every digit and type: 1, 1.0, 1.00 and true are four values."""
    return type(one) is type(other) and (
        list(one) == list(other) and all(same(one[key], other[key]) for key in one)
        if isinstance(one, dict) and isinstance(other, dict)
        else len(one) == len(other) and all(map(same, one, other))
        if isinstance(one, list) and isinstance(other, list)
        else str(one) == str(other)
    )


def begins(part: object, whole: object) -> bool:
    """Whether `whole` begins with `part`, in which each list and object may end early; a fraction may lack digits."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and begins(value, whole[key]) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(map(begins, part, whole))
    return same(part, whole) or (isinstance(part, Decimal) and isinstance(whole, Decimal))


TARGET = Target("body", cases(), check)
