"""From what is asked to the bytes that are stored: refused, or exactly that."""

import hashlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import ConfigurationError, Limits, Producer, RequestError, Retention, Summarize
from penstock.requests import check_options, check_request, read_input
from penstock_schemas.jobs import ALWAYS_WRITTEN, JobRequest
from penstock_schemas.strict_json import canonical
from tests.support.tasks import Translate

PLAIN = check_options("acme", {})

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(st.characters()), children, max_size=4),
    max_leaves=20,
)


def shuffled(value: Any, dice: random.Random) -> Any:
    """The same value with its keys in another order."""
    if isinstance(value, dict):
        items = list(value.items())
        dice.shuffle(items)
        return {key: shuffled(item, dice) for key, item in items}
    return [shuffled(item, dice) for item in value] if isinstance(value, list) else value


@given(values)
def test_any_value_is_refused_or_stored_as_it_is(value: Any) -> None:
    """Nothing is rounded, dropped or turned into null on the way, and nothing else than a refusal is raised."""
    try:
        checked = check_request(Translate(text="x", about=value), PLAIN, Limits())
    except RequestError as error:
        refused_at = error.field or ""
    else:
        refused_at = None
    if refused_at is not None:
        assert refused_at.startswith("input")
        return
    stored = JobRequest.model_validate_json(checked.body)
    assert canonical(stored.input["about"]) == canonical(value)
    assert Translate(**stored.input) == Translate(text="x", about=json.loads(json.dumps(stored.input["about"])))


@given(values, st.randoms())
def test_the_order_of_keys_does_not_change_the_fingerprint(value: Any, dice: random.Random) -> None:
    """Nor do spaces."""
    try:
        checked = check_request(Translate(text="x", about=value), PLAIN, Limits())
    except RequestError:
        return
    other = read_input("reword", json.dumps(shuffled({"text": "x", "about": value}, dice), indent=3))
    again = check_request(other, PLAIN, Limits())
    assert again.fingerprint == checked.fingerprint == hashlib.sha256(checked.body).hexdigest()


RECORDED = {
    "b1b7abd67f74670b4039d044af9616a3a83c4c8ad2fd317a631eaea043d81f7f": {},
    "4c479cc64dc72a7cd1a29f146de5ac46e3b68c2e257abe21fefe7d8dbbf47941": {
        "lane": "bulk",
        "deadline_s": 60,
        "max_cost_usd": "0.02",
        "metadata": {"order": "8812"},
    },
}
"""Fingerprints that the first release gave, and the options of their requests."""


@pytest.mark.parametrize("recorded", RECORDED)
def test_a_request_keeps_the_fingerprint_that_an_older_producer_gave_it(recorded: str) -> None:
    """So an idempotency key means the same job after an upgrade, whatever fields there are by now."""
    options = check_options("acme", RECORDED[recorded])
    assert check_request(Summarize(text="The mill stands by the river."), options, Limits()).fingerprint == recorded


def test_only_the_first_fields_are_written_where_they_are_not_used() -> None:
    """A field that came later has a default and is left out with it: older workers can read the request."""
    assert set(json.loads(check_request(Summarize(text="x"), PLAIN, Limits()).body)) == ALWAYS_WRITTEN
    later = JobRequest.model_fields.keys() - ALWAYS_WRITTEN
    assert not [name for name in later if JobRequest.model_fields[name].is_required()]


@pytest.mark.parametrize("user", ["ann@example.com", "auth0|5f7c88", "0", "a" * 128, "x=1+2.3_-"])
def test_a_user_is_stored_and_tells_requests_apart(user: str) -> None:
    """The same text of two users is two requests."""
    checked = check_request(Summarize(text="x"), check_options("acme", {"user": user}), Limits())
    assert JobRequest.model_validate_json(checked.body).user == user == checked.envelope.user
    assert checked.fingerprint != check_request(Summarize(text="x"), PLAIN, Limits()).fingerprint


@pytest.mark.parametrize("user", ["", "a" * 129, "a:b", "a/b", "*", "ann example", "ann\n", "ä", 7])
def test_what_cannot_be_a_user_is_refused_by_its_field(user: Any) -> None:
    """It would stand in a key's name."""
    with pytest.raises(RequestError) as refusal:
        check_options("acme", {"user": user})
    assert refusal.value.field == "user"


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_text_for_json_is_refused_or_read(text: str | bytes) -> None:
    """Whatever a file or a pipe holds."""
    try:
        asked = read_input("reword", text)
    except RequestError:
        return
    assert isinstance(asked, Translate)


def test_what_is_stored_can_be_read_by_the_contract() -> None:
    """With every option, and with none."""
    options = {
        "lane": "bulk",
        "delay_s": 1,
        "deadline_s": 60.5,
        "max_attempts": 3,
        "max_cost_usd": "0.02",
        "on_failure": "dead_letter",
        "stream": True,
        "metadata": {"order": "8812"},
    }
    request = JobRequest.model_validate_json(
        check_request(Summarize(text="x"), check_options("acme", options), Limits()).body
    )
    assert request.max_cost_nanousd == 20_000_000
    assert (request.lane, request.delay_s, request.deadline_s, request.stream) == ("bulk", 1.0, 60.5, True)
    plain = JobRequest.model_validate_json(check_request(Summarize(text="x"), PLAIN, Limits()).body)
    assert plain == JobRequest(task="summarize", input=Summarize(text="x").model_dump(), tenant="acme")


def test_an_option_of_none_is_one_that_was_left_out() -> None:
    """So that a service can pass its own optional settings on."""
    assert check_options("acme", {"deadline_s": None, "lane": None, "max_cost_usd": None}) == PLAIN


@pytest.mark.parametrize("name", ["result_s", "dead_s", "idempotency_s"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e12])
def test_a_retention_that_is_none_is_refused(name: str, seconds: float) -> None:
    """At once, by the setting's name."""
    with pytest.raises(ConfigurationError) as refusal:
        Retention(**{name: seconds})
    assert refusal.value.key == f"retention.{name}"


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_time_limit_that_is_none_is_refused(seconds: float) -> None:
    """A call must end."""
    with pytest.raises(ConfigurationError, match="timeout_s"):
        Producer(timeout_s=seconds)
