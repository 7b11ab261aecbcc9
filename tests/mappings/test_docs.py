"""What the docs show works as it is shown."""

import json
import re
from pathlib import Path

import pytest

from consumer.mappings import load_reader
from consumer.mappings.compiler import KEYS
from consumer.mappings.envelope import known_envelopes
from tests.support.mapped import order

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (DOCS / "mappings.md", *sorted((DOCS / "platforms").glob("*.md")))
BLOCKS = [
    (page.name, block) for page in PAGES for block in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
]


@pytest.mark.parametrize("block", [pytest.param(block, id=page) for page, block in BLOCKS])
def test_every_mapping_in_the_docs_can_be_used(block: str, tmp_path: Path) -> None:
    """Copied as it stands."""
    (tmp_path / "copied.toml").write_text(block)
    assert load_reader(str(tmp_path / "copied.toml")).name == "copied"


def test_the_newcomers_mapping_reads_the_newcomers_event(tmp_path: Path) -> None:
    """The page's first event by the page's first mapping."""
    text = (DOCS / "mappings.md").read_text()
    (tmp_path / "market.toml").write_text(BLOCKS[0][1])
    found = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert found
    assert order(load_reader(str(tmp_path / "market.toml")), json.loads(found[1])).order_id == "000000077"


def test_every_key_and_envelope_is_described() -> None:
    """One that is added to the code is missed in the page."""
    text = (DOCS / "mappings.md").read_text()
    for name in (*known_envelopes(), *(key for keys in KEYS.values() for key in keys)):
        assert f"`{name}`" in text or f"`[{name}]`" in text, name
