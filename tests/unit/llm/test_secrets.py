"""Keys are read by reference, kept for a while, and shown nowhere."""

from pathlib import Path

import pytest

from penstock_worker.llm.port import Target
from penstock_worker.llm.secrets import MAX_SECRET_BYTES, SecretReader, SecretRef, SecretUnavailableError


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("sk-canary\n")
    path.chmod(0o600)
    return path


def test_a_value_is_read_again_after_a_while(key_file: Path) -> None:
    """Within the time the value is kept, after it the file is read anew."""
    reader, ref = SecretReader(reread_s=30), SecretRef(file=str(key_file))
    assert reader.read(ref, now=100.0) == "sk-canary"
    key_file.write_text("sk-new")
    assert reader.read(ref, now=129.9) == "sk-canary"
    assert reader.read(ref, now=130.0) == "sk-new"


def test_a_removed_file_is_a_revoked_key(key_file: Path) -> None:
    """The old value does not outlive its file."""
    reader, ref = SecretReader(reread_s=30), SecretRef(file=str(key_file))
    reader.read(ref, now=0.0)
    key_file.unlink()
    with pytest.raises(SecretUnavailableError, match="cannot be read"):
        reader.read(ref, now=31.0)


def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgetting makes the next read a fresh one."""
    reader, ref = SecretReader(), SecretRef(env="SOME_TEST_KEY")
    monkeypatch.setenv("SOME_TEST_KEY", "one")
    assert reader.read(ref) == "one"
    monkeypatch.setenv("SOME_TEST_KEY", "two")
    assert reader.read(ref) == "one"
    reader.forget(ref)
    assert reader.read(ref) == "two"


@pytest.mark.parametrize("value", ["", "  \n", "a\nb", "a b", "schlüssel", "x" * (MAX_SECRET_BYTES + 1)])
def test_a_useless_value_is_refused_without_being_shown(key_file: Path, value: str) -> None:
    """What no header can carry is an error that names the reference alone."""
    key_file.write_text(value)
    with pytest.raises(SecretUnavailableError) as caught:
        SecretReader().read(SecretRef(file=str(key_file)))
    assert str(key_file) in str(caught.value)
    assert not value.strip() or value not in str(caught.value)


def test_a_missing_variable_is_named() -> None:
    """The message says which reference has no value."""
    with pytest.raises(SecretUnavailableError, match="env:NO_SUCH_VARIABLE_HERE"):
        SecretReader().read(SecretRef(env="NO_SUCH_VARIABLE_HERE"))


@pytest.mark.parametrize("fields", [{}, {"env": "A", "file": "/b"}, {"env": ""}])
def test_exactly_one_source(fields: dict[str, str]) -> None:
    """A reference is to one place."""
    with pytest.raises(ValueError, match="exactly one"):
        SecretRef(**fields)


def test_a_readable_file_is_warned_about(key_file: Path) -> None:
    """Only the owner may read a key."""
    ref = SecretRef(file=str(key_file))
    assert ref.warning() is None
    key_file.chmod(0o640)
    assert "0640" in (ref.warning() or "")
    assert SecretRef(env="X").warning() is None


def test_no_repr_shows_a_value(key_file: Path) -> None:
    """References, readers and targets show where a key is, not what it is."""
    reader, ref = SecretReader(), SecretRef(file=str(key_file))
    reader.read(ref)
    place = Target(name="a/b", kind="openai", model="m", base_url="https://x/v1", api_key=ref)
    assert "canary" not in repr(reader) + repr(ref) + str(ref) + repr(place)
