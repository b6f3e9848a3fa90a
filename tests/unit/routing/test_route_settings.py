"""What the configuration may say of routes, and what it says of what it may not."""

from typing import Any

import pytest

from penstock_schemas.errors import ConfigurationError
from penstock_worker.assembly import load_tasks, make_routes, make_target
from penstock_worker.settings import ProviderSection, Settings, load_settings
from tests.support.workers import TARGET

CHEAP, STRONG = TARGET, "openai/gpt-4o"
PROVIDER = {"kind": "openai", "base_url": "https://api.openai.com/v1"}


def load(tmp_path: Any, route: dict[str, Any], name: str = "default") -> Settings:
    """A configuration of one provider and one route."""
    (tmp_path / "penstock.toml").write_text("")
    given = {"targets": [CHEAP, STRONG], **route}
    return load_settings(str(tmp_path / "penstock.toml"), providers={"openai": PROVIDER}, routes={name: given})


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"targets": []}, "routes.default.targets", "at least 1"),
    ({"targets": [CHEAP, CHEAP]}, "routes.default", "stands there twice"),
    ({"targets": [CHEAP, "nobody/x"]}, "configuration", "'nobody/x' is not provider/model"),
    ({"when": {"openai/gpt-5": {"lanes": ["bulk"]}}}, "routes.default", "when: 'openai/gpt-5' is none of its targets"),
    ({"cascade": {"openai/o": {"quality": "ok"}}}, "routes.default", "cascade: 'openai/o' is none of its targets"),
    ({"cascade": {STRONG: {"quality": "ok"}}}, "routes.default", "is the last, so that there is no better one"),
    ({"cascade": {CHEAP: {}}}, f"routes.default.cascade.{CHEAP}.quality", "required"),
    ({"cascade": {CHEAP: {"quality": "ok", "min_confidence": 2}}}, "min_confidence", "less than or equal to 1"),
    ({"when": {CHEAP: {"after": ["timeout"]}}}, "routes.default", "comes after nothing and is never asked"),
    ({"when": {STRONG: {"after": ["rate_limit"]}}}, "after", "'rate_limit' is no class of trouble; known: access"),
    ({"when": {STRONG: {"after": []}}}, "after", "at least 1"),
    ({"when": {STRONG: {"input_tokens_from": 9, "input_tokens_to": 5}}}, STRONG, "it would never be asked"),
    ({"when": {STRONG: {"lanes": ["slow"]}}}, "lanes", "interactive"),
    ({"when": {STRONG: {"fields": {"language": []}}}}, "fields.language", "at least 1"),
    ({"when": {STRONG: {"input_tokens": 5}}}, "input_tokens", "no such field"),
    ({"experiment": "x"}, "routes.default", "at least two `arms`"),
    ({"experiment": "x", "arms": {"a": {"weight": 1}}}, "routes.default", "at least two `arms`"),
    ({"arms": {"a": {"weight": 1}, "b": {"weight": 1}}}, "routes.default", "has a name"),
    ({"experiment": "x", "arms": {"a": {"weight": 1}, "b": {"weight": 0}}}, "arms.b.weight", "greater than 0"),
    ({"experiment": "x", "arms": {"a": {"weight": 1}, "b": {"weight": -1}}}, "arms.b.weight", "greater than 0"),
    ({"experiment": "a b", "arms": {"a": {"weight": 1}, "b": {"weight": 1}}}, "experiment", "pattern"),
    (
        {"experiment": "x", "arms": {"a": {"weight": 1}, "b": {"weight": 1, "targets": ["else/m"]}}},
        "configuration",
        "'else/m' is not provider/model",
    ),
    (
        {"experiment": "x", "arms": {"a": {"weight": 1}, "b": {"weight": 1, "targets": [STRONG, STRONG]}}},
        "routes.default",
        "stands there twice",
    ),
]


@pytest.mark.parametrize(("route", "key", "says"), WRONG)
def test_what_could_not_work_is_refused(tmp_path: Any, route: dict[str, Any], key: str, says: str) -> None:
    """At the start, with the key's name and what is wrong with it."""
    with pytest.raises(ConfigurationError) as refused:
        load(tmp_path, route)
    assert key in str(refused.value)
    assert says in str(refused.value)


def test_a_confidence_that_no_task_measures_is_refused(tmp_path: Any) -> None:
    """Otherwise no answer would ever pass; extract has one, and a default route is for several tasks."""
    route = {"cascade": {CHEAP: {"quality": "ok", "min_confidence": 0.5}}}
    for name in ("extract", "default"):
        settings = load(tmp_path, route, name)
        load_tasks(settings)
        assert make_routes(settings, tmp_path).configured("extract").entries[0].gate is not None
    with pytest.raises(ConfigurationError, match=r"routes\.classify\.cascade.*no measure of confidence"):
        make_routes(load(tmp_path, route, "classify"), tmp_path)


def test_terms_belong_to_their_targets(tmp_path: Any) -> None:
    """Also in an arm that has the same target in another place."""
    arms = {"a": {"weight": 1}, "b": {"weight": 3, "targets": [STRONG, CHEAP]}}
    when = {CHEAP: {"lanes": ["bulk"], "after": ["access", "throttled"]}, STRONG: {"input_tokens_to": 10}}
    with pytest.raises(ConfigurationError, match="never asked"):
        load(tmp_path, {"when": when, "experiment": "x", "arms": arms})
    del when[CHEAP]["after"]
    route = make_routes(load(tmp_path, {"when": when, "experiment": "x", "arms": arms}), tmp_path).configured("x")
    assert route.experiment is not None
    one, two = (arm.route.entries for arm in route.experiment.arms)
    assert one == tuple(reversed(two))
    assert [entry.when.input_tokens_to for entry in one if entry.when] == [None, 10]
    assert [target.name for target in route.all_targets] == [CHEAP, STRONG]


@pytest.mark.parametrize(
    ("provider", "model", "window"),
    [
        ({}, "gpt-4o-mini", 128_000),
        ({}, "nobody-knows-it", None),
        ({"context_windows": {"gpt-4o-mini": 4_096}}, "gpt-4o-mini", 4_096),
        ({"price_refs": {"fast": "openai/gpt-4o-mini"}}, "fast", 128_000),
        ({"kind": "ollama"}, "llama3", 8_192),
        ({"kind": "ollama", "options": {"num_ctx": 32_768}}, "llama3", 32_768),
    ],
)
def test_where_a_window_comes_from(provider: dict[str, Any], model: str, window: int | None) -> None:
    """The configuration, Ollama's own setting, or what is known of the model."""
    section = ProviderSection.model_validate({**PROVIDER, **provider})
    assert make_target(f"openai/{model}", {"openai": section}).context_window == window
