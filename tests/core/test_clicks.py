"""Clicks: every form that the cookie arrives in, cut anywhere, and everything that is no such cookie."""

import json
import time
from collections.abc import Callable
from http.cookies import SimpleCookie
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.clicks import COOKIE_LIMIT, ENCODED_LIMIT, parse_clicks

QUICK = settings(max_examples=150, deadline=None)

CLICKS = {"SKU-001": "log_aaa", "A B+c": "log/ö", "x,y:z": 'q"\\{}%41', "ñ😀": "log 2"}

# Any identifiers.
_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
IDS = st.text(_CHARACTERS, min_size=1, max_size=8).filter(lambda text: not text.isspace())
MAPS = st.dictionaries(IDS, IDS, max_size=5)


def plain(clicks: dict[str, str]) -> str:
    return json.dumps(clicks, ensure_ascii=False, separators=(",", ":"))


def component(text: str) -> str:
    """What JavaScript's encodeURIComponent writes."""
    return quote(text, safe="!'()*-._~")


def js_cookie(text: str) -> str:
    """What the js-cookie library writes: braces, colons and plus signs stay as they are."""
    return quote(text, safe="#$&+:<>/?@[]^`{|}=")


# Form by form, what a publisher makes of the clicks.
FORMS: dict[str, Callable[[dict[str, str]], str]] = {
    "JSON text": plain,
    "JSON text in ASCII": json.dumps,
    "JSON text, indented": lambda clicks: "\r\n" + json.dumps(clicks, indent=2),
    "JSON text with a byte order mark": lambda clicks: "\ufeff" + plain(clicks),
    "JSON text as a JSON string": lambda clicks: json.dumps(json.dumps(clicks)),
    "encoded": lambda clicks: component(plain(clicks)),
    "encoded, every character": lambda clicks: "".join(f"%{byte:02x}" for byte in plain(clicks).encode()),
    "encoded twice": lambda clicks: component(component(plain(clicks))),
    "encoded as a form": lambda clicks: quote_plus(json.dumps(clicks)),
    "encoded as a form twice": lambda clicks: quote_plus(quote_plus(json.dumps(clicks))),
    "encoded by js-cookie": lambda clicks: js_cookie(plain(clicks)),
    "name and value": lambda clicks: "neuroon_clicks=" + component(plain(clicks)),
    "name and value, encoded twice": lambda clicks: "neuroon_clicks=" + component(component(plain(clicks))),
    "Cookie header's value": lambda clicks: "sid=%7B1%22; a={b}; neuroon_clicks=" + component(plain(clicks)),
    "Cookie header": lambda clicks: "Cookie: sid=1; neuroon_clicks=" + component(plain(clicks)),
    "Cookie header by js-cookie": lambda clicks: "cookie:neuroon_clicks=" + js_cookie(plain(clicks)),
    "Cookie header, quoted": lambda clicks: f'Cookie: neuroon_clicks="{component(plain(clicks))}"',
    "Cookie header by http.cookies": lambda clicks: SimpleCookie({"neuroon_clicks": json.dumps(clicks)}).output(
        header="Cookie:"
    ),
    "Cookie header by http.cookies, as a JSON string": lambda clicks: json.dumps(
        SimpleCookie({"neuroon_clicks": json.dumps(clicks)}).output(header="Cookie:")
    ),
    "Cookie header, encoded": lambda clicks: component("Cookie: a=b; neuroon_clicks=" + component(plain(clicks))),
}
FORM = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())


@FORM
def test_every_form_is_read(form: Callable[[dict[str, str]], str]) -> None:
    """However the cookie was wrapped on its way, the same entries come out."""
    assert parse_clicks(form(CLICKS)) == CLICKS


@FORM
@settings(QUICK, max_examples=40)
@given(clicks=MAPS)
def test_every_form_of_any_clicks_is_read(form: Callable[[dict[str, str]], str], clicks: dict[str, str]) -> None:
    """Whatever characters the ids are made of."""
    assert parse_clicks(form(clicks)) == clicks


@FORM
def test_text_cut_anywhere_gives_its_whole_entries(form: Callable[[dict[str, str]], str]) -> None:
    """At every single place: nothing that was not there, and every entry that stands whole before the cut.

    Entry n stands whole as soon as the text has what all forms of the map with n entries, and of the whole map, begin
    with, up to the closing quote.
    """
    text = form(CLICKS)
    entries = list(CLICKS.items())
    ends = [common_length(text, form(dict(entries[:n]))) for n in range(1, len(entries))]
    for cut in range(len(text)):
        found = parse_clicks(text[:cut])
        assert found.items() <= CLICKS.items()
        assert list(found.items()) == entries[: len(found)]
        assert len(found) >= sum(end <= cut for end in ends)


@QUICK
@given(MAPS, st.sampled_from(sorted(FORMS)), st.data())
def test_any_clicks_cut_anywhere_give_whole_entries(clicks: dict[str, str], form: str, data: st.DataObject) -> None:
    """The same for ids of any characters: a cut never makes an entry up, and never loses one before it."""
    text = FORMS[form](clicks)
    cut = data.draw(st.integers(0, len(text)))
    found = parse_clicks(text[:cut])
    assert found.items() <= clicks.items()
    assert list(found) == list(clicks)[: len(found)]


def common_length(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    return next(
        (n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":"1","b":12', {"a": "1"}),
        ('{"a":"1","b":-', {"a": "1"}),
        ('{"a":"1","b": 12 ', {"a": "1", "b": "12"}),
        ('{"a":"1","b":12,', {"a": "1", "b": "12"}),
        ('{"a":"1","b":12}', {"a": "1", "b": "12"}),
        ('{"a":"1","b":"2"', {"a": "1", "b": "2"}),
        ('{"a":"1","b":"2', {"a": "1"}),
        ('{"a":"1","b":"\\u00e', {"a": "1"}),
        ('{"a":"1","b":"\\u0012', {"a": "1"}),
        ('{"a":"1","b":"\\ud83d\\ude0', {"a": "1"}),
        ("%7B%22a%22%3A%221%22%2C%22b%22%3A%22%C3", {"a": "1"}),
        ("%7B%22a%22%3A%221%22%2", {"a": "1"}),
        ("%7B%22a%22%3A%221%22%", {"a": "1"}),
        ("%257B%2522a%2522%253A%25221%2522%25", {"a": "1"}),
        ("%257B%2522a%2522%253A%25221%2522%252", {"a": "1"}),
        ("%257B%2522a%2522%253A%25221%2522%2", {"a": "1"}),
        ("neuroon_clicks=%7B%22a%22%3A%221%22%2; sid=%22%7D", {"a": "1"}),
        ('neuroon_clicks={"a":"1","b":"lo; sid="x"', {"a": "1"}),
        ('Cookie: neuroon_clicks="{\\"a\\": \\"1\\"\\05', {"a": "1"}),
    ],
)
def test_what_the_cut_goes_through_is_dropped(text: str, expected: dict[str, str]) -> None:
    """Half an escape, half a character, half a number: gone, and nothing whole with it."""
    assert parse_clicks(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": "1"}, {"a": "1"}),
        ({"a": 1, "b": 12345678901234567890}, {"a": "1", "b": "12345678901234567890"}),
        ({7: "1"}, {"7": "1"}),
        ({"a": "1", "b": None, "c": True, "d": 1.5, "e": [], "f": {}, "g": "", "h": " "}, {"a": "1"}),
        ({"": "1", " ": "2", None: "3", "a": "4"}, {"a": "4"}),
        ({"a": "1", "b" * 513: "2", "c": "3" * 513}, {"a": "1"}),
        ('{"a":"1","b":null,"c":1e3,"d":[1],"e":NaN}', {"a": "1"}),
        ('{"a":"1"} and more', {"a": "1"}),
    ],
)
def test_what_is_no_entry_is_passed_over(value: object, expected: dict[str, str]) -> None:
    """Entry by entry: the others stay."""
    assert parse_clicks(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, 12, 1.5, [], [["a", "b"]], (), b'{"a":"1"}', {}),
        *("", " ", "null", "[]", "{}", "{", '"', '""', "%", "%7B", "%25", "+", "%%%", "%zz", "=", ";", "\\", '"\\'),
        *("neuroon_clicks", "neuroon_clicks=", "neuroon_clicks=;", "Cookie:", "Cookie: sid=1", "true", "12", "a=b"),
        *(
            "xneuroon_clicks=%7B%22a%22%3A%221%22%7D",
            "neuroon_clicks_old=%7B%22a%22%3A%221%22%7D",
            "{a:1}",
            "{'a':'1'}",
        ),
        *('["a","1"]', '{"a":"1",,}', "\ud800", '{"\ud800', "\0", '{"a":' + "[" * 1000, "9" * 5000),
        '"' * 7 + '{"a":"1"}',
    ],
)
def test_garbage_is_no_clicks(value: object) -> None:
    """Anybody can write anything into a cookie: it means "not attributed", never an error."""
    assert parse_clicks(value) == {}


@QUICK
@given(
    st.text(max_size=40)
    | st.text(alphabet='{}":,%25270aBdDuU\\+=; neuroon_clicks', max_size=60)
    | st.dictionaries(st.text(max_size=3) | st.integers() | st.none(), st.text(max_size=3) | st.integers() | st.none())
    | st.lists(st.integers(), max_size=3)
)
def test_any_value_gives_a_map_of_texts(value: object) -> None:
    """Whatever comes, what goes out are pairs of texts that are not blank."""
    found = parse_clicks(value)
    assert all(type(text) is str and text.strip() for pair in found.items() for text in pair)
    assert parse_clicks(value) == found


def test_the_first_cookie_with_an_entry_counts() -> None:
    """A browser may send several of one name, for different paths; empty and broken ones are passed over."""
    header = "Cookie: neuroon_clicks=; neuroon_clicks=%7B%7D; neuroon_clicks={x}; "
    assert parse_clicks(header + 'neuroon_clicks={"a":"1"}; neuroon_clicks={"a":"2"}') == {"a": "1"}


def test_other_cookies_are_not_looked_into() -> None:
    """Neither a cookie that looks like ours, nor one whose name only ends or begins like ours."""
    header = (
        'a={"x":"1"}; not_neuroon_clicks={"x":"2"}; neuroon_clicks2={"x":"3"}; neuroon_clicks={"y":"4"}; z={"x":"5"}'
    )
    assert parse_clicks(header) == {"y": "4"}


def test_escapes_inside_a_map_are_left_alone() -> None:
    """Text that is JSON already is not decoded once more: an id may have a percent sign or a plus."""
    assert parse_clicks('{"100%25": "a+b"}') == {"100%25": "a+b"}


def test_wrapped_text_is_read_up_to_a_limit() -> None:
    """Past it, the text counts as cut off; JSON text, which costs nothing to unwrap, has no limit."""
    clicks = {f"SKU-{n}": "log" for n in range(10_000)}
    assert parse_clicks(plain(clicks)) == clicks
    found = parse_clicks(component(plain(clicks)))
    assert found.items() < clicks.items()
    assert len(component(plain(found))) in range(ENCODED_LIMIT - 50, ENCODED_LIMIT + 50)


MEGABYTE = 2**20


@pytest.mark.parametrize(
    "piece",
    [
        *("%41", "%25", "%2525", "%", "{", '{"', '"{', '"', '"\\', "\\054", " ", "é", "+", '{"a":"', '{"a":1'),
        *("neuroon_clicks ", "neuroon_clicks=;", 'neuroon_clicks={"', "neuroon_clicks={", "neuroon_clicks=%22;"),
        pytest.param("neuroon_clicks" + " " * 1000, id="neuroon_clicks and spaces"),
    ],
)
def test_a_megabyte_of_anything_is_read_in_no_time(piece: str) -> None:
    """No text is looked at again and again: a second of the processor is ten times what the worst of them needs."""
    for prefix in ("", '"', "%", "neuroon_clicks="):
        before = time.process_time()
        assert len(parse_clicks(prefix + piece * (MEGABYTE // len(piece)))) <= 1
        assert time.process_time() - before < 1


def test_cookies_beyond_the_limit_are_not_looked_at() -> None:
    """As many of our name as a browser would ever send, and no more."""
    ours = 'neuroon_clicks={"a":"1"}'
    assert parse_clicks("neuroon_clicks=x;" * (COOKIE_LIMIT - 1) + ours) == {"a": "1"}
    assert parse_clicks("neuroon_clicks=x;" * COOKIE_LIMIT + ours) == {}
