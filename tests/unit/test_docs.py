"""What the pages say of files, links and keys is so."""

import re
from pathlib import Path

import pytest

from penstock_schemas import keys

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
ARCHITECTURE = ROOT / "docs" / "architecture.md"

LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
FILE = re.compile(r"`((?:schemas|store|producers|worker|simulator|tests|scripts|docs|examples)/[\w./@-]+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_file_that_a_page_names_is_there(page: Path) -> None:
    """Links are relative to the page, files to the repository."""
    text = page.read_text("utf-8")
    links = [target for target in LINK.findall(text) if not (page.parent / target).exists()]
    files = [name for name in FILE.findall(text) if not (ROOT / name).exists()]
    assert (links, files) == ([], [])


def test_the_state_diagram_is_one() -> None:
    """The README and the page of how it is built show the same."""
    diagrams = [
        re.search(r"```\n( +enqueue .*?)```", page.read_text("utf-8"), re.DOTALL) for page in (PAGES[0], ARCHITECTURE)
    ]
    assert diagrams[0] and diagrams[1] and diagrams[0][1] == diagrams[1][1]


def test_every_key_is_explained() -> None:
    """Each beginning of a key that ``keys.py`` makes stands in the table."""
    made = set(re.findall(r'"(penstock:[a-z]+)', Path(keys.__file__).read_text("utf-8")))
    table = ARCHITECTURE.read_text("utf-8")
    assert len(made) > 10
    assert {key for key in made if f"`{key}" not in table} == set()
