"""JMESPath: our closures and the library agree, numbers stay exact, and our own functions do what they say."""

from decimal import Decimal
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.mappings.expression import DEPTH_LIMIT, ExpressionError, compile_expression

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
    assert compile_expression("has(@, a)")({"a": {}}) is None
    assert compile_expression("has(@, a)")({"a": ["x"]}) is None
    assert compile_expression("a < b")({"a": 1, "b": "x"}) is None


PRICES = {"a": [{"p": Decimal("9.90"), "n": 1}, {"p": 10, "n": 2}, {"p": Decimal("0.10"), "n": 3}]}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`1.10`", "1.1"),
        ('`{"a": [0.1]}`.a[0]', "0.1"),
        ("a[?p == `9.9`].n | [0]", "1"),
        ("a[?p < `9.9`].n | [0]", "3"),
        ("subtract(a[1].p, `0.1`)", "9.9"),
        ("sort_by(a, &p)[0].n", "3"),
        ("min_by(a, &p).n", "3"),
        ("max_by(a, &p).n", "2"),
        ("max(a[*].p)", "10"),
        ("sum(a[*].p)", "20.00"),
        ("sum(a[*].n)", "6"),
        ("sum(`[]`)", "0"),
        ("avg(a[*].n)", "2"),
        ("avg(a[:2].p)", "9.95"),
        ("abs(`-0.5`)", "0.5"),
        ("abs(`-5`)", "5"),
        ("ceil(a[0].p)", "10"),
        ("floor(a[0].p)", "9"),
        ("ceil(`-0.5`)", "0"),
        ("ceil(`7`)", "7"),
        ("to_string(a[0].p)", "9.90"),
        ("to_string(a[2])", '{"p":0.10,"n":3}'),
        ("to_string([a[2].p, `true`])", "[0.10,true]"),
    ],
)
def test_functions_and_numbers_between_backticks_are_exact(text: str, found: str) -> None:
    """A price of the event is a decimal, and so is what it is compared, sorted, summed and spelled with."""
    value = compile_expression(text)(PRICES)
    assert isinstance(value, int | Decimal | str)
    assert str(value) == found


def test_a_sum_is_exact_to_the_last_digit_or_found_nothing() -> None:
    """Forty digits are not rounded to the 28 of Python's own context; what no amount could hold is not worked out."""
    long = Decimal("1234567890123456789012345678901234567.891")
    tenth = Decimal("0.1")
    assert compile_expression("sum([a, b])")({"a": long, "b": tenth}) == Decimal(
        "1234567890123456789012345678901234567.991"
    )
    assert compile_expression("subtract(a, b)")({"a": long, "b": long}) == 0
    assert compile_expression("abs(a)")({"a": long.copy_negate()}) == long
    assert compile_expression("sum([a, b])")({"a": Decimal("1e300"), "b": tenth}) is None


@pytest.mark.parametrize("function", ["ceil", "floor"])
def test_a_number_of_a_billion_digits_is_not_spelled_out(function: str) -> None:
    """It takes twelve characters to write, and would take the memory of the machine as an integer."""
    assert compile_expression(f"{function}(a)")({"a": Decimal("1e999999999")}) is None
    assert compile_expression(f"{function}(a)")({"a": Decimal("-1e-999999")}) in {0, -1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("&a", "& begins an argument of"),
        ("[&a, b]", "& begins an argument of"),
        ("to_array(&a)", "& begins an argument of"),
        ("not_null(a, &b)", "& begins an argument of"),
        ("sort_by(&a, &b)", "& begins an argument of"),
        ("a == `NaN`", "expected JSON between backticks"),
        ("a < `[1e999]`", "expected JSON between backticks"),
        ("(" * 1_000 + "a", "expected at most"),
        ("!" * (DEPTH_LIMIT + 1) + "a", "expected at most"),
        ("!" * 500 + "a", "expected at most"),
    ],
)
def test_what_could_fail_at_an_order_is_refused_when_it_is_compiled(text: str, problem: str) -> None:
    """The library takes these, and raises or finds something that is no JSON once there is an event."""
    with pytest.raises(ExpressionError, match=problem):
        compile_expression(text)


def test_nesting_is_taken_up_to_its_limit() -> None:
    """Far deeper than anybody writes, and far from where Python gives up."""
    assert compile_expression("!" * (DEPTH_LIMIT - 1) + "a")({"a": 1}) is False
    assert compile_expression("[" * (DEPTH_LIMIT - 1) + "a" + "]" * (DEPTH_LIMIT - 1))({"a": 1}) is not None
