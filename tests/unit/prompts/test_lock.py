"""A released prompt is fixed: its text may not change under its name."""

from pathlib import Path

import pytest

from penstock_schemas.errors import ConfigurationError
from penstock_worker import tasks
from penstock_worker.prompts.lock import LOCK_FILE, compare, lock, read_lock
from penstock_worker.prompts.prompt import load_prompt, read_prompt
from tests.support.processes import ROOT

TEXT = "[system]\nYou sort.\n\n[user]\n{{text}}\n"
OUR_FOLDERS = [Path(tasks.__file__).parent / "prompts", ROOT / "examples" / "translate" / "prompts"]


def digests(folder: Path) -> dict[str, str]:
    return {file.stem: read_prompt(folder, file.stem).digest for file in folder.glob("*.md")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One released prompt."""
    (tmp_path / "sort@1.md").write_text(TEXT)
    lock(tmp_path, digests(tmp_path))
    return tmp_path


@pytest.mark.parametrize("ours", OUR_FOLDERS, ids=["tasks", "example"])
def test_our_own_prompts_are_released_and_were_not_changed(ours: Path) -> None:
    """Whoever changes one gives it a new version, and then runs `penstock prompts lock` on its folder."""
    found = compare(ours, digests(ours))
    assert found.released
    assert (found.changed, found.drafts) == ((), ())


def test_a_changed_text_without_a_new_version_is_refused(folder: Path) -> None:
    """By name, and with what to do; a worker does not start with it."""
    assert load_prompt(folder, "sort@1").system == "You sort."
    (folder / "sort@1.md").write_text(TEXT.replace("sort", "list"))
    with pytest.raises(ConfigurationError, match=r"prompt sort@1: was released with another text .*sort@2"):
        load_prompt(folder, "sort@1")
    assert compare(folder, digests(folder)).changed == ("sort@1",)


def test_a_new_version_is_a_draft_until_it_is_released(folder: Path) -> None:
    """It may change meanwhile, and not after."""
    new = folder / "sort@2.md"
    for system in ("You list.", "You file."):
        new.write_text(TEXT.replace("You sort.", system))
        assert load_prompt(folder, "sort@2").system == system
    assert lock(folder, digests(folder)).drafts == ("sort@2",)
    assert compare(folder, digests(folder)).released == ("sort@1", "sort@2")
    new.write_text(TEXT)
    with pytest.raises(ConfigurationError, match="sort@3"):
        load_prompt(folder, "sort@2")


def test_nothing_is_released_beside_a_changed_text(folder: Path) -> None:
    """The lock stays as it was, to the byte."""
    before = (folder / LOCK_FILE).read_bytes()
    (folder / "sort@1.md").write_text(TEXT + "Be quick.\n")
    (folder / "sort@2.md").write_text(TEXT)
    assert lock(folder, digests(folder)).changed == ("sort@1",)
    assert (folder / LOCK_FILE).read_bytes() == before


def test_a_name_is_never_used_again(folder: Path) -> None:
    """Its line stays when its file goes."""
    (folder / "sort@1.md").unlink()
    (folder / "sort@2.md").write_text(TEXT)
    assert lock(folder, digests(folder)).gone == ("sort@1",)
    (folder / "sort@1.md").write_text(TEXT.replace("sort", "list"))
    with pytest.raises(ConfigurationError, match="another text"):
        load_prompt(folder, "sort@1")


def test_line_ends_are_no_change(folder: Path) -> None:
    """A checkout with CR LF has the same texts."""
    (folder / "sort@1.md").write_bytes(TEXT.replace("\n", "\r\n").encode())
    assert load_prompt(folder, "sort@1").system == "You sort."


@pytest.mark.parametrize("line", ["sort@1", "sort@1 sha256:12", "../sort@1 sha256:" + "0" * 64, "<<<<<<< HEAD"])
def test_a_lock_that_cannot_be_read_is_no_lock(folder: Path, line: str) -> None:
    """It is refused with its line, not passed over."""
    with (folder / LOCK_FILE).open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(ConfigurationError, match="line 4 is not"):
        read_lock(folder)
