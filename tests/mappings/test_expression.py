"""JMESPath: our closures and the library agree, numbers stay exact, and our own functions do what they say."""

from decimal import Decimal
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.mappings.expression import compile_expression

NAMES = ("a", "b", "c")
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "x", "y"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=12,
)
EXPRESSIONS = (
    "a",
    "a.b.c",
    "a[0].b",
    "a[-1]",
    "a[5]",
    "@",
    "a || b || c",
    "a && b",
    "!a",
    "!a && b",
    "a == b",
    "a == 'x'",
    "a != 'x'",
    "a[?b != 'x']",
    "a == `1`",
    "a == `true`",
    "a[?b == 'x'].c",
    "a[?b].c | [0]",
    "a[?b == 'x' || c == 'y'] | [0]",
    "a[*].b",
    "a[].b[]",
    "a.*.b | [0]",
    "[a, b][][]",
    "{a: a, b: b}",
    "a[0:2]",
    "type(a)",
    "type(@)",
    "[a, 'x', b]",
    "not_null(a, 'x')",
    "to_array(a)[0]",
    "not_null(a, b)",
)


@given(document=DOCUMENTS)
@pytest.mark.parametrize("text", EXPRESSIONS)
def test_a_compiled_expression_finds_what_the_library_finds(text: str, document: Any) -> None:
    """The closures are a quicker way to the same answer."""
    assert compile_expression(text)(document) == jmespath.search(text, document)


def test_numbers_pass_through_exactly() -> None:
    """Neither a path nor a function makes a float of a number."""
    document = {"a": Decimal("0.1"), "b": 820982911946154508, "c": "12.340"}
    for text, expected in (
        ("a", "0.1"),
        ("b", "820982911946154508"),
        ("to_number(c)", "12.340"),
        ("sum([a, a])", "0.2"),
    ):
        found = compile_expression(text)(document)
        assert isinstance(found, int | Decimal)
        assert str(found) == expected
    assert compile_expression("type(a)")(document) == "number"
    assert compile_expression("a > `0`")(document) is True


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("last_segment('/a/b/MUG_BLUE')", "MUG_BLUE"),
        ("last_segment('gid://shopify/Order/12')", "12"),
        ("last_segment('urn:message:Shop:OrderPaid')", "OrderPaid"),
        ("last_segment('plain')", "plain"),
        ("last_segment(`7`)", None),
        ("from_json('{\"a\": 0.10}').a", Decimal("0.10")),
        ("from_json('nonsense')", None),
        ("from_base64('T3JkZXI6MQ==')", "Order:1"),
        ("from_base64('T3JkZXI6MQ')", "Order:1"),
        ("from_base64('***')", None),
        ('entries(`{"p": 2}`)', [{"key": "p", "value": 2}]),
        ("entries(`[]`)", None),
        ("has(`{\"a\": null}`, 'a')", True),
        ("has(`{}`, 'a')", False),
        ("to_number('x')", None),
        ("to_number(`true`)", None),
        ("subtract(`3`, `1`)", 2),
    ],
)
def test_our_own_functions(text: str, found: object) -> None:
    """As docs/mappings.md lists them."""
    assert compile_expression(text)({}) == found


def test_a_function_that_meets_another_type_finds_nothing() -> None:
    """An event that is not as expected is no reason to raise."""
    assert compile_expression("contains(a, 'x')")({"a": 7}) is None
    assert compile_expression("length(a)")({}) is None
    assert compile_expression("a < b")({"a": 1, "b": "x"}) is None
