"""A worker process: from its configuration to its exit."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from arq.connections import RedisSettings

from penstock_schemas.quotas import Quota
from penstock_store.batcher import Batcher
from penstock_store.connection import connect
from penstock_store.settings import RedisSection, is_this_machine
from penstock_worker import crash_points
from penstock_worker.assembly import load_tasks, make_policy, make_routes
from penstock_worker.attempt.asking import Asker
from penstock_worker.attempt.calling import Caller
from penstock_worker.attempt.handler import Attempts, start_lua
from penstock_worker.attempt.pipeline import Pipeline
from penstock_worker.attempt.reading import Reader
from penstock_worker.attempt.recent import Recent
from penstock_worker.attempt.store import AttemptStore
from penstock_worker.attempt.walking import Walker
from penstock_worker.engine import FairQueues, ServerNeeds, Worker
from penstock_worker.llm.client import HttpModelClient
from penstock_worker.llm.http import PoolSettings
from penstock_worker.money.configured import check_prices, make_budgets, make_costing, make_watch
from penstock_worker.money.quotas import Quotas
from penstock_worker.money.rolling import Keep, rolling
from penstock_worker.presence import present
from penstock_worker.reuse.sharing import Sharing
from penstock_worker.reuse.warming import Warming
from penstock_worker.routing.exchange import Exchange
from penstock_worker.settings import Settings, health_port

log = structlog.get_logger("penstock.worker")


async def run_worker(settings: Settings, config_folder: Path, *, burst: bool = False, index: int = 0) -> None:
    """Work until SIGTERM or SIGINT, then drain and return; with *burst*, until nothing is left to do.

    *index* tells the processes of one parent apart: each has a health port of its own. Raises ConfigurationError
    before anything is claimed.
    """
    crash_points.arm(os.environ)
    tasks = load_tasks(settings)
    routes = make_routes(settings, config_folder)
    costing = make_costing(settings)
    check_prices(map(routes.configured, tasks), costing)
    budgets = make_budgets(settings, tasks, routes, costing)
    quotas = Quotas({scope: Quota(**own.model_dump()) for scope, own in settings.quotas.items()})
    section, keep = settings.worker, Keep(**settings.ledger.model_dump())
    at_once = max(route.chunks_at_once for route in settings.routes.values())
    client = HttpModelClient(PoolSettings(max_connections=section.concurrency * at_once))
    reader = Reader(prose=True)
    redis = connect(settings.redis.url, max_connections=1)
    batcher = Batcher(redis)
    recent = Recent(batcher)
    store = AttemptStore(batcher, make_policy(settings), recent, budgets, make_watch(settings))
    asker = Asker(Caller(store, client, costing), reader, warming=Warming(batcher))
    pipeline = Pipeline(Walker(asker, section.breaker.access_refused, section.breaker.access_open_s))
    attempts = Attempts(
        store=store,
        run=Sharing(batcher, pipeline.run).run,
        tasks=tasks,
        routes=routes,
        keep_dead_s=section.dead_letter_days * 86_400,
        output_cap=quotas.output_cap,
    )
    worker = Worker(
        source=FairQueues(
            handler=attempts,
            start_lua=start_lua(tasks),
            lanes={lane: float(weight) for lane, weight in section.lanes.items()},
            spare_slots=section.spare_slots,
            tenant_cap=section.tenant_cap,
            tenants={name: own.model_dump(exclude_none=True) for name, own in section.tenants.items()},
        ),
        redis_settings=RedisSettings.from_dsn(settings.redis.url),
        max_jobs=section.concurrency,
        lease_s=section.lease_s,
        heartbeat_s=section.heartbeat_s,
        drain_s=section.drain_s,
        job_timeout=10 * 365 * 86_400,
        burst=burst,
        on_new_server=recent.server_changed,
        server_needs=_needs(settings.redis),
    )
    recent.lost = lambda count: worker.state_lost(f"{count} ends that this worker wrote are not there")
    log.info("worker_started", concurrency=section.concurrency, lanes=dict(section.lanes), tasks=sorted(tasks))
    exchange = Exchange(batcher, asker.caller.tokens, routes.targets, partial(setattr, worker, "concern"))
    beside: list[asyncio.Task[None]] = []

    async def begin(ctx: dict[Any, Any]) -> None:
        """Once Redis was found fit to work on: nothing is written before."""
        beside.append(asyncio.create_task(_tell(store, quotas, batcher), name="penstock-tell"))
        beside.append(asyncio.create_task(exchange.run(), name="penstock-exchange"))

    worker.on_startup = begin
    try:
        async with present(worker, batcher, [*section.lanes], health_port(section, index)), rolling(batcher, keep):
            await worker.async_run()
    except asyncio.CancelledError:
        log.info("worker_stopped")
    finally:
        for task in beside:
            task.cancel()
        await worker.close()
        await client.aclose()
        await reader.aclose()
        await redis.aclose()


def _needs(redis: RedisSection) -> ServerNeeds:
    user = True if redis.require_own_user else None if is_this_machine(redis.url) else False
    return ServerNeeds(persistence=not redis.allow_volatile, own_user=user)


async def _tell(store: AttemptStore, quotas: Quotas, batcher: Batcher) -> None:
    """Tell producers and other workers what the configuration says of budgets and quotas."""
    await store.tell_budgets()
    await quotas.tell(batcher)
