"""The fixtures that services use in their own tests, seen from a project of a service."""

from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

WITHOUT_THE_OTHERS = ["-p", "no:valkey", "-p", "no:cacheprovider", "-q"]

SERVICE_TEST = """
    import pytest
    from penstock import JobDeadError, Summarize, SyncProducer

    TEXT = "The mill stands at the bridge. The stream drives its wheel. It is still in use today."

    def run(url, **options):
        with SyncProducer.connect(url) as producer:
            return producer.run(Summarize(text=TEXT, max_words=20), timeout_s=30, **options)

    def test_a_provider_that_fails_once(penstock_redis, penstock_simulator, penstock_worker):
        penstock_simulator.script(["503 times=1"])
        result = run(penstock_redis)
        assert (result.state, result.attempts) == ("succeeded", 2)
        assert [call.status for call in penstock_simulator.calls()] == [503, 200]

    def test_nothing_is_left_of_the_test_before(penstock_redis, penstock_simulator):
        from redis import Redis
        with Redis.from_url(penstock_redis) as client:
            assert client.dbsize() == 0
        assert penstock_simulator.calls() == []

    def test_a_worker_that_is_killed(penstock_redis, penstock_simulator, penstock_worker):
        penstock_simulator.script(["hang times=1"])
        with SyncProducer.connect(penstock_redis) as producer:
            job = producer.enqueue(Summarize(text=TEXT, max_words=20))
            penstock_simulator.until(lambda stats: stats.in_flight == 1)
            penstock_worker.kill()
            assert not penstock_worker.running
            penstock_worker.start()
            assert job.result(timeout_s=30).state == "succeeded"

    def test_settings_of_its_own(penstock_redis, penstock_start_worker):
        penstock_start_worker(routes={"summarize": {"targets": ["openai/gpt-4o-mini"], "fallback": "none"}},
                              providers={"openai": {"base_url": "http://127.0.0.1:1/v1"}})
        with pytest.raises(JobDeadError):
            run(penstock_redis, max_attempts=1)

    def test_settings_that_are_wrong(penstock_start_worker):
        with pytest.raises(RuntimeError, match="lease_s"):
            penstock_start_worker(worker={"lease_s": 1, "heartbeat_s": 1})
"""

OWN_TASK = """
    from pydantic import BaseModel
    from penstock import TaskInput
    from penstock_worker.tasks import Task, task

    class Poem(BaseModel):
        text: str

    class Rhyme(TaskInput[Poem]):
        task = "rhyme"
        text: str

    @task(Rhyme, prompt="rhyme@1")
    class RhymeTask(Task[Rhyme]):
        pass
"""

OWN_TASK_TEST = """
    import pytest
    from penstock import SyncProducer
    from shop_tasks import Poem, Rhyme

    @pytest.fixture
    def penstock_worker(penstock_start_worker):
        return penstock_start_worker(worker={"tasks": ["shop_tasks"]})

    def test_a_task_of_ones_own(penstock_redis, penstock_simulator, penstock_worker):
        penstock_simulator.script([{"answer": {"text": "a stream, a dream"}}])
        with SyncProducer.connect(penstock_redis) as producer:
            assert producer.run(Rhyme(text="stream"), timeout_s=30).output == Poem(text="a stream, a dream")
"""

COLLECTED_ONLY = """
    import sys

    def test_nothing_was_imported():
        ours = {name for name in sys.modules if name.startswith("penstock")}
        assert ours == {"penstock_simulator", "penstock_simulator.pytest_plugin"}
        assert not {"redis", "pydantic", "httpx", "arq", "structlog", "orjson"} & set(sys.modules)
"""


def test_pytest_finds_the_plugin() -> None:
    """By the entry point of the installed package."""
    assert "penstock_simulator.pytest_plugin" in {point.value for point in entry_points(group="pytest11")}


def test_a_service_tests_against_the_real_things(pytester: pytest.Pytester) -> None:
    """Faults, a killed worker and settings of its own, without a line of set-up, under strict warnings."""
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(SERVICE_TEST)
    result = pytester.runpytest_subprocess(*WITHOUT_THE_OTHERS, timeout=100)
    result.assert_outcomes(passed=5)


def test_a_worker_finds_the_tasks_of_the_service_under_test(pytester: pytest.Pytester) -> None:
    """What the tests can import, the worker can."""
    pytester.makepyfile(shop_tasks=OWN_TASK, test_shop=OWN_TASK_TEST)
    prompts = pytester.mkdir("prompts")
    (prompts / "rhyme@1.md").write_text("[system]\nYou rhyme.\n\n[user]\nRhyme on this.\n\n{{text}}\n")
    result = pytester.runpytest_subprocess(*WITHOUT_THE_OTHERS, timeout=100)
    result.assert_outcomes(passed=1)


def test_the_surroundings_of_the_tests_do_not_reach_the_worker(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis or a provider that is in use, named by variables or a file, is never worked for or paid."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("PENSTOCK_REDIS__URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("PENSTOCK_PROVIDERS__OPENAI__BASE_URL", "https://127.0.0.1:1/v1")
    pytester.makefile(".toml", penstock="[redis]\nurl = 'redis://127.0.0.1:1/0'\n")
    pytester.makepyfile(SERVICE_TEST)
    result = pytester.runpytest_subprocess("-k", "fails_once", *WITHOUT_THE_OTHERS, timeout=100)
    result.assert_outcomes(passed=1, deselected=4)


def test_a_project_that_does_not_use_the_fixtures_pays_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin is loaded, and no library of ours or of Penstock's with it."""
    pytester.makepyfile(COLLECTED_ONLY)
    only_ours = ["-p", "penstock_simulator.pytest_plugin"]
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # other plugins load what they like
    result = pytester.runpytest_subprocess(*only_ours, "-q", timeout=60)
    result.assert_outcomes(passed=1)
