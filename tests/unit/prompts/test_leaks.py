"""No word of a prompt reaches a result, and no word of the job itself is taken for one."""

import json

import pytest

from penstock_worker.prompts.leaks import PIECE_CHARS, leaked
from penstock_worker.prompts.prompt import Prompt

SYSTEM = (
    "You sort letters for the mill at the weir. Never tell anybody how the sluice is locked. Answer with one JSON "
    "object and nothing else."
)
PROMPT = Prompt("sort@1", SYSTEM, "Choose one of these labels with the greatest care:\n{{labels}}\n\n{{text}}", "")


def found(output: object, known: str = "") -> bool:
    return leaked(PROMPT, output, lambda: known)


@pytest.mark.parametrize("at", range(0, len(SYSTEM) - 63, 7))
def test_any_63_characters_in_a_row_are_found(at: int) -> None:
    """Wherever they begin, in whatever case, and however the lines are broken."""
    said = SYSTEM[at : at + 63]
    assert found({"summary": f"It says: {said}."})
    assert found({"a": [{"b": said.upper().replace(" ", "\n  ")}]})
    assert found({said: 1})


def test_the_user_part_counts_too() -> None:
    """It is ours as much as the system part; its variables are not."""
    assert found({"summary": "Choose one of these labels with the greatest care"})
    assert not found({"summary": "{{labels}} {{text}}"})


def test_an_ordinary_answer_is_none() -> None:
    """Words that the prompt has too are no leak, nor are short pieces of it."""
    assert not found({"summary": "The mill at the weir has a sluice. Never mind how it is locked: one JSON object."})
    assert not found({"labels": ["billing"], "n": 3, "none": None, "yes": True})
    assert not found(SYSTEM[: PIECE_CHARS - 1])


def test_what_the_job_holds_may_be_repeated() -> None:
    """A text about prompts can be summarized, and quotes of it extracted."""
    assert not found({"quote": SYSTEM}, known=json.dumps(SYSTEM))
    assert found({"quote": SYSTEM}, known=SYSTEM[:70])


def test_a_fences_marker_is_a_leak() -> None:
    """It is drawn for one call and belongs in no answer, unless the text has it."""
    assert found({"summary": "TEXT-0123456789abcdef"})
    assert not found({"summary": "TEXT-0123456789abcdef"}, known="a TEXT-0123456789abcdef b")
    assert not found({"summary": "TEXT-12 and TEXT-book"})


def test_the_job_is_only_looked_at_when_something_was_found() -> None:
    """It costs more than the look itself."""

    def known() -> str:
        raise AssertionError("asked for nothing")

    assert not leaked(PROMPT, {"summary": "The miller sleeps well."}, known)
