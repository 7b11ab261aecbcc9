"""JMESPath expressions, compiled once to plain functions.

The library walks its syntax tree at every evaluation, which costs a microsecond and more a node. What mappings are made
of (fields, indexes, `||`, comparisons, filters) becomes a Python closure here; every other node is left to the library.
A test holds both to the same answers.
"""

import json
import operator
from collections.abc import Callable
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import Options, TreeInterpreter

from consumer.core.exact import exact
from consumer.mappings.functions import FUNCTIONS, QUICK, ExactFunctions

Node = dict[str, Any]
Expression = Callable[[Any], Any]


class ExpressionError(ValueError):
    """The text is no JMESPath expression; the message says where it goes wrong and what was expected."""


# Brackets and operators within each other. The deepest of the built-in mappings has 8, and Python itself gives up
# at some hundreds, which would be at the first order instead of when the mapping is loaded.
DEPTH_LIMIT = 64
_TOO_DEEP = f"expected at most {DEPTH_LIMIT} brackets and operators within each other"


def compile_expression(text: str) -> Expression:
    """A function from a JSON value to what the expression finds in it, None where it finds nothing."""
    try:
        tree: Node = jmespath.compile(text).parsed
    except JMESPathError as error:
        raise ExpressionError(f"expected a JMESPath expression; {_complaint(error)}") from error
    except RecursionError as error:
        raise ExpressionError(_TOO_DEEP) from error
    if tree["type"] == "expref":
        raise ExpressionError(_STRAY)
    return _compiled(_checked(tree))


_EMPTY: tuple[object, ...] = ("", [], {})


def is_true(value: object) -> bool:
    """What JMESPath calls true: all but null, false, and empty texts, lists and objects. Zero is true."""
    return not (value is None or value is False or value in _EMPTY)


def _complaint(error: JMESPathError) -> str:
    place = getattr(error, "lex_position", None)
    token = getattr(error, "token_value", None)
    if place is None:
        return str(error).splitlines()[0].rstrip(".:")
    if token == "$":  # noqa: S105 - of a language, not a secret
        return "places such as $header begin a path; to try several places, give a list of paths"
    return f"cannot go on at {token!r}, character {place + 1}" if token else f"it breaks off at character {place + 1}"


_STRAY = "& begins an argument of map(), sort_by(), min_by() or max_by(), and nothing else"


def _checked(node: Node, depth: int = 1) -> Node:
    """The same tree with exact numbers in it. ExpressionError for what could otherwise fail at an order."""
    if depth > DEPTH_LIMIT:
        raise ExpressionError(_TOO_DEEP)
    children = [_checked(each, depth + 1) if isinstance(each, dict) else each for each in node.get("children", ())]
    kinds = [child["type"] if isinstance(child, dict) else None for child in children]
    if node["type"] == "literal":
        return {**node, "value": _literal_value(node["value"])}
    if node["type"] == "function_expression":
        _check_call(node["value"], kinds)
    elif "expref" in kinds:
        raise ExpressionError(_STRAY)
    if node["type"] == "subexpression" and kinds[0] == "not_expression":
        raise ExpressionError("! takes the first name only, which is never meant; put what it is to negate in brackets")
    return {**node, "children": children}


def _literal_value(value: object) -> object:
    """What stands between backticks, numbers exact; the library reads NaN and 1e999 there, which no JSON has."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise ExpressionError("expected JSON between backticks, found a number that it does not have") from error
    return exact(value)


def _check_call(name: str, kinds: list[str | None]) -> None:
    """The library finds these out only when it evaluates the call, which would be at the first order."""
    if name not in FUNCTIONS:
        near = get_close_matches(name, FUNCTIONS, n=1, cutoff=0.0)[0]
        raise ExpressionError(f"no function {name}(); did you mean {near}()?")
    signature, given = FUNCTIONS[name], len(kinds)
    variadic = bool(signature and signature[-1].get("variadic"))
    if given < len(signature) or (given > len(signature) and not variadic):
        more = " or more" if variadic else ""
        raise ExpressionError(f"{name}() takes {len(signature)}{more} arguments, found {given}")
    for place, kind in enumerate(kinds):
        if kind == "expref" and "expref" not in signature[min(place, len(signature) - 1)]["types"]:
            raise ExpressionError(_STRAY)


_functions = ExactFunctions()
_library = TreeInterpreter(Options(custom_functions=_functions))

# A function met a value of another type: it has found nothing.
_NOTHING_FOUND = (JMESPathError, TypeError, ValueError, ArithmeticError)


def _compiled(node: Node) -> Expression:
    compiler = _COMPILERS.get(node["type"])
    return _by_library(node) if compiler is None else compiler(node)


def _by_library(node: Node) -> Expression:
    def evaluate(value: Any) -> Any:
        try:
            return _library.visit(node, value)
        except _NOTHING_FOUND:
            return None

    return evaluate


def _call(node: Node) -> Expression:
    """A function whose arguments are all plain; the library takes those that map or sort by an expression."""
    if any(child["type"] == "expref" for child in node["children"]):
        return _by_library(node)
    arguments = tuple(_compiled(child) for child in node["children"])
    function = QUICK.get(node["value"])
    if function is not None and len(arguments) == 1:
        (only,) = arguments
        return lambda value: function(only(value))
    if function is not None:
        return lambda value: function(*[argument(value) for argument in arguments])
    name = node["value"]

    def call(value: Any) -> Any:
        try:
            return _functions.call_function(name, [argument(value) for argument in arguments])
        except _NOTHING_FOUND:
            return None

    return call


def _list(node: Node) -> Expression:
    members = tuple(_compiled(child) for child in node["children"])
    if all(child["type"] == "literal" for child in node["children"]):
        constant = [child["value"] for child in node["children"]]
        return lambda value: None if value is None else constant
    return lambda value: None if value is None else [member(value) for member in members]


def _field(node: Node) -> Expression:
    name = node["value"]
    return lambda value: value.get(name) if isinstance(value, dict) else None


def _index(node: Node) -> Expression:
    index = node["value"]

    def pick(value: Any) -> Any:
        try:
            return value[index] if isinstance(value, list) else None
        except IndexError:
            return None

    return pick


def _chain(node: Node) -> Expression:
    first, *rest = (_compiled(child) for child in node["children"])
    if len(rest) == 1:
        second = rest[0]
        return lambda value: second(first(value))

    def walk(value: Any) -> Any:
        value = first(value)
        for step in rest:
            value = step(value)
        return value

    return walk


def _identity(_: Node) -> Expression:
    return lambda value: value


def _literal(node: Node) -> Expression:
    constant = node["value"]
    return lambda _: constant


def _or(node: Node) -> Expression:
    left, right = (_compiled(child) for child in node["children"])
    return lambda value: found if is_true(found := left(value)) else right(value)


def _and(node: Node) -> Expression:
    left, right = (_compiled(child) for child in node["children"])
    return lambda value: right(value) if is_true(found := left(value)) else found


def _not(node: Node) -> Expression:
    (inner,) = (_compiled(child) for child in node["children"])

    def negate(value: Any) -> bool:
        found = inner(value)
        return not found and (isinstance(found, bool) or not isinstance(found, int | float | Decimal))  # zero is true

    return negate


def _comparator(node: Node) -> Expression:
    if node["value"] not in {"eq", "ne"}:
        return _by_library(node)
    first, second = node["children"]
    if first["type"] == "field" and second["type"] == "literal" and isinstance(second["value"], str):
        return _name_comparator(first["value"], second["value"], wanted=node["value"] == "eq")
    left, right = (_compiled(child) for child in node["children"])
    wanted = node["value"] == "eq"

    def compare(value: Any) -> bool:
        one, other = left(value), right(value)
        same = isinstance(one, bool) == isinstance(other, bool) and operator.eq(one, other)  # 1 is not true
        return bool(same) is wanted

    return compare


def _name_comparator(name: str, text: str, *, wanted: bool) -> Expression:
    """A comparison like `key == 'neuroon_clicks'`, which a filter makes with each of perhaps 100,000 elements."""
    return lambda value: (isinstance(value, dict) and value.get(name) == text) is wanted


def _filter(node: Node) -> Expression:
    base, then, condition = (_compiled(child) for child in node["children"])

    def select(value: Any) -> Any:
        elements = base(value)
        if not isinstance(elements, list):
            return None
        return [found for each in elements if is_true(condition(each)) and (found := then(each)) is not None]

    return select


def _projection(node: Node) -> Expression:
    base, then = (_compiled(child) for child in node["children"])

    def project(value: Any) -> Any:
        elements = base(value)
        if not isinstance(elements, list):
            return None
        return [found for each in elements if (found := then(each)) is not None]

    return project


_COMPILERS: dict[str, Callable[[Node], Expression]] = {
    "field": _field,
    "function_expression": _call,
    "multi_select_list": _list,
    "subexpression": _chain,
    "index_expression": _chain,
    "pipe": _chain,
    "index": _index,
    "identity": _identity,
    "current": _identity,
    "literal": _literal,
    "or_expression": _or,
    "and_expression": _and,
    "not_expression": _not,
    "comparator": _comparator,
    "filter_projection": _filter,
    "projection": _projection,
}
