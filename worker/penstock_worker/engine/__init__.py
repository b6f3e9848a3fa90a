"""A drop-in for ``arq.Worker``: as fast as Redis allows, safe against crashes, fair between tenants."""

from penstock_worker.engine.health import Health, check_health, health, serve_health
from penstock_worker.engine.lease import POISON_DEATHS, SUSPECT_DEATHS, CancelReason, Claim, Lease
from penstock_worker.engine.server import ServerNeeds
from penstock_worker.engine.sources import ArqQueue, FairQueues, Handler, Source
from penstock_worker.engine.worker import Worker, make_arq_worker

__all__ = [
    "Worker",
    "Source",
    "ArqQueue",
    "FairQueues",
    "Handler",
    "ServerNeeds",
    "Health",
    "health",
    "serve_health",
    "check_health",
    "make_arq_worker",
    "Lease",
    "Claim",
    "CancelReason",
    "SUSPECT_DEATHS",
    "POISON_DEATHS",
]
