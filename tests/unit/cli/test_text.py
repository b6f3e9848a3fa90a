"""Text that came from elsewhere is shown, and not obeyed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.text import block, one_line, safe_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Grüße, 世界 👍", "Grüße, 世界 👍"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("\x9b31m", "\\x9b31m"),
        ("line\u2028end", "line\\u2028end"),
        ("lone\ud800", "lone\\ud800"),
        ("tag\U000e0041", "tag\\U000e0041"),
    ],
)
def test_what_is_not_visible_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_a_block_keeps_its_lines_and_tabs() -> None:
    assert block("a\n\tb\x1b[2J\n") == "a\n\tb\\x1b[2J\n"


def test_many_combining_marks_do_not_climb() -> None:
    """A megabyte of them on one letter becomes a few."""
    assert one_line("z" + "\u0301" * 1_000_000 + "a") == "z" + "\u0301" * 4 + "a"


def test_a_long_text_is_cut_with_an_ellipsis() -> None:
    assert one_line("x" * 50, 10) == "x" * 9 + "…"


@given(st.text())
def test_one_line_is_one_line_that_a_terminal_does_not_obey(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable() or all(char.isprintable() or char.isspace() for char in shown)
    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_safe_json_means_the_same(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert json.loads(safe_json(text)) == json.loads(text)
    assert len(safe_json(text).splitlines()) <= 1
