"""`neuroon-consumer mappings ...`: the mappings that are built in."""

import sys

import click
from rich.table import Table

from consumer.cli.common import WRONG_USAGE, complain, json_option, print_json
from consumer.mappings import MappingError, builtin_names, builtin_text
from consumer.mappings.library import load_mapping
from consumer.terminal import console, echo


@click.group(invoke_without_command=True)
@click.pass_context
@json_option
def mappings(context: click.Context, *, as_json: bool) -> None:
    """List the mappings that are built in; `show` prints one, to be copied and changed."""
    if context.invoked_subcommand is not None:
        return
    told = [(name, load_mapping(name).about) for name in builtin_names()]
    if as_json:
        for name, about in told:
            print_json({"name": name, "about": about})
        return
    table = Table("name", "for")
    for row in told:
        table.add_row(*row)
    console().print(table)


@mappings.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a built-in mapping's file."""
    try:
        text = builtin_text(name)
    except MappingError as error:
        for problem in error.problems:
            complain(problem)
        sys.exit(WRONG_USAGE)
    for line in text.splitlines():
        echo(line)


@mappings.command()
@click.argument("file")
def check(file: str) -> None:
    """Check a mapping file, or a built-in one; every problem is told with its line."""
    try:
        mapping = load_mapping(file)
    except MappingError as error:
        for problem in error.problems:
            complain(problem)
        sys.exit(1)
    echo(f"{mapping.name}: good")
