"""What is wrong with a target is said before the first call."""

from pathlib import Path
from typing import Any

import pytest

from penstock_worker.llm.client import check_target
from penstock_worker.llm.port import Target

GOOD = {"name": "a/b", "kind": "openai", "model": "b", "base_url": "https://api.openai.com/v1"}


def test_a_good_target_passes() -> None:
    """The public endpoint, and a server of one's own with leave."""
    check_target(Target(**GOOD))
    check_target(Target(**{**GOOD, "base_url": "http://127.0.0.1:8000/v1", "allow_private": True}))


@pytest.mark.parametrize(
    ("fields", "setting"),
    [
        ({"kind": "opnai"}, "kind"),
        ({"base_url": "http://api.openai.com/v1"}, "base_url"),
        ({"base_url": "https://10.0.0.1/v1"}, "base_url"),
        ({"base_url": "https://user:pw@api.openai.com/v1"}, "base_url"),
        ({"options": {"strict_subst": True}}, "options.strict_subst"),
        ({"ca_file": "/no/such/file.pem"}, "ca_file"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], setting: str) -> None:
    """The message begins with the setting."""
    with pytest.raises(ValueError, match=f"^{setting}: "):
        check_target(Target(**{**GOOD, **fields}))


def test_a_file_without_certificates(tmp_path: Path) -> None:
    """Any file will not do."""
    path = tmp_path / "ca.pem"
    path.write_text("hello")
    with pytest.raises(ValueError, match=r"^ca_file: "):
        check_target(Target(**GOOD, ca_file=str(path)))
