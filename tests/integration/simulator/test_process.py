"""The simulator as a process: ready line, control endpoints, bill, death."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from penstock_simulator import FAULTS, FaultSpecError, SimulatorProcess, read_bill
from penstock_simulator.__main__ import main

Body = Callable[..., dict[str, Any]]


def _post(simulator: SimulatorProcess, body: dict[str, Any], **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=10) as client:
        return client.post(simulator.base_url + "/chat/completions", json=body, headers=headers)


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_process_has_the_methods_of_a_simulator(body: Body) -> None:
    """Script, calls, stats, reset, until."""
    with SimulatorProcess(answers="fixed", api_key="sk-x") as simulator:
        assert _post(simulator, body()).status_code == 401
        simulator.script([{"fault": "503", "times": 1}])
        codes = [_post(simulator, body(), authorization="Bearer sk-x").status_code for _ in range(2)]
        assert codes == [503, 200]
        assert simulator.until(lambda stats: stats.requests == 3).statuses == {401: 1, 503: 1, 200: 1}
        assert [call.billed for call in simulator.calls()] == [False, False, True]
        with pytest.raises(FaultSpecError, match="did you mean"):
            simulator.script(["refussal"])
        simulator.reset()
        assert (simulator.calls(), simulator.stats().requests) == ([], 0)


def test_the_control_endpoints_describe_themselves(body: Body) -> None:
    """Rules with their hits, the fault table, and 404 for the rest."""
    with SimulatorProcess() as simulator, httpx.Client(trust_env=False) as client:
        simulator.script([{"match": {"nth": [1]}, "fault": "delay seconds=1ms"}])
        _post(simulator, body())
        (rule,) = client.get(f"{simulator.url}/_simulator/script").json()["rules"]
        assert (rule["hits"], rule["seen"], rule["match"]["nth"]) == (1, 1, [1])
        assert [row["name"] for row in client.get(f"{simulator.url}/_simulator/faults").json()] == list(FAULTS)
        assert client.get(f"{simulator.url}/_simulator/health").json() == {"ok": True}
        assert client.get(f"{simulator.url}/_simulator/nothing").status_code == 404
        assert client.get(f"{simulator.url}/v1/embeddings").status_code == 404


def test_a_script_comes_from_a_file(tmp_path: Path, body: Body) -> None:
    """TOML and JSON alike."""
    toml, plain = tmp_path / "script.toml", tmp_path / "script.json"
    toml.write_text('[[rule]]\nfault = "429 retry-after=3"\ntimes = 1\n[rule.match]\nmodel = "gpt-4o*"\n')
    plain.write_bytes(orjson.dumps({"rules": ["418"]}))
    with SimulatorProcess(script=toml) as simulator:
        assert [_post(simulator, body()).status_code for _ in range(2)] == [429, 200]
        simulator.script(plain)
        assert _post(simulator, body()).status_code == 418


def test_the_bill_survives_a_kill(tmp_path: Path, body: Body) -> None:
    """A call that was charged is in it, a call in flight is open; a new process goes on with new ids."""
    bill = tmp_path / "bill.jsonl"
    with SimulatorProcess(bill=bill, script=_script(tmp_path, {"match": {"nth": 2}, "fault": "hang"})) as simulator:
        _post(simulator, body())
        with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ReadTimeout):
            client.post(simulator.base_url + "/chat/completions", json=body(), timeout=0.1)
        simulator.until(lambda stats: stats.in_flight == 0)
        simulator.kill()
    with SimulatorProcess(bill=bill) as simulator:
        _post(simulator, body())
    calls = read_bill(bill)
    assert [(call.number, call.billed, call.outcome) for call in calls] == [
        (1, True, "sent"),
        (2, False, "client_left"),
        (3, True, "sent"),
    ]
    assert len({call.id for call in calls}) == 3


def test_a_process_ends_with_its_parent() -> None:
    """Even when the parent is killed and can say nothing."""
    program = (
        "import time; from penstock_simulator import SimulatorProcess\n"
        "s = SimulatorProcess(); s.start(); print(s.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert not _is_gone(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while not _is_gone(child):
        assert time.monotonic() < deadline, "the simulator outlived its parent"
        time.sleep(0.01)


def test_a_signal_ends_it_in_good_order() -> None:
    """Exit code 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock_simulator", "--seed", "4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    ready = orjson.loads(process.stdout.readline())
    assert ready["event"] == "simulator_ready"
    assert ready["url"].startswith("http://127.0.0.1:")
    os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--latency", "soon"], "not a duration"),
        (["--script", "/nowhere.json"], "/nowhere.json"),
        (["--bill", "/nowhere/bill"], "/nowhere/bill"),
    ],
)
def test_wrong_settings_are_told_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And end with 3, before anything listens."""
    assert main(arguments) == 3
    assert message in capsys.readouterr().err


def test_the_command_lists_all_faults(capsys: pytest.CaptureFixture[str]) -> None:
    """For people who do not read code."""
    assert main(["--faults"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in FAULTS)


def test_a_process_that_cannot_start_says_so(tmp_path: Path) -> None:
    """With an error, not with a hang."""
    with pytest.raises(RuntimeError, match="did not start"):
        SimulatorProcess(bill=tmp_path / "no" / "where").start()


def _script(folder: Path, *rules: Any) -> Path:
    path = folder / "rules.json"
    path.write_bytes(orjson.dumps(list(rules)))
    return path
