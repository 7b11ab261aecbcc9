"""The pinned requirements give the same build everywhere, twice."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]
_LOCKS = ("runtime", "otel", "build", "dev", "bench", "docs")


def _lock(name: str) -> str:
    return (_ROOT / "requirements" / f"{name}.txt").read_text()


def _pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", _lock(name), re.MULTILINE))


def _project() -> dict[str, Any]:
    return tomllib.loads((_ROOT / "pyproject.toml").read_text())


def _names(requirements: list[Any]) -> set[str]:
    """Of a group, without the groups that it includes."""
    requirements = [each for each in requirements if isinstance(each, str)]
    return {re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


@pytest.mark.parametrize("lock", _LOCKS)
def test_every_line_is_a_pin_with_its_hashes(lock: str) -> None:
    """No address of an index, no option, nothing that is not pinned, no pin without a hash."""
    text = re.sub(r"^#.*\n", "", _lock(lock), flags=re.MULTILINE)
    pin = r"[a-z0-9-]+==[0-9][\w.!+-]*( ; [^\\\n]+)? \\\n( +--hash=sha256:[0-9a-f]{64}( \\)?\n)+"
    assert re.fullmatch(f"({pin})+", text)


def test_what_the_project_asks_for_is_pinned() -> None:
    """A dependency that was added without `make lock` would be missing from the next build."""
    project = _project()
    extras = project["project"]["optional-dependencies"]
    runtime = _names([*project["project"]["dependencies"], *extras["mysql"]])
    assert runtime <= _pins("runtime").keys()
    extra = _names(extras["otel"])
    assert extra <= _pins("otel").keys()
    assert not extra & _pins("runtime").keys()
    groups = project["dependency-groups"]
    assert _names(groups["build"]) <= _pins("build").keys()
    assert _names(groups["docs"]) <= _pins("docs").keys()
    assert runtime | _names(groups["build"]) | _names(groups["dev"]) <= _pins("dev").keys()
    assert _names(groups["bench"]) <= _pins("bench").keys()


def test_tests_run_on_what_is_shipped() -> None:
    """Every pin of the runtime, with and without the extra, and of what builds it, is the same for development."""
    assert _pins("runtime").items() <= _pins("otel").items() <= _pins("dev").items()
    assert _pins("build").items() <= _pins("dev").items()
