"""What is wrong with a mapping file is told at the start: file, line, and what was expected."""

from pathlib import Path

import pytest

from consumer.mappings import MappingError, load_reader
from consumer.mappings.compiler import compile_mapping
from consumer.mappings.source import read_source

GOOD = """\
about = "ours"
envelope = "auto"
[order]
id = "id"
value = "total"
currency = "currency"
lines = "items"
[line]
product = "sku"
quantity = "qty"
total = "sum"
"""


def problems(text: str) -> list[str]:
    with pytest.raises(MappingError) as raised:
        compile_mapping(read_source("own.toml", text))
    return raised.value.problems


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            ('"total"', '"total["'),
            '5: [order] value: "total[": expected a JMESPath expression; it breaks off at character',
        ),
        (('"qty"', '"q..ty"'), '10: [line] quantity: "q..ty": expected a JMESPath expression; cannot go on at'),
        (
            ('"qty"', '"a || $header.b"'),
            "places such as $header begin a path; to try several places, give a list of paths",
        ),
        (
            ('"sum"', '"lst_segment(sum)"'),
            '11: [line] total: "lst_segment(sum)": no function lst_segment(); did you mean',
        ),
        (('"sum"', '"!sum.paid"'), "! takes the first name only, which is never meant; put what it is to negate in"),
        (('"sum"', '"has(sum)"'), "has() takes 2 arguments, found 1"),
        (('"sum"', '"$headers.x"'), "expected one of $event, $order, $line, $body, $message, $header.NAME"),
        (('"sum"', '"$header"'), "expected a name, such as $header.X-Shop"),
        (('"sum"', "\"$header.X == 'a'\""), "expected a header's name and nothing after it; to compare it: $message |"),
        (('"sum"', '"$property.colour"'), "expected a property out of type, app_id"),
        (('"total"', '"$line.total"'), "$line is known in [line] only"),
        (('"sum"', "3"), "11: [line] total: expected a text, or a list of texts"),
        (('"sum"', '["sum", ""]'), "11: [line] total: expected a text, or a list of texts"),
        (
            ('envelope = "auto"', 'envelope = "masstransport"'),
            "2: envelope: no envelope 'masstransport'; did you mean masstransit?",
        ),
        (('envelope = "auto"', 'amounts = "cents"'), '2: amounts: expected "major", "minor", a number of decimals'),
        (('envelope = "auto"', "amounts = true"), '2: amounts: expected "major", "minor", a number of decimals'),
        (("qty", 'qty"\nquantty = "x'), "11: [line] quantty: no such key; did you mean quantity? Known: product,"),
        (("[line]", 'product = "x"\n[line]'), "8: [order] product: belongs into [line]"),
        (("[line]", 'envelope = "auto"\n[line]'), "8: [order] envelope: belongs above the first [table]"),
        (('currency = "currency"\n', ""), "3: [order] currency is missing: expected the path to it"),
        (('total = "sum"', ""), "8: [line] expected the path to the line's total, or to its unit_price"),
        (('about = "ours"', "line = 3"), "own.toml:1: expected a table: [line]"),
        (('"total"', '"total'), "own.toml:5: expected TOML: "),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_was_expected(change: tuple[str, str], problem: str) -> None:
    """One look at the file is enough to mend it."""
    text = GOOD.replace(*change, 1)
    if "[line]\n" in text and change[1] == "line = 3":
        text = text.partition("[line]")[0]
    told = problems(text)
    assert any(problem in each and each.startswith("own.toml:") for each in told), told


def test_all_mistakes_are_told_at_once() -> None:
    """Nobody wants to start the program five times."""
    assert len(problems('[order]\nid = "a["\n[line]\nproduct = "b["\n')) >= 6


def test_an_unknown_name_is_neither_built_in_nor_a_file() -> None:
    """The nearest name is offered."""
    with pytest.raises(MappingError, match="shopfy: no such mapping built in, and no such file; did you mean shopify"):
        load_reader("shopfy")
    with pytest.raises(MappingError, match=r"nowhere/own.toml: cannot be read: No such file"):
        load_reader("nowhere/own.toml")


def test_a_mistake_in_what_is_extended_names_that_file(tmp_path: Path) -> None:
    """Relative paths are beside the file that extends."""
    (tmp_path / "base.toml").write_text(GOOD.replace('"qty"', '"qty["'))
    (tmp_path / "own.toml").write_text('extends = "base.toml"\n')
    with pytest.raises(MappingError, match=r"base\.toml:10: \[line\] quantity"):
        load_reader(str(tmp_path / "own.toml"))


def test_mappings_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    """Instead of being followed for ever."""
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n')
    (tmp_path / "b.toml").write_text('extends = "a.toml"\n')
    with pytest.raises(MappingError, match="goes round in a circle"):
        load_reader(str(tmp_path / "a.toml"))


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 5_000, "x = " + "{a = " * 5_000, "a." * 3_000 + "b = 1", "a." * 11 + "b = 1"]
)
def test_a_file_that_is_nested_too_deep_is_refused(text: str) -> None:
    """However it nests, the mapping is refused with the file's name, and nothing runs out of stack."""
    with pytest.raises(MappingError, match=r"own\.toml: expected "):
        read_source("own.toml", text)
