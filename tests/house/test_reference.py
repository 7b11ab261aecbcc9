"""The reference pages say what the code says."""

import re
from pathlib import Path

import pytest

from tests.support.reference import DOCS, PAGES, renewed

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_what_the_code_would_write(page: str) -> None:
    """Every setting, command, option and metric is listed, none that is gone; `make docs` renews the pages."""
    assert (DOCS / page).read_text() == renewed(page), "run: make docs"


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda page: page.name)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    """Every relative link is a file or folder that exists, every anchor a heading of the page it names."""
    for target, anchor in re.findall(r"\]\((?!\w+://)([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text()):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {target}"
        if not anchor:
            continue
        headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{page.name}: {target}#{anchor}"
