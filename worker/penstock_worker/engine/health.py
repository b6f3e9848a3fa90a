"""Whether a worker is well: as a value, over a loopback port, and as a command's exit code.

``GET /live`` is 200 while the event loop answers at all; ``GET /ready`` is 200 while the worker takes jobs, else 503;
each with the same JSON object. The port carries no ids and no texts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

from penstock_worker.engine.core import Core

HOST = "127.0.0.1"
_TIMEOUT_S = 2.0
_SILENT_BEATS = 3


@dataclass(frozen=True, slots=True)
class Health:
    """A worker at one moment."""

    ready: bool
    """Whether it takes jobs."""
    why_not: str | None
    """Why it is not ready; None when it is."""
    leases_held: int
    jobs_running: int
    jobs_complete: int
    jobs_failed: int
    jobs_retried: int
    jobs_lost: int
    jobs_refused: int
    states_lost: int
    """How often Redis was found to have lost what it held, since the worker started."""
    redis_contact_age_s: float | None
    """How long ago Redis last answered the heartbeat; None before the first time."""


def health(worker: Core) -> Health:
    """How *worker* is now."""
    beat = worker.heartbeat
    age_s = None if beat is None or beat.renewed_at is None else time.monotonic() - beat.renewed_at
    why_not = _why_not(worker, age_s)
    return Health(
        ready=why_not is None,
        why_not=why_not,
        leases_held=len(worker.held),
        jobs_running=len(worker.tasks),
        jobs_complete=worker.jobs_complete,
        jobs_failed=worker.jobs_failed,
        jobs_retried=worker.jobs_retried,
        jobs_lost=worker.jobs_lost,
        jobs_refused=worker.jobs_refused,
        states_lost=worker.states_lost,
        redis_contact_age_s=None if age_s is None else round(age_s, 3),
    )


def _why_not(worker: Core, contact_age_s: float | None) -> str | None:
    if worker.heartbeat is None:
        return "starting"
    if worker.stopping or not worker.allow_pick_jobs:
        return "stopping"
    if contact_age_s is not None and contact_age_s > _SILENT_BEATS * worker.heartbeat_s:
        return "redis is away"
    if worker.server.fault is not None:
        return str(worker.server.fault)
    return worker.concern


@contextlib.asynccontextmanager
async def serve_health(worker: Core, port: int) -> AsyncIterator[int]:
    """Answer on the loopback *port* (0: any) for the block; gives the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(worker, request.split(b" ", 2)[1].decode(errors="replace")))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, HOST, port)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _response(worker: Core, path: str) -> bytes:
    now = health(worker)
    status = {"/live": "200 OK", "/ready": "200 OK" if now.ready else "503 Service Unavailable"}.get(path)
    body = json.dumps(asdict(now)).encode() if status else b"{}"
    head = f"HTTP/1.1 {status or '404 Not Found'}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


async def check_health(port: int) -> tuple[bool, dict[str, object]]:
    """Ask the worker on *port*: whether it is ready, and what it says. A worker that does not answer is not."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(f"GET /ready HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
    except (OSError, TimeoutError) as error:
        return False, {"ready": False, "why_not": f"no answer on port {port}: {type(error).__name__}"}
    return b" 200 " in head.split(b"\r\n", 1)[0], json.loads(body)
