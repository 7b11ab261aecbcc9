"""docs/schema/ is what the code says."""

import json
from pathlib import Path
from typing import Any

import pytest

from consumer.core.body import decode_json
from consumer.core.order import OrderPaid, read
from consumer.schema import EXAMPLE, asyncapi, json_schema

SCHEMA = Path(__file__).parents[2] / "docs" / "schema"


@pytest.mark.parametrize(
    ("name", "document"), [("order-paid.schema.json", json_schema()), ("asyncapi.json", asyncapi())]
)
def test_the_published_description_is_that_of_the_code(name: str, document: dict[str, Any]) -> None:
    """`make schema` writes it anew."""
    assert json.loads((SCHEMA / name).read_text()) == document


def test_the_example_is_an_order() -> None:
    """What the documents show can be published as it stands."""
    assert isinstance(read(decode_json(json.dumps(EXAMPLE).encode())), OrderPaid)


def test_the_required_fields_are_those_of_the_event() -> None:
    """By their canonical names; a line needs a total or a price."""
    schema = json_schema()
    assert set(schema["required"]) == {"orderId", "orderValue", "currency", "lines"}
    assert set(EXAMPLE) <= set(schema["properties"])
    (line,) = schema["$defs"].values()
    assert line["anyOf"] == [{"required": ["lineTotal"]}, {"required": ["unitPrice"]}]


def test_every_reference_leads_somewhere() -> None:
    """Within its own document."""
    for document in (json_schema(), asyncapi()):
        references = list(_references(document))
        assert references
        for reference in references:
            target: Any = document
            for step in reference.removeprefix("#/").split("/"):
                target = target[step]
            assert isinstance(target, dict)


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [each for member in value.values() for each in _references(member)]
    if isinstance(value, list):
        return [each for member in value for each in _references(member)]
    return []
