"""`neuroon-consumer schema`."""

import json

import click

from consumer.schema import asyncapi, json_schema
from consumer.terminal import echo_json


@click.command()
@click.argument("form", type=click.Choice(["json-schema", "asyncapi"]), default="json-schema")
def schema(form: str) -> None:
    """Print the canonical event's description: JSON Schema, or AsyncAPI 3."""
    document = json_schema() if form == "json-schema" else asyncapi()
    echo_json(json.dumps(document, indent=2, ensure_ascii=False))
