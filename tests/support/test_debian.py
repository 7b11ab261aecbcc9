"""Programs that only the tests need."""

from pathlib import Path

import pytest

from tests.support.debian import program


def test_who_may_install_nothing_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a program is missing and apt-get is not to be had, the error names the package; nothing is skipped."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="promtool is needed for this test: apt-get install prometheus"):
        program("promtool", "prometheus")


def test_what_is_on_the_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A promtool that somebody has put there is used, and nothing installed."""
    (tmp_path / "promtool").write_text("#!/bin/sh\n")
    (tmp_path / "promtool").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program("promtool", "prometheus") == str(tmp_path / "promtool")
