"""The cookie of clicks: any text, and every way of wrapping a map of them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import quote, quote_plus

from hypothesis import strategies as st

from consumer.core.clicks import COOKIE_NAME, ENCODED_LIMIT, LAYERS, parse_clicks
from consumer.core.identifier import to_identifier
from tests.fuzz.strategies import SCALARS, VALUES, altered, steps
from tests.fuzz.target import Target

# Calls: some for each cookie, and up to 8 for a character that is escaped, or no ASCII, in each of 5 wrappings.
STEPS = 1_000
STEPS_PER_CHARACTER = 40


@dataclass(frozen=True)
class Case:
    """What an event carries. `meant`: the clicks that a publisher put into it, if that is all that happened to it."""

    value: object
    cut: int
    meant: dict[str, str] | None = None


_IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8).filter(
    lambda text: not text.isspace()
)
_MAPS = st.dictionaries(_IDS, _IDS, max_size=5)


def _encoded(text: str) -> str:
    return quote(text, safe="!'()*-._~")


def _cookie(text: str) -> str:
    return f"Cookie: a={{b}}; {COOKIE_NAME}={_encoded(text)}; sid=%7B1%22"


def _quoted_cookie(text: str) -> str:
    return SimpleCookie({COOKIE_NAME: text}).output(header="Cookie:")


_WRAPPINGS: tuple[Callable[[str], str], ...] = (_encoded, quote_plus, json.dumps, _cookie, _quoted_cookie)


@st.composite
def _wrapped(draw: st.DrawFn) -> Case:
    clicks = draw(_MAPS)
    text = json.dumps(clicks, ensure_ascii=draw(st.booleans()))
    ways = draw(st.lists(st.sampled_from(_WRAPPINGS), max_size=3))
    layers = 0
    for wrap in ways:
        text = wrap(text)
        layers += 2 if wrap in {_cookie, _quoted_cookie} else 1
    readable = layers <= LAYERS and len(text) <= ENCODED_LIMIT
    return Case(text, draw(st.integers(0, len(text))), clicks if readable else None)


_TOKENS = (
    "%",
    "%2",
    "%22",
    "%7B",
    "%25",
    '"',
    '\\"',
    "\\054",
    "\\u00",
    ";",
    ",",
    "{",
    "}",
    ":",
    "+",
    f"{COOKIE_NAME}=",
    "\ud800",
    "\0",
    " " * 50,
)


@st.composite
def _damaged(draw: st.DrawFn) -> Case:
    text = str(draw(_wrapped()).value)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        new = draw(st.sampled_from(_TOKENS) | st.text(max_size=2)) * draw(st.sampled_from((1, 1, 1, 100)))
        text = text[:at] + new + text[at + draw(st.integers(0, 4)) :]
    return Case(text, draw(st.integers(0, len(text))))


_OTHERS = st.builds(
    Case,
    altered(_MAPS) | VALUES | st.dictionaries(SCALARS.filter(lambda key: key is not None), SCALARS, max_size=4),
    st.just(0),
)


def check(case: Case) -> None:
    """Clicks are pairs of identifiers; those that a publisher meant are found; a cut makes none up; work is bounded."""
    found = parse_clicks(case.value)
    text = case.value if isinstance(case.value, str) else None
    assert all(to_identifier(each) == each for pair in found.items() for each in pair)
    assert parse_clicks(found) == found
    if case.meant is not None:
        assert found == case.meant
    if text is not None:
        again, count = steps(lambda: parse_clicks(text))
        assert again == found
        assert count <= STEPS + STEPS_PER_CHARACTER * len(text), count
        assert sum(len(key) + len(value) for key, value in found.items()) <= len(text)
        cut = parse_clicks(text[: case.cut])
        if case.meant is not None:
            assert list(cut.items()) == list(found.items())[: len(cut)]


TARGET = Target("clicks", _wrapped() | _damaged() | _OTHERS, check)
