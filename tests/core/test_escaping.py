"""Text of strangers is shown without effect, and JSON still says what it said."""

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.core.escaping import escaped, escaped_json

# C0, DEL, C1, soft hyphen, bidirectional marks, separators, zero width, lone surrogates, and printables without ink.
UNSAFE = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\u115f\u3164\ufe0f\U000e0020]"
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ORD-1", "ORD-1"),
        (r"[/x] [bold] :bomb: C:\dir", r"[/x] [bold] :bomb: C:\dir"),
        ("ñ 😀 日本 é", "ñ 😀 日本 é"),
        ("\x1b]0;t\x07\x1b[2J", r"\x1b]0;t\x07\x1b[2J"),
        ("a\nb\r\tc\0", r"a\nb\r\tc\x00"),
        ("\x7f\x9b31m\xa0\xad", r"\x7f\x9b31m\xa0\xad"),
        ("\u202e\u2066\u061c\u200b\u2028\ufeff", r"\u202e\u2066\u061c\u200b\u2028\ufeff"),
        ("\u115f\u3164\ufe0f\u2800\U000e0020", r"\u115f\u3164\ufe0f\u2800\U000e0020"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_does_not_show_as_itself_is_escaped(text: str, shown: str) -> None:
    """Everything else, brackets, backslashes and letters of any script included, stays as it is."""
    assert escaped(text) == shown


@given(st.text(st.characters(codec=None)))
def test_a_text_is_one_line_without_effect(text: str) -> None:
    """Whatever the text, nothing of the dangerous kinds is left in it."""
    assert escaped(text).isprintable()
    assert UNSAFE.search(escaped(text)) is None


@example("\ud800", False, False)
@given(
    st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)),
    st.booleans(),
    st.booleans(),
)
def test_json_stays_what_it_was(value: object, pretty: bool, ascii_only: bool) -> None:
    """Compact or over several lines: parsed, it is the original; as text it has no effect on a terminal."""
    document = escaped_json(json.dumps(value, ensure_ascii=False, indent=2 if pretty else None), ascii_only=ascii_only)
    assert document.isascii() or not ascii_only
    assert json.loads(document) == value
    assert UNSAFE.search(document.replace("\n", "")) is None
