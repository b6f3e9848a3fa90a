"""The examples are what users copy: each runs as it stands, against a real worker process."""

import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from pydantic import BaseModel

from penstock import JobDeadError, Summarize, SyncProducer
from penstock_simulator import SimulatorProcess
from penstock_store.server import free_port
from penstock_worker.settings import Settings, load_settings
from tests.support.processes import ROOT, ChildProcess, Processes

pytest_plugins = ["pytester"]

EXAMPLES = ROOT / "examples"
NOTE = (
    "The mill stands at the bridge. The stream drives its wheel, and the wheel drives two stones. It is still in use."
)


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatorProcess]:
    """A provider for all tests of this module."""
    with SimulatorProcess() as simulator:
        yield simulator


@pytest.fixture
def simulator(provider: SimulatorProcess) -> SimulatorProcess:
    """A provider that has seen no call yet."""
    provider.reset()
    return provider


def worker(processes: Processes, config: str, redis_url: str, simulator: SimulatorProcess) -> ChildProcess:
    """A worker with an example's configuration, unchanged; variables lead it to this test's Redis and provider."""
    child = processes.python(
        *("-m", "penstock", "--config", str(EXAMPLES / config), "worker"),
        env={
            "PENSTOCK_REDIS__URL": redis_url,
            "PENSTOCK_REDIS__ALLOW_VOLATILE": "true",
            "PENSTOCK_PROVIDERS__OPENAI__BASE_URL": simulator.base_url,
            "PENSTOCK_PROVIDERS__OPENAI__ALLOW_PRIVATE": "true",
            "OPENAI_API_KEY": "sk-not-a-real-key",
            "PYTHONPATH": os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")]),
        },
    )
    child.wait_event("worker_started", 30)
    return child


@pytest.fixture
def service(processes: Processes, redis_url: str, simulator: SimulatorProcess) -> Iterator[httpx.Client]:
    """A client of the web service, which runs under uvicorn beside a worker."""
    worker(processes, "development.toml", redis_url, simulator)
    port = free_port()
    uvicorn = ("-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", str(port), "fastapi_service:app")
    processes.python(*uvicorn, env={"REDIS_URL": redis_url}).wait_line("Uvicorn running", 30)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
        yield client


def ask(client: httpx.Client, key: str, text: str = NOTE, **fields: Any) -> httpx.Response:
    """Ask for a summary."""
    return client.post("/summaries", headers={"Idempotency-Key": key}, json={"text": text, **fields})


def follow(client: httpx.Client, job_id: str, after: str | None = None) -> list[dict[str, str]]:
    """The events of a job, to the end of the stream, as a browser would take them in."""
    headers = {"Last-Event-ID": after} if after else {}
    with client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        blocks = response.read().decode().strip().split("\n\n")
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks if block]


def test_the_service_gives_one_job_for_one_key(service: httpx.Client, simulator: SimulatorProcess) -> None:
    """A request that is repeated is answered by the job of the first, and paid once."""
    first, second = ask(service, "note-1", max_words=20), ask(service, "note-1", max_words=20)
    assert first.status_code == second.status_code == 202
    assert (first.json()["created"], second.json()["created"]) == (True, False)
    assert first.json()["id"] == second.json()["id"]
    assert first.headers["location"] == f"/jobs/{first.json()['id']}"
    assert follow(service, first.json()["id"])[-1]["event"] == "succeeded"
    job = service.get(first.headers["location"]).json()
    assert job["state"] == "succeeded"
    assert 0 < len(job["result"]["output"]["summary"].split()) <= 20
    assert len(simulator.calls()) == 1


def test_the_service_streams_and_resumes_where_a_client_left(service: httpx.Client) -> None:
    """A client that comes back with the last id it saw is told the rest, and nothing twice."""
    job_id = ask(service, "note-2").json()["id"]
    events = follow(service, job_id)
    assert [event["event"] for event in events][:2] == ["queued", "running"]
    deltas = [json.loads(event["data"])["text"] for event in events if event["event"] == "delta"]
    summary = service.get(f"/jobs/{job_id}").json()["result"]["output"]["summary"]
    assert summary in json.loads("".join(deltas))["summary"]
    for seen in range(1, len(events)):
        assert follow(service, job_id, after=events[seen - 1]["id"]) == events[seen:]


def test_the_service_answers_with_a_status_for_each_refusal(service: httpx.Client) -> None:
    """An error of Penstock becomes an HTTP status and says its code."""
    ask(service, "note-3")
    refused = {
        409: ask(service, "note-3", text="Another text under the same key."),
        413: ask(service, "big", text="word " * 60_000),
        422: ask(service, "blank", text="  "),
        404: service.get("/jobs/no-such-job"),
    }
    for status, response in refused.items():
        assert response.status_code == status, response.text
        assert response.json().keys() >= {"code", "message", "retriable"}
    assert refused[409].json()["code"] == "idempotency_conflict"
    assert service.get("/jobs/no-such-job/events").status_code == 404
    assert service.post("/summaries", json={"text": NOTE}).status_code == 422  # without a key


def test_the_service_cancels(service: httpx.Client, simulator: SimulatorProcess) -> None:
    """A job whose provider hangs is stopped, and its stream ends."""
    simulator.script(["hang"])
    job_id = ask(service, "note-4").json()["id"]
    simulator.until(lambda stats: stats.in_flight == 1)
    assert service.delete(f"/jobs/{job_id}").json() == {"was": "running"}
    assert follow(service, job_id)[-1]["event"] == "cancelled"


def test_the_service_tells_that_redis_is_away(
    processes: Processes, own_redis_server: Any, simulator: SimulatorProcess
) -> None:
    """The answer is 503, retriable, within the producer's time limit."""
    port = free_port()
    uvicorn = ("-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", str(port), "fastapi_service:app")
    processes.python(*uvicorn, env={"REDIS_URL": own_redis_server.url}).wait_line("Uvicorn running", 30)
    own_redis_server.kill()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
        response = ask(client, "note-5")
    assert response.status_code == 503
    assert response.json()["retriable"] is True


def test_the_script_pays_once_for_the_same_texts(
    processes: Processes, redis_url: str, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """Run again, it prints the same and nothing more was asked of the provider."""
    worker(processes, "development.toml", redis_url, simulator)
    files = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for number, file in enumerate(files):
        file.write_text(f"{NOTE} It was built in {1850 + number}.")
    command = [str(EXAMPLES / "summarize_files.py"), *map(str, files)]
    first, second = "", ""
    for _ in range(2):
        run = processes.python(*command, env={"REDIS_URL": redis_url})
        assert run.wait(30) == 0
        first, second = second, run.output
    assert len(simulator.calls()) == 2
    assert "succeeded by openai/gpt-4o-mini" in first
    assert second == first.replace(" USD)", " USD, known from before)")


def test_a_task_of_ones_own_runs_with_its_example_configuration(
    processes: Processes, redis_url: str, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompt, doubts and fallback are the task's; without a fallback worth having it is a dead letter."""
    monkeypatch.syspath_prepend(EXAMPLES)
    from translate.contract import Translate, Translation

    worker(processes, "translate/penstock.toml", redis_url, simulator)
    with SyncProducer.connect(redis_url) as producer:
        simulator.script([{"answer": {"text": "Änderungen speichern"}}])
        good = producer.run(Translate(text="Save changes", language="German"), timeout_s=30)
        assert good.output == Translation(text="Änderungen speichern")
        assert (good.state, good.quality, good.made_by.prompt) == ("succeeded", "ok", "translate@1")
        glossary = {"Save": "Sichern"}
        doubtful = producer.run(Translate(text="Save changes", language="German", glossary=glossary), timeout_s=30)
        assert (doubtful.quality, doubtful.reasons) == ("suspect", ("glossary_ignored",))
        simulator.script(["503"])
        known = Translate(text="Save", language="German", glossary=glossary)
        degraded = producer.run(known, timeout_s=60, max_attempts=1)
        assert (degraded.state, degraded.output.text, degraded.made_by.name) == ("degraded", "Sichern", "glossary@1")
        with pytest.raises(JobDeadError):
            producer.run(Translate(text="Cancel", language="German"), timeout_s=60, max_attempts=1)


def test_a_task_with_tools_runs_with_its_example_configuration(
    processes: Processes, redis_url: str, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tool says reaches the model; what it cannot do is told, and the answer is the model's all the same."""
    monkeypatch.syspath_prepend(EXAMPLES)
    from orders.contract import Letter

    worker(processes, "orders/penstock.toml", redis_url, simulator)

    def ask(name: str, order_id: str) -> list[str]:
        called = {"match": {"told": 0}, "tool_calls": [{"name": name, "arguments": {"order_id": order_id}}]}
        simulator.script([called, {"answer": {"answer": "Done.", "order_id": order_id}}])
        result = producer.run(Letter(text=f"It is about {order_id}: {name}."), timeout_s=30)
        assert (result.state, result.quality, result.calls, result.output.order_id) == ("succeeded", "ok", 2, order_id)
        told = producer.job(result.job_id).events()
        return [f"{event.data['tool']} {event.data['code']}" for event in told if event.data.get("stage") == "tool"]

    with SyncProducer.connect(redis_url) as producer:
        assert ask("lookup_order", "8812") == ["lookup_order ok"]
        assert ask("cancel_order", "8813") == ["cancel_order ok"]
        assert ask("cancel_order", "8812") == ["cancel_order tool_failed"]
        assert ask("lookup_order", "88") == ["lookup_order invalid_arguments"]


# What the README shows


def readme_block(language: str, containing: str) -> str:
    """The one code block of the README in this language with this text."""
    text = (ROOT / "README.md").read_text("utf-8")
    blocks: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (block,) = [block for named, block in blocks if named == language and containing in block]
    return block


def test_the_program_of_the_readme_runs(
    processes: Processes, redis_url: str, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """As it stands there, but for the address of Redis."""
    worker(processes, "development.toml", redis_url, simulator)
    block, address = readme_block("python", "asyncio.run"), "redis://localhost:6379/0"
    assert block.count(address) == 1
    program = tmp_path / "program.py"
    program.write_text(block.replace(address, redis_url), "utf-8")
    run = processes.python(str(program))
    assert run.wait(60) == 0, run.output
    assert run.lines[0] == "marta@northbay.example"
    assert run.lines[1].startswith("succeeded ok openai/gpt-4o-mini ")
    assert "billing" in run.lines
    assert run.lines[-1].startswith("succeeded")


def test_the_fixtures_work_as_the_readme_shows(pytester: pytest.Pytester) -> None:
    """The test that stands there passes."""
    pytester.makepyfile(
        "from penstock import Classify, SyncProducer\n\n\n" + readme_block("python", "penstock_worker):")
    )
    pytester.runpytest_subprocess("-q", "-p", "no:valkey", timeout=60).assert_outcomes(passed=1)


def test_the_procfile_starts_a_whole(processes: Processes, tmp_path: Path) -> None:
    """All three lines at once, in a shell, as a runner does it; on ports of this test, and a job goes through."""
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text("utf-8").splitlines())
    assert lines.keys() == {"redis", "simulator", "worker"}
    config, ports = tmp_path / "penstock.toml", {"6379": str(free_port()), "8081": str(free_port())}

    def elsewhere(text: str) -> str:
        return re.sub("|".join(ports), lambda found: ports[found[0]], text)

    config.write_text(elsewhere((EXAMPLES / "development.toml").read_text("utf-8")), "utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for line in lines.values():
        environment = {"PATH": path, "PENSTOCK_CONFIG": str(config), "REDIS_URL": None}
        processes.command("/bin/sh", "-c", f"exec {elsewhere(line)}", env=environment)
    processes.started[-1].wait_event("worker_started", 30)
    with SyncProducer.connect(f"redis://localhost:{ports['6379']}/0", timeout_s=20) as producer:
        assert producer.run(Summarize(text=NOTE, max_words=20), timeout_s=60).state == "succeeded"


def test_the_procfile_is_for_the_development_configuration() -> None:
    """The one it names when none is given, with the ports that it starts."""
    procfile, config = (ROOT / "Procfile").read_text("utf-8"), (EXAMPLES / "development.toml").read_text("utf-8")
    assert "examples/development.toml" in procfile
    for port in ("6379", "8081"):
        assert f"--port {port}" in procfile
        assert f":{port}/" in config


# The configuration


def complete() -> str:
    """The text of the configuration with every key."""
    return (EXAMPLES / "penstock.toml").read_text("utf-8")


def with_the_keys_that_are_off() -> str:
    """The same with every key that is off by default put on."""
    return re.sub(r"^#(?=[a-z_]+ = |\[)", "", complete(), flags=re.MULTILINE)


def sections(model: type[BaseModel], raw: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each key of the settings: its path, its field, and the value in *raw*. In named tables, all are looked at."""
    for name, field in model.model_fields.items():
        here, value = f"{path}{name}", raw.get(name)
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        tables = [kind for kind in inner if issubclass(kind, BaseModel)]
        if not tables or name == "api_key":
            yield here, field, value
        elif field.annotation in tables or type(None) in get_args(field.annotation):
            yield from sections(tables[0], value or {}, f"{here}.")
        else:
            merged = {key: part for table in (value or {}).values() for key, part in table.items()}
            yield from sections(tables[0], merged, f"{here}.*.")


def test_the_complete_configuration_has_every_key() -> None:
    """A key that is added to the settings has to be explained there."""
    raw = tomllib.loads(with_the_keys_that_are_off())
    missing = [path for path, _, value in sections(Settings, raw) if value is None]
    assert missing == []


def test_the_complete_configuration_gives_the_defaults() -> None:
    """What it says to be the default is the default, and what has none is off."""
    raw = tomllib.loads(complete())
    once = {"routes.*.max_output_tokens", "providers.*.options"}  # the example differs on purpose
    for path, field, value in sections(Settings, raw):
        default = field.get_default(call_default_factory=True)
        if field.is_required() or path in once or path.endswith("api_key"):
            continue
        assert value == default, path


@pytest.mark.parametrize("text", [complete, with_the_keys_that_are_off])
def test_the_complete_configuration_loads(text: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is, and with every key that is off put on."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    file = tmp_path / "penstock.toml"
    file.write_text(text())
    assert load_settings(str(file)).routes["default"].targets == ["openai/gpt-4o-mini"]


@pytest.mark.parametrize("name", ["development.toml", "translate/penstock.toml", "orders/penstock.toml"])
def test_the_other_configurations_load(name: str) -> None:
    """Those that the examples run with."""
    assert load_settings(str(EXAMPLES / name)).routes
