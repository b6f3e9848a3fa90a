"""Endpoints that cannot prove who they are, and names that do not resolve: no key is told, nobody else is held up."""

import asyncio
import math
import ssl
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import orjson

from penstock import Classify, Extract, Producer
from tests.drills import kit
from tests.drills.stage import Stage, stage
from tests.drills.verdict import Verdict
from tests.support.decoys import Decoy, server_tls
from tests.support.wait import wait_until
from tests.support.worker_processes import worker_argv, write_config

_KEY = "sk-canary-5e1f0c9b"
_TARGET = "gpt-4o-mini"


def main(argv: Sequence[str]) -> int:
    return kit.run("tls_and_dns", argv, drill)


def drill(verdict: Verdict, options: kit.Options) -> None:
    jobs, hanging = options.pick((20, 40), (100, 100))
    with ExitStack() as stack:
        decoys: dict[str, Decoy] = {}

        def argv(folder: Path, redis_url: str, base_url: str) -> list[str]:
            decoys.update({name: stack.enter_context(decoy) for name, decoy in _decoys(folder).items()})
            return worker_argv(_configure(folder, redis_url, base_url, decoys))

        here = stack.enter_context(stage(argv, workers=1, latency="50ms"))
        here.workers.wait_started(1)
        here.workers.started[0].wait_event("worker_started", timeout_s=30)
        walked = kit.enqueue(here.server.url, jobs)
        kit.wait_quiet(here, 60)
        errors = _errors(here)
        alone = asyncio.run(_extract(here.server.url, jobs))
        kit.wait_quiet(here, 60)
        hung = asyncio.run(_label(here.server.url, hanging))
        with here.redis() as client:
            wait_until(lambda: client.zcard("penstock:q:standard:drill:running") == hanging, 20)
        beside = asyncio.run(_extract(here.server.url, jobs))
        with here.redis() as client:
            wait_until(lambda: kit.states(here, beside)["succeeded"] == jobs, 30)
            still = int(client.zcard("penstock:q:standard:drill:running"))  # type: ignore[arg-type]
        kit.wait_quiet(here, 60)
        here.workers.stop()
        heard = b"".join(decoy.heard for decoy in decoys.values())
        verdict.exactly("endpoints that were asked, each by each job", errors, _expected(jobs))
        verdict.exactly("times the key was heard by a decoy", heard.count(_KEY.encode()), 0)
        verdict.exactly("bytes heard behind TLS", sum(len(decoys[name].heard) for name in _DECEIVERS), 0)
        verdict.exactly("ended as succeeded, at the last target", kit.states(here, walked)["succeeded"], jobs)
        verdict.at_least("jobs that hung on a name while others ended", still, hanging // 2)
        slower = _p99_s(here, beside) - _p99_s(here, alone)
        verdict.at_most(
            "s that another route's p99 grew by meanwhile", round(slower, 3), options.pick(0.5, 0.2), speed=True
        )
        verdict.exactly("jobs of the name that hangs, dead", kit.states(here, hung)["dead"], hanging)
        here.check(verdict, [*walked, *alone, *hung, *beside])


_DECEIVERS = ("expired", "other-host", "unknown-authority", "old-tls")


def _expected(jobs: int) -> dict[str, int]:
    return {"tls_failed": jobs * 5, "connect_failed": jobs}


def _decoys(folder: Path) -> dict[str, Decoy]:
    """Endpoints that claim to be the provider."""

    def old(context: ssl.SSLContext) -> None:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1

    return {
        "expired": Decoy(tls=server_tls(folder, "localhost", days=-1)),
        "other-host": Decoy(tls=server_tls(folder, "other.test")),
        "unknown-authority": Decoy(tls=server_tls(folder, "localhost", days=3)),
        "old-tls": Decoy(tls=server_tls(folder, "localhost", days=4, change=old)),
        "plain-http": Decoy(),
    }


def _configure(folder: Path, redis_url: str, base_url: str, decoys: Mapping[str, Decoy]) -> Path:
    """One route over all of them, the real provider last; and one to a name that hangs."""
    key = folder / "key"
    key.write_text(_KEY)
    key.chmod(0o600)
    trusted = {"expired": "localhost--1.pem", "other-host": "other.test-2.pem", "old-tls": "localhost-4.pem"}
    places = {name: f"https://localhost:{decoy.port}/v1" for name, decoy in decoys.items()}
    places |= {"nowhere": "https://nowhere.test/v1", "hangs": "https://hang.test/v1"}
    targets = [f"{name}/{_TARGET}" for name in places if name != "hangs"]
    config = write_config(
        folder,
        redis_url,
        base_url.replace("127.0.0.1", "localhost"),
        targets=[*targets, f"openai/{_TARGET}"],
        budgets=kit.BUDGETS,
        breaker=False,
        concurrency=200,
        tasks=["tests.support.odd_resolver"],
    )
    sections = [f'[routes.classify]\ntargets = ["hangs/{_TARGET}"]\n[routes.extract]\ntargets = ["openai/{_TARGET}"]\n']
    for name, place in places.items():
        ca_file = f"ca_file = {_quoted(folder / trusted[name])}\n" if name in trusted else ""
        sections.append(
            f'[providers.{name}]\nkind = "openai"\nbase_url = "{place}"\nallow_private = true\n{ca_file}'
            f'api_key = {{ file = {_quoted(key)} }}\nprice_refs = {{ {_quoted(_TARGET)} = "openai/{_TARGET}" }}\n'
            f"[providers.{name}.limits]\nconnect_s = 4.0\n"
        )
    with config.open("a") as file:
        file.write("\n".join(sections))
    return config


def _quoted(value: object) -> str:
    return orjson.dumps(str(value)).decode()


async def _label(url: str, count: int) -> list[str]:
    """Jobs for the route whose name hangs."""
    async with Producer.connect(url, tenant="drill") as producer:
        asked = [Classify(text=kit.TEXT.format(n), labels=["a", "b"]) for n in range(count)]
        jobs = await producer.enqueue_many(asked, max_attempts=1, on_failure="dead_letter")
        return [job.id for job in jobs]


async def _extract(url: str, count: int) -> list[str]:
    """Jobs for a route with the real provider alone."""
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}
    async with Producer.connect(url, tenant="drill") as producer:
        jobs = await producer.enqueue_many([Extract(text=kit.TEXT.format(n), schema=schema) for n in range(count)])
        return [job.id for job in jobs]


def _errors(here: Stage) -> dict[str, int]:
    counts: dict[str, int] = {}
    with here.redis() as client:
        for _, row in client.xrange("penstock:ledger"):  # type: ignore[union-attr]
            if "error" in row:
                counts[row["error"]] = counts.get(row["error"], 0) + 1
    return counts


def _p99_s(here: Stage, ids: Sequence[str]) -> float:
    with here.redis() as client:
        rows = [client.hmget(f"penstock:job:{job_id}", ["started_at", "ended_at"]) for job_id in ids]
    took = sorted(int(ended) - int(started) for started, ended in rows)  # type: ignore[misc]
    return took[math.ceil(0.99 * len(took)) - 1] / 1000
