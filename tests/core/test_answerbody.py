"""Bodies of answers that are compressed."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.answerbody import inflate

TEXT = b'{"message": "orderValue must be >= 0"}'


def raw_deflate(text: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush()


@pytest.mark.parametrize(
    ("body", "codings", "plain"),
    [
        (TEXT, None, TEXT),
        (TEXT, "identity", TEXT),
        (gzip.compress(TEXT), "gzip", TEXT),
        (gzip.compress(TEXT), " X-GZip ", TEXT),
        (zlib.compress(TEXT), "deflate", TEXT),
        (raw_deflate(TEXT), "deflate", TEXT),
        (gzip.compress(zlib.compress(TEXT)), "deflate, gzip", TEXT),
        (gzip.compress(TEXT)[:40], "gzip", TEXT[:16]),
        (TEXT, "gzip", b""),
        (TEXT, "deflate", b""),
        (b"\x0b\x02\x80hi\x03", "br", b""),
        (gzip.compress(gzip.compress(gzip.compress(TEXT))), "gzip, gzip, gzip", b""),
    ],
)
def test_inflate(body: bytes, codings: str | None, plain: bytes) -> None:
    """What gateways use is undone, in its order, as far as it came; anything else is no text to show."""
    found = inflate(body, codings, 1000)
    assert found == plain or (plain and found.startswith(plain) and TEXT.startswith(found))


def test_no_bomb() -> None:
    """No more is inflated than was asked for, however much a body would become."""
    bomb = gzip.compress(gzip.compress(b"\0" * 50_000_000))
    assert len(inflate(bomb, "gzip, gzip", 1000)) <= 1000


@given(st.binary(), st.lists(st.sampled_from(["gzip", "deflate", "br", "identity", "", "x"]), max_size=4).map(",".join))
def test_no_body_is_an_error(body: bytes, codings: str) -> None:
    """Whatever a server calls its bytes, a text comes of them or none."""
    assert len(inflate(body, codings, 100)) <= max(100, len(body))
