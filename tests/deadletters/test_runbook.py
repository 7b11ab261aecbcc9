"""The runbook names every reason, and each command in it is one that the program takes."""

import re
import shlex

import click
import pytest

from consumer.cli.dlq import dlq
from consumer.core.outcome import DeadReason, RetryReason
from tests.support.program import ROOT

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
COMMANDS = re.findall(r"^    neuroon-consumer dlq (.*)$", RUNBOOK, re.MULTILINE)


def test_each_reason_has_its_chapter() -> None:
    """Dead reasons and retry reasons, each under its own heading and no others."""
    dead, waiting = RUNBOOK.split("## Dead reasons")[1].split("## Retry reasons")
    waiting = waiting.split("\n## ")[0]
    assert re.findall(r"^### (.*)$", dead, re.MULTILINE) == [each.value for each in DeadReason]
    assert re.findall(r"^### (.*)$", waiting, re.MULTILINE) == [each.value for each in RetryReason]


def test_there_are_commands_to_copy() -> None:
    """Every dlq command is shown somewhere."""
    assert {shlex.split(each)[0] for each in COMMANDS} == set(dlq.commands)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_to_copy_is_understood(line: str) -> None:
    """The command and each option in it exist."""
    name, *arguments = shlex.split(line)
    command = dlq.commands[name]
    command.make_parser(click.Context(command)).parse_args(arguments)
