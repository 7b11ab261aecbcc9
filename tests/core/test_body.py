"""Bodies: whatever arrives, a document or a reason that quotes nothing; never much memory, never an exception."""

import gzip
import json
import tracemalloc
import zlib
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.body import BODY_LIMIT, MEMBER_LIMIT, VALUE_LIMIT, Unreadable, decode, decode_partially, decompress

QUICK = settings(max_examples=150, deadline=None)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def reason(body: bytes, content_encoding: str | None = None) -> str:
    document = decode(body, content_encoding)
    assert isinstance(document, Unreadable), document
    return document.detail


def test_numbers_are_exact() -> None:
    """Integers of any length and decimals of any length come through digit by digit."""
    document = decode(b'{"a": 12345678901234567890123, "b": 0.1, "c": 5e-18, "d": 1.10, "e": -0.0}')
    assert document == {
        "a": 12345678901234567890123,
        "b": Decimal("0.1"),
        "c": Decimal("5E-18"),
        "d": Decimal("1.10"),
        "e": Decimal("-0.0"),
    }


@QUICK
@given(JSON)
def test_any_document_comes_back_as_it_was(document: object) -> None:
    """JSON written by anybody reads as what they wrote, plain or in gzip, with or without a byte order mark."""
    body = json.dumps(document, ensure_ascii=False).encode(errors="replace")
    expected = json.loads(body)
    assert decode(body) == expected
    assert decode(b"\xef\xbb\xbf" + body) == expected
    assert decode(gzip.compress(body, 1), "gzip") == expected


@QUICK
@given(
    st.binary(max_size=300), st.none() | st.sampled_from(["gzip", "br", "utf-8", "gzip, gzip"]) | st.text(max_size=20)
)
def test_any_bytes_give_a_value(body: bytes, content_encoding: str | None) -> None:
    """No bytes and no content-encoding raise; what cannot be read says that it is the body."""
    document = decode(body, content_encoding)
    assert not isinstance(document, Unreadable) or document.detail.startswith("body: ")


@QUICK
@given(st.binary(max_size=60), st.integers(0, 80), st.binary(max_size=4))
def test_damaged_gzip_gives_a_value(content: bytes, place: int, damage: bytes) -> None:
    """Bytes written over any place of a gzip body lead to a document or a reason."""
    body = gzip.compress(content)
    decode(body[:place] + damage + body[place + len(damage) :], "gzip")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "body: empty"),
        (b" \r\n\t", "body: empty"),
        (b"\xef\xbb\xbf", "body: empty"),
        (b'{"a": "caf\xe9"}', "body: not UTF-8 at byte 11"),
        (b'\xef\xbb\xbf"\xe9"', "body: not UTF-8 at byte 5"),
        (b"\xff\xfe{\x00}\x00", "body: not UTF-8 at byte 1"),
        (b'"\xed\xa0\x80"', "body: not UTF-8 at byte 2"),
        (b'{"a" 1}', "body: not JSON: expected `:` at line 1 column 6"),
        (b'{"a": 1}\n{"a": 2}', "body: not JSON: trailing characters at line 2 column 1"),
        (b'{"a": 1', "body: not JSON: EOF while parsing an object at line 1 column 7"),
        (b'{"a": NaN}', "body: not JSON: NaN or Infinity at line 1 column 7"),
        (b"[1, -Infinity]", "body: not JSON: NaN or Infinity at line 1 column 6"),
        (b"[" * 10_000, "body: not JSON: recursion limit exceeded at line 1 column 202"),
        (b"[1e99999999999999999999]", "body: not JSON: number out of range at line 1 column 24"),
        (b"[" + b"9" * 5000 + b"]", "body: not JSON: number out of range at line 1 column 4303"),
        (b'"\\ud800"', "body: not JSON: unexpected end of hex escape at line 1 column 8"),
        (
            gzip.compress(b"{}", mtime=0),
            "body: not UTF-8 at byte 2; it looks like gzip, which content-encoding does not say",
        ),
    ],
)
def test_the_reason_says_what_and_where(body: bytes, expected: str) -> None:
    """Every way of not being JSON has words of its own, and a place where there is one."""
    assert reason(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "Jane Doe", "total": NaN}',
        b'{"name": "Jane Doe"',
        b'{"name": "Jane Doe\xff"}',
        b'{"name": Jane Doe}',
        b'{"Jane Doe" 1}',
        b'{"n": "Jane Doe\x01"}',
        b"Jane Doe",
        b'[1e99999999999999999999, "Jane Doe"]',
    ],
)
def test_the_reason_quotes_nothing(body: bytes) -> None:
    """Reasons go into logs and headers; what stood in the body does not, not even by the value's repr."""
    document = decode(body)
    assert isinstance(document, Unreadable)
    assert "Jane" not in repr(document)


def test_what_can_be_read_of_a_broken_body_is_kept() -> None:
    """A body that breaks off, has a NaN, is no UTF-8, or has something after it, still tells which order it was."""
    for broken in (
        b'{"orderId": "ORD-1", "lines": [{"sku',
        b'{"orderId": "ORD-1", "total": NaN}',
        b'{"orderId": "ORD-1", "name": "caf\xe9"}',
        b'\xef\xbb\xbf{"orderId": "ORD-1"} and more',
    ):
        document = decode(broken)
        assert isinstance(document, Unreadable)
        assert isinstance(document.remains, dict)
        assert document.remains["orderId"] == "ORD-1"


@pytest.mark.parametrize("content_encoding", ["gzip", "x-gzip", "GZIP", " gzip ", "gzip, utf-8", "identity, gzip"])
def test_gzip_is_undone(content_encoding: str) -> None:
    """Whatever the spelling, and whatever else stands beside it."""
    assert decode(gzip.compress(b'{"a": 1}'), content_encoding) == {"a": 1}


def test_gzip_upon_gzip_is_undone() -> None:
    """As often as content-encoding says."""
    assert decode(gzip.compress(gzip.compress(b"[1]")), "gzip, gzip") == [1]


@pytest.mark.parametrize("content_encoding", [None, "", "utf-8", "UTF-8", "identity", "binary", "8bit", ",,"])
def test_what_names_no_compression_is_let_through(content_encoding: str | None) -> None:
    """Publishers put charsets and other things into content-encoding; the body is JSON all the same."""
    assert decode(b'{"a": 1}', content_encoding) == {"a": 1}


@pytest.mark.parametrize("content_encoding", ["br", "deflate", "zstd", "ZSTD", "gzip, br", "br, gzip"])
def test_other_compressions_are_refused_by_name(content_encoding: str) -> None:
    """A compression that is not undone is named, rather than its bytes called no JSON."""
    name = content_encoding.lower().replace("gzip", "").strip(" ,")
    body = gzip.compress(b"{}")
    assert reason(body, content_encoding) == f"body: content-encoding {name} is not undone, only gzip is"


def test_gzip_members_are_joined() -> None:
    """Gzip files put one after the other are one, and zeros after the last are padding."""
    body = gzip.compress(b'{"a"') + gzip.compress(b"") + gzip.compress(b": 1}") + b"\0\0\0"
    assert decode(body, "gzip") == {"a": 1}


def test_broken_gzip_says_so() -> None:
    """Not gzip, cut short, with a wrong checksum, or with something else after it: each is told as what it is."""
    body = gzip.compress(b'{"a": 1}')
    assert reason(b'{"a": 1}', "gzip") == "body: broken gzip in the member that starts at byte 1"
    assert reason(body + b"garbage", "gzip") == f"body: broken gzip in the member that starts at byte {len(body) + 1}"
    assert reason(body[:-8] + b"\0" + body[-7:], "gzip") == "body: broken gzip in the member that starts at byte 1"
    assert reason(body[:-1], "gzip") == f"body: gzip breaks off after {len(body) - 1} bytes"
    assert reason(b"", "gzip") == "body: gzip breaks off after 0 bytes"


def test_the_limit_is_exact() -> None:
    """A body of just the limit is read; one byte more is not, whether it arrives so or grows so."""
    largest = b'"' + b"x" * (BODY_LIMIT - 2) + b'"'
    assert decode(largest) == "x" * (BODY_LIMIT - 2)
    assert decode(gzip.compress(largest), "gzip") == "x" * (BODY_LIMIT - 2)
    assert reason(largest + b" ") == "body: 1,048,577 bytes; at most 1,048,576 are taken"
    grown = gzip.compress(largest) + gzip.compress(b" ")
    assert reason(grown, "gzip") == "body: more than 1,048,576 bytes once gzip is undone; at most that many are taken"


def test_a_bomb_costs_no_memory() -> None:
    """A body that would grow to 100 MiB is given up when it has grown past the limit."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    megabyte = b"\0" * 2**20
    bomb = b"".join(packer.compress(megabyte) for _ in range(100)) + packer.flush()
    assert len(bomb) <= BODY_LIMIT
    tracemalloc.start()
    try:
        assert isinstance(decompress(bomb, "gzip"), Unreadable)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * BODY_LIMIT


def test_members_are_counted() -> None:
    """A body of nothing but tiny gzip members is given up; the limit itself is let through."""
    member = gzip.compress(b"")
    assert decode(member * (MEMBER_LIMIT - 1) + gzip.compress(b"1"), "gzip") == 1
    assert reason(member * (BODY_LIMIT // len(member)), "gzip") == "body: more than 64 gzip members"


def test_a_limit_below_the_usual_counts_what_is_unpacked() -> None:
    """Whether a body is small can be asked without unpacking more of it than that."""
    body = gzip.compress(b"x" * 100)
    assert decompress(body, "gzip", limit=100) == b"x" * 100
    assert isinstance(decompress(body, "gzip", limit=99), Unreadable)
    assert decompress(b"x" * 100, "utf-8", limit=100) == b"x" * 100
    assert isinstance(decompress(b"x" * 100, limit=99), Unreadable)


@pytest.mark.parametrize("value", ["0", "{}", "[]"], ids=["numbers", "objects", "lists"])
def test_values_are_counted_before_any_of_them_is_made(value: str) -> None:
    """A megabyte of brackets would be half a million lists. The detail has the number that is taken."""
    each = 1 if value == "0" else 2
    number = VALUE_LIMIT // each - 1
    document = decode(f"[{','.join([value] * number)}]".encode())
    assert isinstance(document, list)
    assert len(document) == number
    many = f"[{','.join([value] * (number + 3))}]".encode()
    assert reason(many) == "body: more than 100,000 values, by its commas and brackets; at most that many are taken"
    assert decode_partially(many) is None


@pytest.mark.parametrize("number", [b"7" * 900_000, b"7" * 900_000 + b".5", b"-" + b"7" * 5_000], ids=len)
def test_numbers_of_endless_digits_are_refused_with_their_place(number: bytes) -> None:
    """Python takes seconds to make an integer of a million digits, and no id or amount has four thousand."""
    assert reason(b'{"orderId":' + number + b"}").startswith("body: not JSON: number out of range at line 1 column")


@QUICK
@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers(), max_size=5), st.data())
def test_a_cut_document_keeps_what_is_whole(document: dict[str, str | int], data: st.DataObject) -> None:
    """Wherever the text is cut, entries that stand whole before the cut are read, and none that is not as it was."""
    whole = json.dumps(document).encode()
    cut = whole[: data.draw(st.integers(1, len(whole)))]
    remains = decode_partially(cut)
    assert isinstance(remains, dict)
    assert remains.items() <= document.items()
    # Entry n stands whole once the comma (or brace) after it is there, and with a closing quote even before that.
    present = [key for n, key in enumerate(document) if cut.startswith(head(document, n + 1))]
    assert list(remains)[: len(present)] == present


def head(document: dict[str, str | int], entries: int) -> bytes:
    """The JSON text of the first entries, without the closing brace, and with what ends a number."""
    first = dict(list(document.items())[:entries])
    return json.dumps(first).encode()[:-1] + (b"}" if entries == len(document) else b",")
