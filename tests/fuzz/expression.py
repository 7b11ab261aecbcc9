"""The language of mappings: expressions of any kind, over documents of any kind."""

import copy
import warnings
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import jmespath
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError

from consumer.mappings.expression import Expression, ExpressionError, compile_expression
from consumer.mappings.functions import FUNCTIONS
from tests.fuzz.body import same
from tests.fuzz.strategies import CANARY, SCALARS, damaged, spelled
from tests.fuzz.target import Target

# Bits that an integer may gain on its way: a sum of a few has a few more than the largest of them.
GROWTH = 64

_NAMES = ("a", "b", "c")
_PLAIN_SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(("", "x", "y"))


def _documents(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    values = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=3)
    )
    return st.fixed_dictionaries(dict.fromkeys(_NAMES, scalars | values)) | values


# Those of plain values are what the library can be asked about.
DOCUMENTS = _documents(_PLAIN_SCALARS) | _documents(SCALARS)


@dataclass(frozen=True)
class Case:
    """An expression and what it is applied to. `valid`: it is one of the grammar's."""

    text: str
    documents: list[Any]
    valid: bool


_LITERALS = st.sampled_from(
    ("'x'", "''", "`1`", "`-1`", "`1.10`", "`0.1`", "`true`", "`null`", "`[]`", '`{"a": 0.1}`', '`"x"`')
)
_LEAVES = (
    st.sampled_from(_NAMES)
    | st.sampled_from(("@", *_NAMES, '"a b"', "a[0]", "b[-1]", "c[1:]", "[0]", "a[*]", "*", "[]"))
    | _LITERALS
)
_PLAIN = sorted(name for name, takes in FUNCTIONS.items() if not any("expref" in each["types"] for each in takes))


def _deeper(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map(" || ".join),
        pairs.map(" && ".join),
        pairs.map(" | ".join),
        st.tuples(inner, st.sampled_from(_NAMES)).map(lambda pair: f"({pair[0]}).{pair[1]}"),
        inner.map(lambda text: f"!({text})"),
        inner.map(lambda text: f"({text})[0]"),
        inner.map(lambda text: f"({text})[]"),
        inner.map(lambda text: f"({text})[*].a"),
        pairs.map(lambda pair: f"({pair[0]})[?{pair[1]}]"),
        pairs.map(lambda pair: f"[{pair[0]}, {pair[1]}]"),
        pairs.map(lambda pair: f"{{a: {pair[0]}, b: {pair[1]}}}"),
        st.tuples(pairs, st.sampled_from(("==", "!=", "<", "<=", ">", ">="))).map(
            lambda drawn: f"({drawn[0][0]}) {drawn[1]} ({drawn[0][1]})"
        ),
        st.tuples(st.sampled_from(_PLAIN), st.lists(inner, min_size=2, max_size=2)).map(_call),
        st.tuples(st.sampled_from(("sort_by", "min_by", "max_by")), pairs).map(
            lambda drawn: f"{drawn[0]}({drawn[1][0]}, &({drawn[1][1]}))"
        ),
        pairs.map(lambda pair: f"map(&({pair[0]}), {pair[1]})"),
    )


def _call(drawn: tuple[str, list[str]]) -> str:
    name, arguments = drawn
    return f"{name}({', '.join(arguments[: len(FUNCTIONS[name])])})"


EXPRESSIONS = st.recursive(_LEAVES, _deeper, max_leaves=6)
_TOKENS = (
    b"(",
    b")",
    b"[",
    b"]",
    b"&",
    b"!",
    b"`",
    b"'",
    b'"',
    b"@",
    b"*",
    b".",
    b"$",
    b"(" * 2_000,
    b"[0]" * 2_000,
    b"!" * 2_000,
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Expressions of the grammar, and damaged ones."""
    text, valid = draw(EXPRESSIONS), True
    if draw(st.integers(0, 3)) == 0:
        text, valid = draw(damaged(st.just(text.encode()), _TOKENS)).decode(errors="replace"), False
    return Case(text, draw(st.lists(DOCUMENTS, min_size=1, max_size=4)), valid)


def check(case: Case) -> None:
    """An expression finds JSON, exact and bounded, the same as the library finds, or nothing; or is none, in words."""
    expression = _compiled(case)
    if expression is None:
        return
    for document in case.documents:
        before = copy.deepcopy(document)
        found = expression(document)
        assert same(document, before)
        assert same(found, expression(document))
        if case.valid:
            _check_json(found, _bits(document) + GROWTH)
            _check_library(case.text, document, found)


def _compiled(case: Case) -> Expression | None:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", PendingDeprecationWarning
        )  # of texts in backticks, which the library still takes
        try:
            return compile_expression(case.text)
        except ExpressionError as error:
            refusal = str(error)
    assert not case.valid or refusal.startswith("! takes"), refusal  # it takes (!a).b for !a.b, and neither is of use
    assert refusal
    assert CANARY not in refusal
    return None


def _check_json(found: object, bits: int) -> None:
    match found:
        case None | bool() | str():
            pass
        case int():
            assert found.bit_length() <= bits
        case Decimal():
            assert not found.is_nan()
        case list():
            for each in found:
                _check_json(each, bits)
        case dict():
            for key, each in found.items():
                assert isinstance(key, str)
                _check_json(each, bits)
        case _:
            raise AssertionError(f"no JSON: {type(found)}")


def _check_library(text: str, document: object, found: object) -> None:
    """The library finds the same, as far as it knows all of it: no exact numbers, and none of our own functions."""
    if _has_fractions(document) or "`0.1" in text or "`1.10" in text:
        return
    try:
        expected = jmespath.search(text, document)
    except (JMESPathError, TypeError, ValueError, ArithmeticError):
        return
    if not _has_fractions(expected) and "to_number" not in text and "null" not in spelled(expected):
        assert found is None or same(found, expected), expected


def _has_fractions(value: object) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, Decimal | float) or any(map(_has_fractions, inner))


def _bits(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = value.bit_length() if isinstance(value, int) else 0
    return max([own, *map(_bits, inner)])


TARGET = Target("expression", cases(), check)
