"""Every test that docs/promises.md names is there."""

import re

from tests.drills.__main__ import NOT_DRILLS
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "promises.md").read_text()


def test_every_test_that_a_promise_names_exists() -> None:
    """File by file, and in the file that was named last where only the test is."""
    missing, file = [], ""
    for found, name in re.findall(r"`([a-z_/]+\.py)?(?:::(test_[a-z0-9_]+))?`", PAGE):
        file = found or file
        if found and not (ROOT / "tests" / file).is_file():
            missing.append(file)
        elif name and f"def {name}(" not in (ROOT / "tests" / file).read_text():
            missing.append(f"{file}::{name}")
    assert missing == []


def test_every_drill_is_in_a_promise_and_every_one_named_exists() -> None:
    """A drill that promises nothing is for nobody."""
    there = {path.stem for path in (ROOT / "tests" / "drills").glob("*.py")} - NOT_DRILLS
    named = set(re.findall(r"drill `([a-z_]+)`", PAGE))
    assert named <= there
    assert {"kill_storm", "crash_points", "redis_restart", "partition", "rolling_restart", "lost_replies"} <= named
