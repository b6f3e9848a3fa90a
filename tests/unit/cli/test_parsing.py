"""Arguments into values."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from penstock.cli.app import in_front
from penstock.cli.parsing import duration_s, key_values, labels_of, time_range, when


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("250ms", 0.25)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "2w", "1h30m", "inf", "nan", "1e9", "٣"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        duration_s(text)


def test_times_are_ago_or_iso() -> None:
    assert when("2h") == timedelta(hours=2)
    assert when("2026-01-31T12:00Z") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert when("2026-01-31T12:00+02:00") == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert isinstance(local := when("2026-01-31"), datetime)
    assert local.tzinfo is not None


@pytest.mark.parametrize(("since", "until"), [("1h", "2h"), ("2026-02-01", "2026-01-01"), ("soon", None), (None, "x")])
def test_a_time_range_that_is_none(since: str | None, until: str | None) -> None:
    with pytest.raises(typer.BadParameter):
        time_range(since, until)


def test_labels_with_and_without_descriptions() -> None:
    assert labels_of(["bug,billing"]) == {"bug": None, "billing": None}
    assert labels_of(["praise, bug=broken, or wrong", "other"]) == {
        "praise": None,
        "bug": "broken, or wrong",
        "other": None,
    }


@pytest.mark.parametrize("given", [["a,a"], ["a,,b"], ["a", "a=x"], [""]])
def test_labels_that_are_none(given: list[str]) -> None:
    with pytest.raises(typer.BadParameter):
        labels_of(given)


def test_metadata_is_key_and_value() -> None:
    assert key_values(["a=b=c", "d="], "--metadata") == {"a": "b=c", "d": ""}
    for wrong in (["a"], ["=b"], ["a=1", "a=2"]):
        with pytest.raises(typer.BadParameter, match="--metadata"):
            key_values(wrong, "--metadata")


@pytest.mark.parametrize(
    ("given", "moved"),
    [
        ("status ID --json", "--json status ID"),
        ("dead list --redis redis://x --error y", "--redis redis://x dead list --error y"),
        ("--tenant a status ID --tenant=b", "--tenant a --tenant=b status ID"),
        ("run classify f --labels a -q", "-q run classify f --labels a"),
        ("cancel -- --json", "cancel -- --json"),
        ("simulator --config x --json", "simulator --config x --json"),
        ("worker --config x", "worker --config x"),
        ("status --config", "--config status"),
        ("nonsense --json", "nonsense --json"),
        ("--json", "--json"),
        ("", ""),
    ],
)
def test_global_options_may_stand_behind_our_own_subcommands(given: str, moved: str) -> None:
    assert in_front(given.split()) == moved.split()
