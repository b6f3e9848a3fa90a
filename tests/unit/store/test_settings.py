"""The configuration that the command and the worker share."""

from pathlib import Path

import pytest

from penstock_schemas.errors import ConfigurationError
from penstock_store.settings import SharedSettings, exposed_password, is_this_machine, read_settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable of the machine, and a folder without a file."""
    for name in ("REDIS_URL", "PENSTOCK_CONFIG", "PENSTOCK_REDIS__URL", "PENSTOCK_PRODUCER__TENANT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "penstock.toml"
    path.write_text(text)
    return path


def test_without_anything_the_defaults_hold() -> None:
    settings = read_settings(SharedSettings)
    assert (settings.redis.url, settings.producer.tenant) == ("redis://localhost:6379/0", "default")


def test_what_is_nearer_wins_field_by_field(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given > variable > file > REDIS_URL > default."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert read_settings(SharedSettings).redis.url == "redis://127.0.0.1:1/0"
    written(bare, '[redis]\nurl = "redis://127.0.0.1:2/0"\n[producer]\ntenant = "acme"\n')
    assert read_settings(SharedSettings).redis.url == "redis://127.0.0.1:2/0"
    monkeypatch.setenv("PENSTOCK_REDIS__URL", "redis://127.0.0.1:3/0")
    assert read_settings(SharedSettings).redis.url == "redis://127.0.0.1:3/0"
    settings = read_settings(SharedSettings, redis={"url": "redis://127.0.0.1:4/0"})
    assert (settings.redis.url, settings.producer.tenant) == ("redis://127.0.0.1:4/0", "acme")


def test_redis_url_fills_a_section_that_sets_something_else(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://cache.example:6379/0")
    written(bare, "[redis]\nallow_plaintext = true\n")
    assert read_settings(SharedSettings).redis.url == "redis://cache.example:6379/0"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[redis]\nur1 = "x"\n', "redis.ur1"),
        ('[producer]\ntennant = "x"\n', "producer.tennant"),
        ("[redis]\nurl = 3\n", "redis.url"),
        ('[redis]\nurl = "http://localhost"\n', "redis.url"),
        ('[redis]\nurl = "redis://localhost:99999/0"\n', "redis.url"),
        ('[redis]\nurl = "redis://:secret@db.example/0"\n', "redis.url"),
        ("[redis\n", "penstock.toml"),
    ],
)
def test_a_wrong_key_or_value_is_named_and_its_value_is_not(bare: Path, text: str, key: str) -> None:
    written(bare, text)
    with pytest.raises(ConfigurationError) as caught:
        read_settings(SharedSettings)
    assert caught.value.key == key
    assert "secret" not in str(caught.value)


def test_sections_of_the_worker_are_let_through(bare: Path) -> None:
    written(bare, "[worker]\nno_such_key = 1\n")
    assert read_settings(SharedSettings).producer.tenant == "default"


def test_a_named_file_must_exist() -> None:
    with pytest.raises(ConfigurationError, match="there is no file"):
        read_settings(SharedSettings, "elsewhere.toml")


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("redis://localhost:6379/0", True),
        ("redis://127.8.0.1/0", True),
        ("redis://[::1]:6379", True),
        ("unix:///run/redis.sock", True),
        ("redis://10.0.0.1/0", False),
        ("redis://localhost.example.com/0", False),
    ],
)
def test_only_loopback_and_sockets_are_this_machine(url: str, here: bool) -> None:
    assert is_this_machine(url) is here


def test_a_password_in_a_readable_file_is_noticed(bare: Path) -> None:
    path = written(bare, '[redis]\nurl = "redis://:secret@localhost/0"\n')
    path.chmod(0o640)
    assert exposed_password(path, read_settings(SharedSettings))
    path.chmod(0o600)
    assert not exposed_password(path, read_settings(SharedSettings))
