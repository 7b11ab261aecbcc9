"""Identifiers are taken exactly as they come, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.identifier import IDENTIFIER_LENGTH, NotAnIdentifier, to_identifier


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ORD-1", "ORD-1"),
        (" ORD-1 ", " ORD-1 "),
        ("0012", "0012"),
        ("ñ\x01\x1b[2J\u202e", "ñ\x01\x1b[2J\u202e"),
        (0, "0"),
        (-7, "-7"),
        (12345678901234567890123, "12345678901234567890123"),
        ("x" * IDENTIFIER_LENGTH, "x" * IDENTIFIER_LENGTH),
        (10 ** (IDENTIFIER_LENGTH - 1), "1" + "0" * (IDENTIFIER_LENGTH - 1)),
    ],
)
def test_texts_and_integers_are_taken_exactly(value: object, expected: str) -> None:
    """No trimming, no leading zero lost, every digit of an integer kept."""
    assert to_identifier(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "text or an integer"),
        (True, "text or an integer"),
        (1.0, "text or an integer"),
        ([], "text or an integer"),
        ({}, "text or an integer"),
        ("", "text that is not blank"),
        (" \t\u00a0", "text that is not blank"),
        ("x" * (IDENTIFIER_LENGTH + 1), "an identifier of at most 512 characters"),
        (10**IDENTIFIER_LENGTH, "an identifier of at most 512 characters"),
        (-(10 ** (IDENTIFIER_LENGTH - 1)), "an identifier of at most 512 characters"),
        pytest.param(10**5000, "an identifier of at most 512 characters", id="5001 digits"),
    ],
)
def test_everything_else_is_refused(value: object, expected: str) -> None:
    """Each with what would have done; an integer past what Python prints, too."""
    assert to_identifier(value) == NotAnIdentifier(expected)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("\0", "U+0000 at character 1"),
        ("ORD\0", "U+0000 at character 4"),
        ("ñ\0", "U+0000 at character 2"),
        ("ORD-\ud800", "U+D800 at character 5"),
        ("\udfffx", "U+DFFF at character 1"),
    ],
)
def test_nul_and_lone_surrogates_are_refused(value: str, found: str) -> None:
    """What a database or UTF-8 cannot hold is named by its code and its place, and the rest of the text is not."""
    assert to_identifier(value) == NotAnIdentifier("text without NUL and lone surrogates", found)


@given(st.integers())
def test_an_integer_is_its_digits(number: int) -> None:
    """The text of an integer is that integer again."""
    text = to_identifier(number)
    assert isinstance(text, str)
    assert int(text) == number
