"""`penstock prompts`: release prompts, and refuse one that was changed."""

from pathlib import Path

import pytest

from tests.integration.cli.conftest import Command

TEXT = "[system]\nYou sort.\n\n[user]\n{{text}}\n"


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """The folder where the command looks, with a draft."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "sort@1.md").write_text(TEXT)
    return folder


def test_a_draft_is_released_and_a_change_of_it_refused(command: Command, prompts: Path) -> None:
    """What CI runs, and what a developer does about it."""
    draft = command("prompts", "check")
    assert (draft.code, draft.err) == (1, "penstock: sort@1 is not released: penstock prompts lock\n")
    assert command("prompts", "lock").out == "released sort@1\n"
    assert command("prompts").out == "1 released, none changed\n"

    (prompts / "sort@1.md").write_text(TEXT.replace("sort", "list"))
    for verb in ("check", "lock"):
        changed = command("prompts", verb)
        assert (changed.code, changed.out) == (1, "")
        assert "sort@1 was released with another text: give the new one a new version" in changed.err


def test_a_worker_refuses_a_changed_prompt_before_it_claims(command: Command, prompts: Path, tmp_path: Path) -> None:
    """With 3, as any wrong configuration."""
    (tmp_path / "penstock.toml").write_text(
        '[providers.openai]\nkind = "openai"\nbase_url = "http://127.0.0.1:9/v1"\nallow_private = true\n'
        '[routes.summarize]\ntargets = ["openai/gpt-4o-mini"]\nprompt = "sort@1"\n'
    )
    command("prompts", "lock")
    assert command("worker", "--check").code == 0
    (prompts / "sort@1.md").write_text(TEXT + "Be quick.\n")
    refused = command("worker", "--burst")
    assert refused.code == 3
    assert "prompt sort@1: was released with another text" in refused.err


def test_a_folder_that_is_none_and_a_prompt_that_is_none(command: Command, prompts: Path) -> None:
    """Both are wrong configurations, each named."""
    assert command("prompts", "check", "nowhere").code == 3
    (prompts / "bad@1.md").write_text("Hello")
    bad = command("prompts", "check", str(prompts))
    assert bad.code == 3
    assert "prompt bad@1: must have a [system] part" in bad.err
