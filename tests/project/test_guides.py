"""The guides hang together: each link leads somewhere, and each example is named where it is."""

import re
from pathlib import Path

import pytest

from tests.support.guides import EXAMPLES, GUIDES
from tests.support.processes import ROOT

pytestmark = pytest.mark.checkout

FENCE = re.compile("^```.*?^```", re.DOTALL | re.MULTILINE)
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(EXAMPLES.rglob("*.md"))]
PAGES += sorted((ROOT / ".github").glob("*.md"))
# Longer, it is not read beside the work; a table of what was tried counts too.
MOST_WORDS = 650


def links_of(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures, but those to other sites."""
    text = re.sub("`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    found = re.findall(r'\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"', text)
    targets = (markdown or html for markdown, html in found)
    return [target for target in targets if not target.startswith(("https:", "mailto:"))]


def anchors_of(page: Path) -> set[str]:
    """Return the names that GitHub gives to a page's headings."""
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in links_of(page):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.is_relative_to(ROOT), target
        assert found.exists(), target
        assert not anchor or anchor in anchors_of(found), target


def test_links_are_found() -> None:
    assert "../proxies/README.md#health-checks" in links_of(EXAMPLES / "deploy/README.md")
    assert "how-a-request-is-decided" in anchors_of(ROOT / "README.md")


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.parent.name)
def test_guide_names_each_file_beside_it(guide: Path) -> None:
    text = guide.read_text(encoding="utf-8")
    assert len(text.split()) <= MOST_WORDS
    for path in guide.parent.iterdir():
        if path.is_file() and path != guide:
            assert path.name in text, path
        elif path.is_dir() and path.name != "__pycache__":
            assert f"{path.name}/" in text, path


def test_readme_leads_to_each_example() -> None:
    readme = ROOT / "README.md"
    named = readme.read_text(encoding="utf-8")
    linked = {(ROOT / target.partition("#")[0]).resolve() for target in links_of(readme)}
    directories = {path.parent for path in GUIDES}
    assert directories == {path for path in EXAMPLES.iterdir() if path.is_dir()}
    assert [guide for guide in GUIDES if not {guide, guide.parent} & linked] == []
    for path in EXAMPLES.iterdir():
        assert path.is_dir() or f"examples/{path.name}" in named, path
