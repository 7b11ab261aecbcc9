"""The record of what was done."""

import json
from pathlib import Path

import pytest

from consumer.deadletters.audit import AuditError, audit_to
from consumer.deadletters.letter import read_letter
from tests.support.letters import letter, read


def test_each_line_tells_who_when_what_and_which_operation(tmp_path: Path) -> None:
    """Started, each letter, ended: one JSON object a line, each with the operation's id."""
    file = tmp_path / "audit.jsonl"
    with audit_to(str(file), "discard") as audit:
        audit.started(1, filter={"shop": "a"}, why="test orders")
        audit.letter(read_letter(letter("ORD-1"), read))
        audit.ended(matched=1, done=1, failed=0)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["started", "letter", "ended"]
    assert len({line["operation"] for line in lines}) == 1
    assert all(line["who"] and line["at"] and line["action"] == "discard" for line in lines)
    assert lines[0]["filter"] == {"shop": "a"}
    assert lines[0]["why"] == "test orders"
    assert (lines[1]["id"], lines[1]["orderId"]) == ("letter-ORD-1", "ORD-1")


def test_lines_are_there_as_it_happens_and_add_to_older_ones(tmp_path: Path) -> None:
    """A line can be read before the operation is over, and nothing that was recorded is overwritten."""
    file = tmp_path / "audit.jsonl"
    file.write_text("older\n")
    with audit_to(str(file), "replay") as audit:
        audit.started(1)
        assert len(file.read_text().splitlines()) == 2


def test_the_record_is_for_its_owner_only(tmp_path: Path) -> None:
    """The original of an edited event is in it."""
    with audit_to(str(tmp_path / "audit.jsonl"), "edit"):
        assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_record_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """Nothing is done unrecorded."""
    with pytest.raises(AuditError, match="cannot be opened"), audit_to(str(tmp_path / "no" / "audit"), "replay"):
        pytest.fail("unreachable")
    with pytest.raises(AuditError, match="cannot be written"), audit_to("/dev/full", "replay") as audit:
        audit.started(1)
