"""A drop-in for ``arq.Worker``: as fast as Redis allows, safe against crashes, fair between tenants."""

from penstock_worker.engine.lease import POISON_DEATHS, SUSPECT_DEATHS, CancelReason, Claim, Lease
from penstock_worker.engine.sources import ArqQueue, FairQueues, Handler, Source
from penstock_worker.engine.worker import Worker

__all__ = [
    "Worker",
    "Source",
    "ArqQueue",
    "FairQueues",
    "Handler",
    "Lease",
    "Claim",
    "CancelReason",
    "SUSPECT_DEATHS",
    "POISON_DEATHS",
]
